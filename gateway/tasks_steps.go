package gateway

import (
	"context"
	"net/url"
	"strconv"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// stepQuery asks for a page of a task's journal.
type stepQuery struct {
	request
	ofTask
	Include string `query:"include" doc:"values: with the values. A page ends early where they are many."`
	paged
}

const includeValues = "values"

// listSteps is GET /tasks/{id}/steps.
func (h tasks) listSteps(ctx context.Context, in stepQuery) (out page[api.StepList], err error) {
	if in.Include != "" && in.Include != includeValues {
		return out, mesh.Refuse(problem.ErrBadQuery, "include is %q, allowed is %s.", mesh.Clip(in.Include, 64), includeValues)
	}
	values := in.Include == includeValues
	found, err := h.mesh.Journals.List(ctx, in.caller(), task.ID(in.ID), values, in.Limit.items(), in.Cursor)
	if err != nil {
		return out, err
	}
	list := &api.StepList{Steps: make([]api.Step, 0, len(found.Entries)), NextCursor: found.Next}
	for _, e := range found.Entries {
		s := stepOf(e)
		switch {
		case !values, e.Sealed:
		case e.Object != "":
			s.ValueURL = in.links().task(found.Task.ID) + "/steps/value?" + url.Values{"kind": {s.Kind}, "name": {s.Name}, "n": {strconv.Itoa(s.N)}}.Encode()
		default:
			s.Value, s.Head = e.Value, e.Head
		}
		list.Steps = append(list.Steps, s)
	}
	return page[api.StepList]{Body: list, Link: in.next(found.Next)}, nil
}

// stepValueQuery asks for the value of one entry.
type stepValueQuery struct {
	request
	ofTask
	Kind string `query:"kind" doc:"Of the entry; step when left out."`
	Name string `query:"name" doc:"Of the entry."`
	N    string `query:"n" doc:"Which of its kind and name, from 0, the default."`
}

// stepValue is GET /tasks/{id}/steps/value.
func (h tasks) stepValue(ctx context.Context, in stepValueQuery) (out whole, err error) {
	kind, n := task.EntryStep, 0
	if in.Kind != "" {
		kind = task.EntryKind(in.Kind)
	}
	if in.N != "" {
		if n, err = strconv.Atoi(in.N); err != nil || n < 0 {
			return out, mesh.Refuse(problem.ErrBadQuery, "n is %q, allowed are whole numbers from 0.", mesh.Clip(in.N, 32))
		}
	}
	v, err := h.mesh.Journals.Value(ctx, in.caller(), task.ID(in.ID), kind, in.Name, n)
	if err != nil {
		return out, err
	}
	out.Value, err = h.valueOf(ctx, v, mesh.ErrStepsExpired)
	return out, err
}

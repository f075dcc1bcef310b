package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// taskQuery asks for a page of tasks.
type taskQuery struct {
	request
	Status        []string          `query:"status,list" doc:"One or more statuses, separated by commas or repeated."`
	Agent         string            `query:"agent" doc:"Tasks of this agent."`
	Parent        task.ID           `query:"parent_id" doc:"Children of this task."`
	Session       session.ID        `query:"session_id" doc:"Turns of this session."`
	Kind          string            `query:"kind" doc:"task, action or turn."`
	Worker        string            `query:"worker" doc:"Tasks that this worker has, or had last; with status=processing those that it runs."`
	Error         string            `query:"error" doc:"Tasks whose error has this code."`
	CreatedAfter  string            `query:"created_after" doc:"Tasks created later than this time (RFC 3339)."`
	CreatedBefore string            `query:"created_before" doc:"Tasks created earlier than this time (RFC 3339)."`
	Labels        map[string]string `query:"label.{key}" doc:"Tasks with this value of the label, such as label.team=search; label.team= are those with an empty value."`
	Order         string            `query:"order" doc:"changed, the default: newest change first; a task that changes while you page moves to the front, so that you may miss it. created: newest first; whatever changes meanwhile, every task is met once."`
	paged
}

// listTasks is GET /tasks.
func (h tasks) listTasks(ctx context.Context, in taskQuery) (out page[api.TaskList], err error) {
	f, err := in.filter()
	if err != nil {
		return out, err
	}
	found, err := h.mesh.Tasks.List(ctx, in.caller(), f, in.Limit.items(), in.Cursor)
	if err != nil {
		return out, err
	}
	list := &api.TaskList{Tasks: make([]api.Task, 0, len(found.Tasks)), NextCursor: found.Next, Scanned: found.Scanned}
	for _, t := range found.Tasks {
		list.Tasks = append(list.Tasks, h.show.view(in.links(), t))
	}
	return page[api.TaskList]{Body: list, Link: in.next(found.Next)}, nil
}

// filter is what a listing asks for.
func (in taskQuery) filter() (mesh.Filter, error) {
	f := mesh.Filter{
		Agent: in.Agent, Parent: in.Parent, Session: in.Session, Worker: in.Worker, Error: in.Error, Labels: in.Labels, Kind: task.Kind(in.Kind), Created: in.Order == "created",
	}
	for _, s := range in.Status {
		if !task.State(s).Valid() {
			return f, mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v, several separated by commas.", mesh.Clip(s, 32), task.States)
		}
		f.Statuses = append(f.Statuses, task.State(s))
	}
	switch {
	case in.Order != "" && in.Order != "changed" && !f.Created:
		return f, mesh.Refuse(problem.ErrBadQuery, "order is %q, allowed are changed and created.", mesh.Clip(in.Order, 32))
	case in.Kind != "" && !f.Kind.Valid():
		return f, mesh.Refuse(problem.ErrBadQuery, "kind is %q, allowed are %v.", mesh.Clip(in.Kind, 32), task.Kinds)
	}
	var err error
	if f.CreatedAfter, err = instant("created_after", in.CreatedAfter); err != nil {
		return f, err
	}
	f.CreatedBefore, err = instant("created_before", in.CreatedBefore)
	return f, err
}

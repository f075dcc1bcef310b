package gateway

import (
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/task"
)

// begun is the data of the first event: the task was accepted.
func begun(l links, t *task.Task) api.Task {
	if t.Rev == 0 {
		v := viewOf(l, t)
		v.At = v.CreatedAt
		return v
	}
	return partly(l, t, api.Task{Status: shown(t.Kind, task.Pending), CreatedAt: t.CreatedAt, At: t.CreatedAt})
}

// history lists what has happened, in the order of time. A step comes behind the
// revision by which its run began, however close the two are.
func history(l links, t *task.Task, steps []*task.Entry) []api.Event {
	events := []api.Event{{Type: string(task.EventStatus), Data: begun(l, t)}}
	last := uint64(0)
	add := func(n int) {
		for _, step := range steps[:n] {
			events = append(events, api.Event{ID: last, Type: string(task.EventStep), Data: stepEvent(t.ID, step)})
		}
		steps = steps[n:]
	}
	for _, e := range task.Events(t, 0) {
		n := 0
		for n < len(steps) && steps[n].Epoch < e.ID && !steps[n].At.After(happened(t, e)) {
			n++
		}
		add(n)
		last = e.ID
		events = append(events, api.Event{ID: e.ID, Type: string(e.Type), Data: eventData(l, t, e)})
	}
	add(len(steps))
	return events
}

// happened is when an event did.
func happened(t *task.Task, e task.Event) time.Time {
	switch e.Type {
	case task.EventStatus:
		return e.Transition.At
	case task.EventMilestone:
		return e.Milestone.At
	}
	return t.UpdatedAt
}

// stepEvent is the data of a step event.
func stepEvent(id task.ID, e *task.Entry) api.StepEvent {
	return api.StepEvent{TaskID: string(id), Step: stepOf(e)}
}

// eventData is the task itself for what is true now, and what is kept of the
// moment for what has passed.
func eventData(l links, t *task.Task, e task.Event) any {
	switch {
	case e.Type == task.EventMilestone:
		m := milestoneOf(e.Milestone)
		m.TaskID = string(t.ID)
		return m
	case e.Latest:
		v := viewOf(l, t)
		v.At = v.UpdatedAt
		return v
	}
	tr := e.Transition
	return partly(l, t, api.Task{Status: shown(t.Kind, tr.Status), Done: tr.Status.Terminal(), Attempt: tr.Attempt, Error: errorOf(tr.Error), At: tr.At})
}

// partly says in v whose moment it is.
func partly(l links, t *task.Task, v api.Task) api.Task {
	v.TaskID, v.Agent, v.StatusURL = string(t.ID), t.Agent, l.status(t)
	nameKind(&v, t)
	return v
}

// stepOf is an entry without its value.
func stepOf(e *task.Entry) api.Step {
	s := api.Step{Kind: string(e.Kind), Name: e.Name, N: e.N, Attempt: e.Attempt, At: e.At, MS: e.Ms, Key: e.Key, Version: e.Version, Bytes: max(e.Size, int64(len(e.Value))), Sealed: e.Sealed}
	if e.Error != nil {
		s.Error = &api.Error{Code: e.Error.Code, Message: e.Error.Message, Attempt: e.Attempt}
	}
	return s
}

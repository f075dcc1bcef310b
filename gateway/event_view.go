package gateway

import (
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

// history lists what happened after revision seen.
func history(l links, t *task.Task, seen uint64) []api.Event {
	var events []api.Event
	for _, e := range task.Events(t, seen) {
		events = append(events, api.Event{ID: e.ID, Type: string(e.Type), Data: eventData(l, t, e)})
	}
	return events
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

package a2aform

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/event"
	"agentmesh/shared/task"
)

// The types of the events that receivers of push notifications get.
const (
	StatusUpdate   event.Type = "a2a.status"
	ArtifactUpdate event.Type = "a2a.artifact"
)

// Milestone is the update that tells of a milestone.
func Milestone(t *task.Task, m task.Milestone) *a2a.TaskStatusUpdateEvent {
	what := map[string]any{"name": m.Name}
	if len(m.Data) > 0 {
		what["data"] = m.Data
	}
	at := m.At
	said := Said(t, "milestone-"+strconv.Itoa(m.N), a2a.NewTextPart(firstOf(m.Message, m.Name)), a2a.NewDataPart(what))
	return &a2a.TaskStatusUpdateEvent{
		TaskID: a2a.TaskID(t.ID), ContextID: Context(t), Metadata: map[string]any{"mesh/milestone": m.N},
		Status: a2a.TaskStatus{State: a2a.TaskStateWorking, Timestamp: &at, Message: said},
	}
}

// Updates reads the changes of state, the milestones and the result that the record of
// t tells and that are not older than revision from, oldest first: what receivers of
// push notifications are sent. Where the result is too large, link leads to it. A
// record that is not stored has none.
func Updates(t *task.Task, from uint64, link event.Link) ([]event.Event, error) {
	if t.Rev == 0 {
		return nil, nil
	}
	u := updates{t: t, from: from}
	for _, m := range t.Milestones {
		u.add(StatusUpdate, "milestone-"+strconv.Itoa(m.N), m.At, m.After, Milestone(t, m))
	}
	before, run := a2a.TaskStateSubmitted, 0
	for _, tr := range t.Transitions {
		now, id := u.stateAt(tr, run)
		if now != before {
			if tr.Status.Terminal() {
				u.result(tr, link)
			}
			u.add(StatusUpdate, id, tr.At, tr.After, u.status(tr, now))
		}
		if before = now; tr.Status == task.InputRequired {
			run = tr.Run
		}
	}
	slices.SortStableFunc(u.all, func(a, b event.Event) int { return cmp.Compare(a.After, b.After) })
	return u.all, u.err
}

// updates are those of one record, and the first error.
type updates struct {
	t    *task.Task
	from uint64
	all  []event.Event
	err  error
}

func (u *updates) add(typ event.Type, name string, at time.Time, after uint64, e a2a.Event) {
	if after < u.from || u.err != nil {
		return
	}
	one := event.Event{ID: string(u.t.ID) + "-a2a-" + name, Type: typ, At: at, After: after}
	if one.Body, u.err = task.Marshal(a2a.StreamResponse{Event: e}); u.err != nil {
		u.err = fmt.Errorf("write update %s: %w", one.ID, u.err)
	}
	u.all = append(u.all, one)
}

// stateAt is the state that a change leads to, and the name of its update. run is that
// of the question before.
func (u *updates) stateAt(tr task.Transition, run int) (state a2a.TaskState, name string) {
	switch {
	case tr.Status.Terminal():
		return outcome(u.t), string(tr.Status)
	case tr.Status == task.InputRequired:
		return a2a.TaskStateInputRequired, "input_required-" + strconv.Itoa(tr.Run)
	}
	return a2a.TaskStateWorking, "working-" + strconv.Itoa(run)
}

// status is what a change of state says. It takes only what never changes after it.
func (u *updates) status(tr task.Transition, now a2a.TaskState) *a2a.TaskStatusUpdateEvent {
	at := tr.At
	e := &a2a.TaskStatusUpdateEvent{TaskID: a2a.TaskID(u.t.ID), ContextID: Context(u.t), Status: a2a.TaskStatus{State: now, Timestamp: &at}}
	switch {
	case tr.Status.Terminal():
		e.Status.Message, e.Metadata = lastWords(u.t), Metadata(u.t)
	case tr.Question != nil:
		q := question{Name: tr.Question.Name, Prompt: tr.Question.Prompt, Until: tr.Question.Until}
		e.Status.Message = Said(u.t, "question-"+strconv.Itoa(tr.Run), a2a.NewTextPart(firstOf(q.Prompt, q.Name)), a2a.NewDataPart(map[string]any{"questions": []question{q}}))
	}
	return e
}

// result tells of the artifacts of a completed task, before its end is told.
func (u *updates) result(tr task.Transition, link event.Link) {
	if u.t.Status != task.Completed || u.t.Result.IsZero() {
		return
	}
	all := Artifacts(u.t.Result.Inline)
	if u.t.Result.Object != "" || len(u.t.Result.Inline) > event.MaxBody {
		all = Linked(link(u.t))
	}
	for i, a := range all {
		u.add(ArtifactUpdate, "artifact-"+strconv.Itoa(i+1), tr.At, tr.After,
			&a2a.TaskArtifactUpdateEvent{TaskID: a2a.TaskID(u.t.ID), ContextID: Context(u.t), Artifact: a, LastChunk: true})
	}
}

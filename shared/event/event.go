// Package event holds what the mesh tells others about a task: its milestones
// and changes of status, as webhooks, the event stream of the gateway and
// callbacks carry them; and what it tells webhooks about a schedule.
//
// It promises that an event read from a task's record is the same, byte for
// byte, whichever later revision of the record it is read from: its id and body
// come only from what never changes after the event. It does not know who
// listens, nor where the mesh is reached: a [Link] says where a result is.
package event

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/task"
)

// Type names what happened: "action.completed". It is the kind of the task and
// the name of the event.
type Type string

// The names of events.
const (
	Processing = "processing"
	Milestone  = "milestone"
	Completed  = "completed"
	Failed     = "failed"
	Canceled   = "canceled"

	InputRequired = "input_required" // its agent has asked a question
)

var names = []string{Processing, Milestone, InputRequired, Completed, Failed, Canceled}

// The kinds of tasks in types. A turn of a session is a task.
const (
	kindTask   = "task"
	kindAction = "action"
)

// Types lists all types of events: those of tasks and those of schedules.
func Types() []Type { return append(TaskTypes(), ScheduleTypes()...) }

// TaskTypes lists the types of what happens to tasks.
func TaskTypes() []Type {
	var all []Type
	for _, kind := range []string{kindTask, kindAction} {
		for _, name := range names {
			all = append(all, Type(kind+"."+name))
		}
	}
	return all
}

// Valid reports whether t is one of Types.
func (t Type) Valid() bool { return slices.Contains(Types(), t) }

// Default reports whether whoever names no types is told of t: of milestones
// and outcomes of tasks.
func (t Type) Default() bool {
	kind, name, _ := strings.Cut(string(t), ".")
	return kind != kindSchedule && name != Processing && name != InputRequired
}

func typeOf(t *task.Task, name string) Type {
	if t.Kind == task.KindAction {
		return Type(kindAction + "." + name)
	}
	return Type(kindTask + "." + name)
}

// Event is one thing that happened to a task or a schedule.
type Event struct {
	ID    string // <task_id>-<name>: the same wherever and whenever it is read
	Type  Type
	At    time.Time
	After uint64 // of a task: see task.Transition
	Body  []byte // the JSON that receivers get
}

// body is the wire form of an event.
type body struct {
	Type      Type              `json:"type"`
	ActionID  task.ID           `json:"action_id,omitempty"`
	TaskID    task.ID           `json:"task_id,omitempty"`
	SessionID string            `json:"session_id,omitempty"` // of a turn
	Status    task.State        `json:"status"`
	Result    json.RawMessage   `json:"result,omitempty"`
	ResultURL string            `json:"result_url,omitempty"`
	Error     *task.Error       `json:"error,omitempty"`
	Milestone *milestone        `json:"milestone,omitempty"`
	Question  *task.Question    `json:"question,omitempty"`
	Usage     *usage            `json:"usage,omitempty"`       // of an outcome
	UsageAll  *usage            `json:"usage_total,omitempty"` // with the tasks that it has called
	StoppedBy string            `json:"stopped_by,omitempty"`
	Agent     string            `json:"agent"`
	Labels    map[string]string `json:"labels,omitempty"`
	Metadata  json.RawMessage   `json:"metadata,omitempty"`
	Timestamp time.Time         `json:"timestamp"`
	TraceID   string            `json:"trace_id,omitempty"`
}

type milestone struct {
	N       int             `json:"n"`
	Name    string          `json:"name"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// MaxBody is the largest body in bytes that carries its result; a larger result
// is left to result_url.
const MaxBody = 64 << 10

// Filter says which events of a task somebody wants: those of the types, or the
// default ones when there are none. Agents narrows it, if there are any.
type Filter struct {
	Types  []Type
	Agents []string
	Labels map[string]string // that the task must have; see Concerns
}

// Concerns reports whether a task with these labels may be wanted.
func (f Filter) Concerns(labels map[string]string) bool {
	for k, v := range f.Labels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Match reports whether an event of the type at an agent's task is wanted.
func (f Filter) Match(t Type, agent string) bool {
	if len(f.Agents) > 0 && !slices.Contains(f.Agents, agent) {
		return false
	}
	if len(f.Types) == 0 {
		return t.Default()
	}
	return slices.Contains(f.Types, t)
}

// Link is where a task's result is read, as whoever tells of events spells it.
type Link func(*task.Task) string

// Of reads the events of t that its record still tells and that are not older
// than revision from, oldest first, and writes the bodies of those that want asks
// for. A body that does not carry its result has result's link to it. A record that
// is not stored (t.Rev == 0) has no events.
func Of(t *task.Task, from uint64, want func(Type) bool, result Link) ([]Event, error) {
	if t.Rev == 0 {
		return nil, nil
	}
	var events []Event
	add := func(id, name string, at time.Time, after uint64, b body) error {
		e := Event{ID: string(t.ID) + "-" + id, Type: typeOf(t, name), At: at, After: after}
		if after < from || !want(e.Type) {
			return nil
		}
		b.Type, b.Timestamp = e.Type, at
		if err := b.encode(t, &e, result); err != nil {
			return fmt.Errorf("write event %s: %w", e.ID, err)
		}
		events = append(events, e)
		return nil
	}
	for _, m := range t.Milestones {
		b := body{Status: task.Processing, Milestone: &milestone{m.N, m.Name, m.Message, m.Data}}
		if err := add(Milestone+"-"+strconv.Itoa(m.N), Milestone, m.At, m.After, b); err != nil {
			return nil, err
		}
	}
	begun := false
	for _, tr := range t.Transitions {
		b, id := body{Status: tr.Status}, string(tr.Status)
		switch {
		case tr.Status == task.InputRequired: // it may ask again
			b.Question, id = tr.Question, id+"-"+strconv.Itoa(tr.Run)
		case tr.Status == task.Processing && begun, tr.Status != task.Processing && !tr.Status.Terminal():
			continue // a later attempt of the same task
		case tr.Status == task.Processing:
			begun = true
		default:
			b.Result, b.Error = t.Result.Inline, t.Error
			b.Usage, b.UsageAll, b.StoppedBy = usageOf(t.Usage), usageOf(t.UsageTotal), t.StoppedBy
			if t.Result.Object != "" {
				b.ResultURL = result(t)
			}
		}
		if err := add(id, string(tr.Status), tr.At, tr.After, b); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.After, b.After) })
	return events, nil
}

// encode writes the body of e, without the result where that makes it too long.
func (b body) encode(t *task.Task, e *Event, result Link) (err error) {
	if t.Kind == task.KindAction {
		b.ActionID = t.ID
	} else {
		b.TaskID = t.ID
	}
	b.SessionID = t.SessionID
	b.Agent, b.Labels, b.Metadata, b.TraceID = t.Agent, t.Labels, t.Metadata, traceID(t.TraceParent)
	if len(b.Result) > MaxBody {
		b.Result, b.ResultURL = nil, result(t)
	}
	if e.Body, err = task.Marshal(b); err != nil || len(e.Body) <= MaxBody || b.Result == nil {
		return err
	}
	b.Result, b.ResultURL = nil, result(t)
	e.Body, err = task.Marshal(b)
	return err
}

// traceID is the trace id of a W3C traceparent, empty when it has none.
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

package event_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/event"
	"agentmesh/shared/task"
)

var all = func(event.Type) bool { return true }

// life is a record at each of its revisions.
func life(t *testing.T) (revisions []*task.Task) {
	t.Helper()
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	rec := &task.Task{ID: "act_01a200000000000000000000000000ff", Tenant: "default", Kind: task.KindAction, Agent: "echo", Status: task.Pending, CreatedAt: now,
		TraceParent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}
	keep := func() {
		rec.Replaces, rec.Rev = rec.Rev, rec.Rev+7
		revisions = append(revisions, rec.Clone())
	}
	to := func(s task.State) {
		now = now.Add(time.Second)
		if err := rec.To(s, now); err != nil {
			t.Fatal(err)
		}
		keep()
	}
	rec.Attempt = 1
	to(task.Processing)
	rec.Milestones = append(rec.Milestones, task.Milestone{N: 1, Name: "a", At: now, After: rec.Rev})
	keep()
	rec.Message = "progress only"
	keep()
	rec.Error = &task.Error{Code: "agent_error", Message: "once", Retryable: true}
	to(task.Pending)
	rec.Attempt, rec.Error = 2, nil
	to(task.Processing)
	rec.Milestones = append(rec.Milestones, task.Milestone{N: 2, Name: "b", At: now, After: rec.Rev})
	keep()
	rec.Result = task.Value{Inline: json.RawMessage(`{"x":"<&>"}`)}
	to(task.Completed)
	rec.StoppedAt = now // an annotation
	keep()
	return revisions
}

// An event is the same, byte for byte, from whichever revision it is read.
func TestEventsDoNotChange(t *testing.T) {
	bodies := map[string][]byte{}
	var last []event.Event
	for _, rec := range life(t) {
		events, err := event.Of(rec, 0, all, link)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if first, ok := bodies[e.ID]; ok && !bytes.Equal(first, e.Body) {
				t.Errorf("%s changed:\n%s\n%s", e.ID, first, e.Body)
			}
			bodies[e.ID] = e.Body
		}
		last = events
		later, err := event.Of(rec, rec.Replaces, all, link)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range later {
			if want := events[len(events)-len(later)+i]; e.ID != want.ID || e.After < rec.Replaces {
				t.Errorf("revision %d: %s is new, want %s", rec.Rev, e.ID, want.ID)
			}
		}
	}
	var ids []string
	for _, e := range last {
		ids = append(ids, strings.TrimPrefix(e.ID, "act_01a200000000000000000000000000ff-"))
		var v struct{ Type, Timestamp string }
		if err := json.Unmarshal(e.Body, &v); err != nil || v.Type != string(e.Type) || v.Timestamp != e.At.Format(time.RFC3339Nano) {
			t.Errorf("%s: %s", e.ID, e.Body)
		}
	}
	if got := strings.Join(ids, " "); got != "processing milestone-1 milestone-2 completed" {
		t.Errorf("events = %s", got)
	}
	if len(bodies) != 4 {
		t.Errorf("%d events, want 4", len(bodies))
	}
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		f    event.Filter
		typ  event.Type
		want bool
	}{
		{event.Filter{}, "action.completed", true},
		{event.Filter{}, "task.milestone", true},
		{event.Filter{}, "task.processing", false},
		{event.Filter{Types: []event.Type{"task.processing"}}, "task.processing", true},
		{event.Filter{Types: []event.Type{"task.processing"}}, "task.failed", false},
		{event.Filter{Agents: []string{"echo"}}, "task.failed", true},
		{event.Filter{Agents: []string{"other"}}, "task.failed", false},
	} {
		if got := tt.f.Match(tt.typ, "echo"); got != tt.want {
			t.Errorf("%+v matches %s: %v", tt.f, tt.typ, got)
		}
	}
	for _, typ := range event.Types() {
		if !typ.Valid() {
			t.Errorf("%s is not valid", typ)
		}
	}
	if event.Type("task.exploded").Valid() || event.Type("").Valid() {
		t.Error("an unknown type is valid")
	}
}

// link says where a result is, as a face does.
func link(t *task.Task) string { return "https://mesh/" + string(t.ID) }

// A body stays under its limit by leaving a large result where it is.
func TestLargeResults(t *testing.T) {
	for _, size := range []int{event.MaxBody - 20, event.MaxBody, 10 * event.MaxBody} {
		rec := life(t)[6]
		rec.Result.Inline = json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
		events, err := event.Of(rec, 0, func(t event.Type) bool { return t == "action.completed" }, link)
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		if b := events[0].Body; len(b) > event.MaxBody || !bytes.Contains(b, []byte(`"result_url":"https://mesh/act_01a200000000000000000000000000ff"`)) {
			t.Errorf("%d bytes: %.200s", len(b), b)
		}
	}
}

// A turn of a session is told as a task, and of which session it is.
func TestTurn(t *testing.T) {
	turn := &task.Task{
		ID: "trn_01a20000000000000000000000000001", Tenant: "default", Kind: task.KindTurn, Agent: "travel", Rev: 2, Status: task.Completed,
		SessionID: "ses_01a20000000000000000000000000001", Result: task.Value{Inline: json.RawMessage(`{"message":"hi"}`)},
		Transitions: []task.Transition{{Status: task.Completed, Attempt: 1}},
	}
	events, err := event.Of(turn, 0, func(event.Type) bool { return true }, link)
	want := `{"type":"task.completed","task_id":"trn_01a20000000000000000000000000001","session_id":"ses_01a20000000000000000000000000001",` +
		`"status":"completed","result":{"message":"hi"},"agent":"travel","timestamp":"0001-01-01T00:00:00Z"}`
	if err != nil || len(events) != 1 || string(events[0].Body) != want {
		t.Errorf("events %s, %v", events[0].Body, err)
	}
}

// The event of a question has its id by its run, since a task may ask again, and tells
// what is asked: nobody is told of it who does not name it.
func TestTheEventOfAQuestion(t *testing.T) {
	at := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	rec := &task.Task{ID: "tsk_01a200000000000000000000000000ff", Tenant: "default", Kind: task.KindTask, Agent: "refund", Status: task.Processing, Attempt: 1, CreatedAt: at, Rev: 3, Replaces: 2, Run: 4,
		Waits: task.Waits{{Name: "approve", Kind: task.WaitInput, Prompt: "Refund 80 EUR?", Schema: json.RawMessage(`{"type":"boolean"}`), Until: at.Add(time.Hour), AskedAt: at}}}
	if err := rec.Suspend(at); err != nil {
		t.Fatal(err)
	}
	events, err := event.Of(rec, 0, all, link)
	want := `{"type":"task.input_required","task_id":"tsk_01a200000000000000000000000000ff","status":"input_required","question":{"name":"approve","prompt":"Refund 80 EUR?","until":"2026-05-19T11:30:00Z"},"agent":"refund","timestamp":"2026-05-19T10:30:00Z"}`
	if err != nil || len(events) != 1 || events[0].ID != string(rec.ID)+"-input_required-5" || string(events[0].Body) != want {
		t.Errorf("%v %+v %s\nwant %s", err, events, events[0].Body, want)
	}
	if event.Type("task.input_required").Default() || event.Type("action.input_required").Default() || !event.Type("action.input_required").Valid() {
		t.Error("who names no types is told of questions")
	}
}

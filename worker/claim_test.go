package worker

import (
	"reflect"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	definition := agent.Definition{Name: "a"}.WithDefaults() // three attempts
	base := task.Task{ID: "tsk_01a20cd9e03b7276be6a181888e33e52", Tenant: "default", Agent: "a", Status: task.Pending}
	queued := func(seq uint64, change ...func(*task.Task)) *task.Task {
		q := base
		q.QueueSeq = seq
		for _, f := range change {
			f(&q)
		}
		return &q
	}
	record := func(s task.State, attempt int, lease *task.Lease, change ...func(*task.Task)) *task.Task {
		r := base
		r.Status, r.Attempt, r.Lease, r.Rev = s, attempt, lease, 9
		for _, f := range change {
			f(&r)
		}
		return &r
	}
	lease := func(seq uint64) *task.Lease { return &task.Lease{Worker: "wrk_old", Seq: seq} }
	attempt := func(n int) func(*task.Task) { return func(t *task.Task) { t.Attempt = n } }
	promoted := func(n uint64) func(*task.Task) { return func(t *task.Task) { t.InPlaceOf = n } }
	later := func(t *task.Task) { t.NotBefore = now.Add(time.Minute) }
	limit := func(n int) func(*task.Task) { return func(t *task.Task) { t.MaxAttempts = n } }
	expired := func(t *task.Task) { t.Deadline = now }

	for _, tt := range []struct {
		name    string
		queued  *task.Task
		record  *task.Task
		verb    verb
		attempt int
		code    string
	}{
		{"first delivery", queued(5), nil, run, 1, ""},
		{"two workers died before they claimed it", queued(5), nil, run, 1, ""},
		{"heir of a lapsed lease", queued(5), record(task.Processing, 1, lease(5)), run, 2, ""},
		{"heir, though the counter was lost", queued(5), record(task.Processing, 2, lease(5)), run, 3, ""},
		{"a retry's message", queued(8, attempt(1)), record(task.Pending, 1, lease(5), later), run, 2, ""},
		{"handed back", queued(5), record(task.Pending, 0, lease(5)), run, 1, ""},
		{"handed back in the second attempt", queued(8, attempt(1)), record(task.Pending, 1, lease(8)), run, 2, ""},
		{"completed", queued(5), record(task.Completed, 1, lease(5)), forget, 0, ""},
		{"canceled before it ran", queued(5), record(task.Canceled, 0, nil), forget, 0, ""},
		{"held under another message", queued(5), record(task.Processing, 2, lease(8)), forget, 0, ""},
		{"held under the message it was promoted from", queued(9, promoted(8)), record(task.Processing, 1, lease(8)), stand, 0, ""},
		{"handed back by that message's attempt", queued(9, promoted(8)), record(task.Pending, 0, lease(8)), run, 1, ""},
		{"of an earlier attempt", queued(5), record(task.Pending, 2, lease(8), later), forget, 0, ""},
		{"spent: its retry may not be queued yet", queued(5), record(task.Pending, 1, lease(5), later), requeue, 1, ""},
		{"waits for input", queued(5), record(task.InputRequired, 1, nil, expired), end, 1, task.CodeDeadlineExceeded},
		{"deadline passed in the queue", queued(5, expired), nil, end, 0, task.CodeDeadlineExceeded},
		{"deadline passed under a dead worker", queued(5, expired), record(task.Processing, 1, lease(5), expired), end, 1, task.CodeDeadlineExceeded},
		{"every worker died", queued(5), record(task.Processing, 3, lease(5)), end, 3, task.CodeWorkerLost},
		{"the task allows one attempt", queued(5, limit(1)), record(task.Processing, 1, lease(5), limit(1)), end, 1, task.CodeWorkerLost},
		{"the task allows more than the agent", queued(5, limit(5)), record(task.Processing, 3, lease(5), limit(5)), run, 4, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, r := tt.queued.Clone(), tt.record
			if r != nil {
				r = r.Clone()
			}
			d := decide(tt.queued, tt.record, definition, "wrk_new", now)
			if d.verb != tt.verb {
				t.Fatalf("verb %d (%s), want %d", d.verb, d.why, tt.verb)
			}
			if !reflect.DeepEqual(tt.queued.Clone(), q) || r != nil && !reflect.DeepEqual(tt.record.Clone(), r) {
				t.Error("the message or the record was changed")
			}
			switch d.verb {
			case forget, stand:
			case run:
				if l := d.task.Lease; d.task.Attempt != tt.attempt || l.Worker != "wrk_new" || l.Seq != tt.queued.QueueSeq || d.task.Error != nil {
					t.Errorf("attempt %d under %+v, want %d", d.task.Attempt, l, tt.attempt)
				}
			case end:
				if d.as != task.Failed || d.task.Error.Code != tt.code || d.task.Attempt != tt.attempt || d.task.Error.Attempt != tt.attempt {
					t.Errorf("%s in attempt %d with %+v", d.as, d.task.Attempt, d.task.Error)
				}
			case requeue:
				if d.task.Attempt != tt.attempt || d.task.NotBefore.IsZero() {
					t.Errorf("queued again: %+v", d.task)
				}
			}
			if d.verb != forget && d.verb != stand && r != nil && d.task.Rev != r.Rev {
				t.Errorf("revision %d, want %d", d.task.Rev, r.Rev)
			}
		})
	}
}

func TestQuickStreak(t *testing.T) {
	var q quickStreak
	for range quickEarned {
		if q.earned() {
			t.Fatal("earned too early")
		}
		q.note(time.Millisecond, true)
	}
	if !q.earned() {
		t.Error("not earned")
	}
	q.note(quickEnd, true)
	if q.earned() {
		t.Error("a slow attempt keeps the streak")
	}
	for range quickEarned {
		q.note(0, true)
	}
	q.note(0, false)
	if q.earned() {
		t.Error("a failed attempt keeps the streak")
	}
}

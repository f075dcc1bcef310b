//go:build unix

package fleet

import (
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

func TestMain(m *testing.M) {
	natstest.OnDisk() // its nodes sync, and their disks get full
	meshtest.Main(m)
}

// Each contradiction between what is known outside and what the mesh says is a
// fault, and an ordinary life is none.
func TestTheLedgerSeesEachContradiction(t *testing.T) {
	done := state{"completed", 1, `{"n":"a"}`}
	for name, tt := range map[string]struct {
		happens func(l *Ledger, r *request)
		fault   string
	}{
		"an ordinary life": {func(l *Ledger, r *request) {
			l.accepted(r, "tsk_1")
			l.sees(r, state{"pending", 0, ""})
			l.sees(r, state{"processing", 1, ""})
			l.sees(r, state{"pending", 1, ""})
			l.sees(r, state{"completed", 2, "x"})
			l.sees(r, state{"completed", 2, "x"})
			l.received("dlv_1", teller{"tsk_1", false}, []byte("x"), "completed")
			l.received("dlv_1", teller{"tsk_1", false}, []byte("x"), "completed")
		}, ""},
		"two tasks of a key": {func(l *Ledger, r *request) { l.accepted(r, "tsk_1"); l.accepted(r, "tsk_2") }, "has two tasks"},
		"an end that changes": {func(l *Ledger, r *request) {
			l.sees(r, done)
			l.sees(r, state{"failed", 1, ""})
		}, "was {"},
		"an outcome that changes": {func(l *Ledger, r *request) {
			l.sees(r, done)
			l.sees(r, state{"completed", 1, "other"})
		}, "was {"},
		"an end that is taken back": {func(l *Ledger, r *request) { l.sees(r, done); l.sees(r, state{"pending", 1, ""}) }, "was {"},
		"attempts that shrink":      {func(l *Ledger, r *request) { l.sees(r, state{"pending", 3, ""}); l.sees(r, state{"processing", 2, ""}) }, "was {"},
		"two bodies of an id": {func(l *Ledger, _ *request) {
			l.received("dlv_1", teller{"tsk_1", false}, []byte("x"), "completed")
			l.received("dlv_1", teller{"tsk_1", false}, []byte("y"), "completed")
		}, "two bodies"},
		"two ends that are told": {func(l *Ledger, _ *request) {
			l.received("dlv_1", teller{"tsk_1", false}, []byte("x"), "completed")
			l.received("dlv_2", teller{"tsk_1", false}, []byte("y"), "failed")
		}, "was told to be"},
		"another end that is told": {func(l *Ledger, r *request) {
			l.accepted(r, "tsk_1")
			l.sees(r, done)
			l.received("dlv_1", teller{"tsk_1", false}, []byte("x"), "canceled")
			l.untold()
		}, "was told to be"},
	} {
		l := NewLedger()
		tt.happens(l, l.sends("a", "/tasks", "{}"))
		if got := strings.Join(l.Faults(), "; "); (tt.fault == "") != (got == "") || !strings.Contains(got, tt.fault) {
			t.Errorf("%s: %q, want %q", name, got, tt.fault)
		}
	}
}

func TestAnEndThatNobodyAskedForIsUnexpected(t *testing.T) {
	for _, tt := range []struct {
		body     string
		canceled bool
		now      state
		fault    bool
	}{
		{`{}`, false, state{"completed", 1, `{"n":"k"}`}, false},
		{`{}`, true, state{"canceled", 0, ""}, false},
		{`{"echo_fail_permanent":"x"}`, false, state{"failed", 1, "x"}, false},
		{`{}`, false, state{"canceled", 0, ""}, true},
		{`{}`, false, state{"failed", 1, "x"}, true},
		{`{}`, false, state{"completed", 1, `{"n":"other"}`}, true},
		{`{"echo_fail_permanent":"x"}`, false, state{"completed", 1, `{"n":"k"}`}, true},
	} {
		r := &request{key: "k", body: tt.body, canceled: tt.canceled}
		if got := r.unexpected(tt.now); (got != "") != tt.fault {
			t.Errorf("%+v of %s: %q", tt.now, tt.body, got)
		}
	}
}

// An end that was not told is missing until it is, an action's to its callback, too.
func TestEndsThatWereNotToldAreMissing(t *testing.T) {
	l := NewLedger()
	l.accepted(l.sends("a", "/tasks", "{}"), "tsk_1")
	l.accepted(l.sends("b", "/actions", "{}"), "act_1")
	l.received("dlv_1", teller{"tsk_1", false}, []byte("milestone"), "milestone")
	if got := l.untold(); len(got) != 3 {
		t.Errorf("untold: %v", got)
	}
	l.received("dlv_2", teller{"tsk_1", false}, []byte("end"), "completed")
	l.received("dlv_3", teller{"act_1", false}, []byte("end"), "completed")
	if got := l.untold(); len(got) != 1 || got[0] != "act_1" {
		t.Errorf("untold: %v", got)
	}
	l.received("dlv_4", teller{"act_1", true}, []byte("end"), "completed")
	if got := l.untold(); len(got) != 0 {
		t.Errorf("untold: %v", got)
	}
}

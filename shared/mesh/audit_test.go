package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// written collects a log.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) lines(with ...string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.b.String()) {
		fits := true
		for _, text := range with {
			fits = fits && strings.Contains(line, text)
		}
		if fits {
			all = append(all, line)
		}
	}
	return all
}

// audited is a core whose log is kept, and a caller with a name.
func audited(t *testing.T, h *house) (*mesh.Mesh, *written, auth.Caller) {
	t.Helper()
	out := &written{}
	m := mesh.New(h.st, mesh.Options{Log: slog.New(slog.NewTextHandler(out, nil))})
	t.Cleanup(m.Close)
	if _, err := h.st.Registry.Register(t.Context(), task.Definition{Name: "echo"}, "w"); err != nil {
		t.Fatal(err)
	}
	return m, out, auth.Caller{Tenant: "acme", Subject: "ada", KeyID: "key_1", Addr: netip.MustParseAddr("192.0.2.7")}
}

// trail reads the audit trail, page after page.
func trail(t *testing.T, m *mesh.Mesh, f audit.Filter, limit int) (all []audit.Entry) {
	t.Helper()
	for cursor := ""; ; {
		page, err := m.Audit.List(t.Context(), auth.Local(), f, limit, cursor)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Entries...)
		if cursor = page.Next; cursor == "" {
			return all
		}
		if len(page.Entries) != limit {
			t.Errorf("a page of %d that is not the last has %d", limit, len(page.Entries))
		}
	}
}

func TestWhoDidWhatIsLoggedAndKept(t *testing.T) {
	h := newHouse(t)
	m, out, ada := audited(t, h)
	a, err := m.Tasks.Accept(t.Context(), ada, &mesh.Submission{Kind: task.KindTask, Agent: "echo", Instruction: "a secret of ada's"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Tasks.Cancel(t.Context(), ada, a.TaskID); err != nil {
		t.Fatal(err)
	}
	again, err := m.Tasks.Retry(t.Context(), ada, a.TaskID, &mesh.Submission{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Sessions.Open(t.Context(), ada, "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sessions.Delete(t.Context(), ada, s.SessionID, nil); err != nil {
		t.Fatal(err)
	}
	m.Flush(t.Context())
	want := map[audit.Action][]string{
		audit.TaskCreate: {string(a.TaskID), string(again.TaskID)}, audit.TaskCancel: {string(a.TaskID)}, audit.TaskRetry: {string(a.TaskID)},
		audit.SessionOpen: {string(s.SessionID)}, audit.SessionDelete: {string(s.SessionID)},
	}
	all := trail(t, m, audit.Filter{Tenant: "acme"}, 2)
	if len(all) != 6 {
		t.Errorf("%d entries: %+v", len(all), all)
	}
	for action, objects := range want {
		for _, object := range objects {
			found := trail(t, m, audit.Filter{Action: action, Object: object}, 10)
			if len(found) != 1 || found[0].Subject != "ada" || found[0].KeyID != "key_1" || found[0].Address != "192.0.2.7" || found[0].Outcome != audit.Done || found[0].Tenant != "acme" {
				t.Errorf("%s of %s: %+v", action, object, found)
			}
			if lines := out.lines("audit=true", "action="+string(action), "object="+object, "subject=ada", "key_id=key_1", "outcome=done", "address=192.0.2.7"); len(lines) != 1 {
				t.Errorf("%s of %s: %d log lines", action, object, len(lines))
			}
		}
	}
	if text := out.lines("a secret of"); len(text) != 0 {
		t.Errorf("the log has an instruction: %v", text)
	}
}

// A change is in the trail when its answer comes; what was made is there a moment
// later, many entries in one message.
func TestChangesAreKeptBeforeTheirAnswerAndTasksTogether(t *testing.T) {
	h := newHouse(t)
	m, _, ada := audited(t, h)
	const n = 40
	var last task.ID
	for range n {
		a, err := m.Tasks.Accept(t.Context(), ada, &mesh.Submission{Kind: task.KindTask, Agent: "echo", Instruction: "x"})
		if err != nil {
			t.Fatal(err)
		}
		last = a.TaskID
	}
	if _, err := m.Tasks.Cancel(t.Context(), ada, last); err != nil {
		t.Fatal(err)
	}
	if found := trail(t, m, audit.Filter{Action: audit.TaskCancel}, 10); len(found) != 1 {
		t.Errorf("a cancel that was answered: %+v", found)
	}
	natstest.Until(t, "every task is in the trail", func() bool {
		return len(trail(t, m, audit.Filter{Action: audit.TaskCreate}, 7)) == n
	})
	s, err := h.js().Stream(t.Context(), topology.Audit)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs > n/4 {
		t.Errorf("%d tasks took %d messages, %v", n, info.State.Msgs, err)
	}
}

// The pages of a listing are full, whatever the filter, and newest first; a listing
// of the past does not read what came after it.
func TestPagesOfTheTrailAreFullAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		m, _, _ := audited(t, h)
		began := time.Now().UTC().Truncate(time.Millisecond)
		for i := range 30 { // one message an hour, of ten entries
			var some []audit.Entry
			for j := range 10 {
				some = append(some, audit.Entry{At: time.Now().Add(time.Duration(j) * time.Second), Tenant: "acme", Action: audit.TaskCreate, Object: string(rune('a' + j)), Outcome: audit.Done})
			}
			time.Sleep(10 * time.Second)
			if err := h.st.Audit.Write(t.Context(), strconv.Itoa(i), some); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour - 10*time.Second)
		}
		for _, limit := range []int{1, 7, 10, 200} {
			all := trail(t, m, audit.Filter{}, limit)
			if len(all) != 300 {
				t.Errorf("pages of %d have %d entries", limit, len(all))
			}
			for i := 1; i < len(all); i++ {
				if !all[i].At.Before(all[i-1].At) {
					t.Fatalf("pages of %d: %v after %v", limit, all[i].At, all[i-1].At)
				}
			}
		}
		if found := trail(t, m, audit.Filter{Object: "c"}, 4); len(found) != 30 {
			t.Errorf("%d entries of one object", len(found))
		}
		past := audit.Filter{After: began.Add(2*time.Hour - 1), Before: began.Add(4 * time.Hour)}
		page, err := m.Audit.List(t.Context(), auth.Local(), past, 200, "")
		if err != nil || len(page.Entries) != 20 || page.Scanned > 40 {
			t.Errorf("between two times are %d entries of %d that were looked at, %v", len(page.Entries), page.Scanned, err)
		}
	})
}

// The names in a filter become parts of a subject: they are checked.
func TestAFilterOfTheTrailNamesOneTenantAndOneAction(t *testing.T) {
	m, _, _ := audited(t, newHouse(t))
	for _, f := range []audit.Filter{{Tenant: "x.>"}, {Tenant: "*"}, {Action: "*.*"}, {Action: "task"}} {
		if _, err := m.Audit.List(t.Context(), auth.Local(), f, 10, ""); !errors.Is(err, mesh.ErrValidationFailed) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// A refusal changed nothing: it is no entry, and a flood of them no flood of lines.
func TestRefusedAttemptsAreBounded(t *testing.T) {
	h := newHouse(t)
	m, out, ada := audited(t, h)
	for range 500 {
		m.Audit.Refused(t.Context(), ada, "GET /audit", mesh.Refuse(mesh.ErrTaskNotFound, "x"))
		if _, err := m.Tasks.Cancel(t.Context(), ada, "tsk_0197a3b2c4d5e6f70123456789abcdef"); err == nil {
			t.Fatal("a task that does not exist was canceled")
		}
	}
	m.Flush(t.Context())
	if found := trail(t, m, audit.Filter{}, 10); len(found) != 0 {
		t.Errorf("refusals are in the trail: %+v", found)
	}
	if lines := out.lines("msg=refused"); len(lines) == 0 || len(lines) > 300 {
		t.Errorf("1000 refusals are %d lines", len(lines))
	}
}

// While the store is away nothing of the trail is lost.
func TestEntriesThatTheStoreDidNotTakeAreTriedAgain(t *testing.T) {
	h := newHouse(t)
	m, _, ada := audited(t, h)
	a, err := m.Tasks.Accept(t.Context(), ada, &mesh.Submission{Kind: task.KindTask, Agent: "echo", Instruction: "x"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.Flush(ctx) // which the store does not take
	m.Flush(t.Context())
	m.Flush(t.Context())
	if found := trail(t, m, audit.Filter{Object: string(a.TaskID)}, 10); len(found) != 1 {
		t.Errorf("after a store that was away: %+v", found)
	}
}

package mesh_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// fromGitHub is a hook of the agent echo, and what signs for it.
var fromGitHub = hook.Spec{Verify: hook.Verify{Style: hook.GitHub}, Task: &hook.Work{Work: task.Work{Agent: "echo"}}}

// delivered is a request to such a hook with the secret "s".
func (h *house) delivered(id, body string) mesh.HookRequest {
	h.t.Helper()
	headers := http.Header{"Content-Type": {"application/json"}}
	if err := fromGitHub.Verify.Sign(headers, "s", id, time.Now(), []byte(body)); err != nil {
		h.t.Fatal(err)
	}
	return mesh.HookRequest{Headers: hook.Headers(headers), Body: []byte(body), From: netip.MustParseAddr("192.0.2.1")}
}

// written is the newest write of hooks.
func (h *house) written() uint64 {
	h.t.Helper()
	records, err := h.js().Stream(h.t.Context(), topology.BucketStream(topology.HooksBucket))
	if err != nil {
		h.t.Fatal(err)
	}
	return records.CachedInfo().State.LastSeq
}

// A flood from outside costs the store a write every two seconds, not one for each
// request; and what was written is there after a restart.
func TestALogOfAHookIsWrittenNowAndThen(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		ctx := h.t.Context()
		made, err := h.core.Hooks.Create(ctx, auth.Local(), fromGitHub, []string{"s"})
		if err != nil {
			t.Fatal(err)
		}
		before := h.written()
		for n := range 400 {
			r := h.delivered(fmt.Sprint(n), `{}`)
			r.Body, r.From = []byte(`{"changed":1}`), netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
			if _, err := h.core.Hooks.Receive(ctx, made, r); !errors.Is(err, mesh.ErrHookRejected) {
				t.Fatal(err)
			}
			h.pass(10 * time.Millisecond)
		}
		h.pass(2 * time.Second)
		if n := h.written() - before; n == 0 || n > 3 {
			t.Errorf("%d writes in six seconds", n)
		}
		if a, err := h.core.Hooks.Receive(ctx, made, h.delivered("last", `{}`)); err != nil || a.Outcome != hook.Accepted {
			t.Fatal(a, err)
		}
		h.core.Flush(ctx)
		h.stop()
		h.run(1) // another process
		r, err := h.core.Hooks.Recent(ctx, auth.Local(), made.ID)
		if err != nil || len(r.Receipts) != 50 || r.Receipts[0].Delivery != "last" || r.Counts.Rejected != 400 || r.Counts.Accepted != 1 {
			t.Errorf("after a restart: %+v, %v", r, err)
		}
		if err := h.core.Hooks.Delete(ctx, auth.Local(), made.ID, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := h.core.Hooks.Receive(ctx, made, h.delivered("late", `{}`)); err != nil { // it was read before
			t.Fatal(err)
		}
		before = h.written()
		h.pass(5 * time.Second)
		if h.written() != before {
			t.Error("the log of a hook that was deleted is written")
		}
	})
}

// The secrets of a hook are stored as nobody but the mesh reads them.
func TestSecretsOfAHookAreStoredSealed(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		made, err := h.core.Hooks.Create(h.t.Context(), auth.Local(), fromGitHub, []string{"a-plain-secret"})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(made)
		if err != nil || len(made.Sealed) == 0 {
			t.Fatal(err)
		}
		if s := string(raw); strings.Contains(s, "a-plain-secret") {
			t.Errorf("the record has it: %s", s)
		}
		other := *made
		other.ID = hook.NewID()
		r := h.delivered("1", `{}`)
		if _, err := h.core.Hooks.Receive(h.t.Context(), &other, r); !errors.Is(err, mesh.ErrHookUnserved) {
			t.Errorf("secrets of one hook open for another: %v", err)
		}
	})
}

package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// A hook acts as its tenant, and belongs to it.
func TestAHookActsAsItsTenant(t *testing.T) {
	m := shared(t)
	m.Work(meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }))
	k := newHook(m, hook.GitHub, toEcho, meshtest.As("green")...)
	w := k.deliver("1", `{}`)
	id := taskOf(t, w)
	if w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if mine, theirs := m.Do("GET", "/tasks/"+id, "", meshtest.As("green")...), m.Do("GET", "/tasks/"+id, "", meshtest.As("blue")...); mine.Code != 200 || theirs.Code != 404 {
		t.Errorf("its tenant reads %d, another one %d", mine.Code, theirs.Code)
	}
	for _, path := range []string{"", "/recent"} {
		if w := m.Do("GET", "/hooks/"+k.HookID+path, "", meshtest.As("blue")...); w.Code != 404 {
			t.Errorf("another tenant reads %s: %d", path, w.Code)
		}
	}
	limit(t, m, `{"pending":0}`)
	blue := newHook(m, hook.GitHub, toEcho, meshtest.As("blue")...)
	if w := blue.deliver("1", `{}`); w.Code != 429 || meshtest.Code(t, w) != "too_many_pending" {
		t.Errorf("over the limit of its tenant: %d %s", w.Code, w.Body)
	}
}

func TestAHookDoesNothingThatItsOwnerMayNot(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("echo", meshtest.Says("x")))
	m.Ask(meshtest.Callers{
		"hooks": {Tenant: "blue", Subject: "hooks", Scopes: []auth.Scope{auth.HooksWrite, auth.HooksRead}},
		"tasks": {Tenant: "blue", Subject: "tasks", Scopes: []auth.Scope{auth.HooksWrite, auth.TasksWrite}},
		"talks": {Tenant: "blue", Subject: "talks", Scopes: []auth.Scope{auth.HooksWrite, auth.SessionsWrite}},
	})
	const start = `{"verify":{"style":"github","secrets":["s"]},"task":{"agent":"echo"}}`
	const speak = `{"verify":{"style":"github","secrets":["s"]},"session":{"agent":"echo","key":"/k","text":"/t"}}`
	for _, tt := range []struct {
		who, body string
		status    int
	}{{"hooks", start, 403}, {"tasks", start, 201}, {"tasks", speak, 403}, {"talks", speak, 201}, {"talks", start, 403}} {
		if w := m.Do("POST", "/hooks", tt.body, meshtest.As(tt.who)...); w.Code != tt.status {
			t.Errorf("%s: %d %s", tt.who, w.Code, w.Body)
		}
	}
}

// A stranger cannot have the mesh verify without end; a provider can deliver as fast
// as it does.
func TestRequestsThatAreNotVerifiedAreBoundedByTheirAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHook(echoes(t), hook.GitHub, toEcho)
		for n := range 200 {
			if w := k.deliver(fmt.Sprint(n), `{}`); w.Code != 202 {
				t.Fatalf("delivery %d: %d %s", n, w.Code, w.Body)
			}
		}
		wrong := func() int { return k.Do("POST", "/hooks/"+k.HookID, `{}`, "X-GitHub-Delivery", "1").Code }
		codes := map[int]int{}
		for range 100 {
			codes[wrong()]++
		}
		if codes[401] != 60 || codes[429] != 40 {
			t.Errorf("answers to strangers: %v", codes)
		}
		if w := k.Do("POST", "/hooks/"+unknown(k.HookID), `{}`); w.Code != 429 {
			t.Errorf("an id that there is not: %d", w.Code)
		}
		r := k.recent()
		if len(r.Deliveries) != 50 || r.Counts.Accepted != 200 || r.Counts.Rejected != 60 {
			t.Errorf("%d in the log, counts %+v", len(r.Deliveries), r.Counts)
		}
		time.Sleep(2 * time.Second)
		if wrong() != 401 {
			t.Error("after a while nobody is let in")
		}
	})
}

func TestASecretIsReplacedWhileTheOldOneStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHook(echoes(t), hook.GitHub, toEcho)
		old := *k
		w := k.Do("POST", "/hooks/"+k.HookID+"/rotate-secret", `{"secret":"the next one","overlap":"1h"}`)
		if w.Code != 200 || len(meshtest.Decode[api.Hook](t, w.Body).Keys) != 2 {
			t.Fatalf("rotate = %d %s", w.Code, w.Body)
		}
		k.secret = "the next one"
		if a, b := k.deliver("1", `{}`), old.deliver("2", `{}`); a.Code != 202 || b.Code != 202 {
			t.Errorf("in the overlap: new %d, old %d", a.Code, b.Code)
		}
		time.Sleep(time.Hour + time.Second)
		if a, b := k.deliver("3", `{}`), old.deliver("4", `{}`); a.Code != 202 || b.Code != 401 {
			t.Errorf("after it: new %d, old %d", a.Code, b.Code)
		}
		for body, status := range map[string]int{`{"secret":""}`: 422, `{"secret":"x","overlap":"1y"}`: 422, `{"secret":"x","overlap":"721h"}`: 422} {
			if w := k.Do("POST", "/hooks/"+k.HookID+"/rotate-secret", body); w.Code != status {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
		w = k.Do("PATCH", "/hooks/"+k.HookID, `{"verify":{"style":"github","secrets":["third"]},"name":"n"}`, "Content-Type", "application/json")
		if one := meshtest.Decode[api.Hook](t, w.Body); w.Code != 200 || len(one.Keys) != 1 || one.Name != "n" || one.Task == nil {
			t.Errorf("patch = %d %+v", w.Code, one)
		}
		if w := k.Do("PATCH", "/hooks/"+k.HookID, `{"verify":{"style":"standard"}}`, "Content-Type", "application/json"); w.Code != 422 {
			t.Errorf("another style with the secrets of the old one: %d %s", w.Code, w.Body)
		}
		if got := k.deliver("5", `{}`); got.Code != 401 {
			t.Errorf("a secret that was replaced: %d", got.Code)
		}
		if list := meshtest.Decode[api.HookList](t, k.Do("GET", "/hooks", "").Body); len(list.Hooks) != 1 || !slices.EqualFunc(list.Hooks, []string{k.HookID}, func(h api.Hook, id string) bool { return h.HookID == id }) {
			t.Errorf("%+v", list)
		}
		if w := k.Do("DELETE", "/hooks/"+k.HookID, ""); w.Code != 204 {
			t.Fatalf("delete = %d", w.Code)
		}
		k.secret = "third"
		if got := k.deliver("6", `{}`); got.Code != 404 {
			t.Errorf("after it was deleted: %d", got.Code)
		}
	})
}

// A sender cannot put its spans into a trace of ours.
func TestATraceOfTheOutsideIsNotTakenOver(t *testing.T) {
	k := newHook(echoes(t), hook.GitHub, toEcho)
	const foreign = "0af7651916cd43dd8448eb211c80319c"
	w := k.deliver("1", `{}`, "Traceparent", "00-"+foreign+"-b7ad6b7169203331-01", "Tracestate", "x=y", "Idempotency-Key", "k", "Prefer", "wait=10")
	if w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	id := taskOf(t, w)
	k.End(id)
	if r := k.Record(id); strings.Contains(r.TraceParent, foreign) || r.TraceState != "" {
		t.Errorf("the task is in the trace %s %s", r.TraceParent, r.TraceState)
	}
}

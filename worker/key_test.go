package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// A program that calls the mesh by itself is known by the key of its attempt, as the
// tenant of its task, and no longer than the attempt runs.
func TestAnAgentCallsTheMeshAsTheTenantOfItsTaskWhileItsAttemptRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		keys := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()}).Keys
		tenant := func(name string) []string {
			_, k, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Tenant: name, Scopes: []string{"*"}})
			if err != nil {
				t.Fatal(err)
			}
			return meshtest.As(k.Reveal())
		}
		blue, green := tenant("blue"), tenant("green")
		m.Ask(auth.Chain(mesh.NewKeyAuthenticator(m.Store, meshtest.Quiet()), mesh.NewTaskAuthenticator(m.Store, meshtest.Quiet())))
		var others string

		var used []string // keys, one of each attempt
		var child string
		calls := meshtest.Named("calls", func(_ context.Context, job *agent.Job) (any, error) {
			used = append(used, job.Key.Reveal())
			me := meshtest.As(job.Key.Reveal())
			for _, before := range used[:len(used)-1] {
				if w := m.Do("GET", "/whoami", "", meshtest.As(before)...); w.Code != 401 {
					t.Errorf("the key of the attempt before: %d", w.Code)
				}
			}
			w := m.Do("POST", "/tasks", `{"agent":"child","instruction":"x"}`, append(me, "Mesh-Parent-Task", job.TaskID)...)
			if w.Code != 202 {
				t.Errorf("a child: %d %s", w.Code, w.Body)
			}
			child = meshtest.Decode[api.Accepted](t, w.Body).TaskID
			for path, want := range map[string]int{
				"/tasks/" + child: 200, "/tasks/" + job.TaskID: 200, "/agents": 200, "/tasks/" + others: 404,
				"/webhooks": 403, "/keys": 403, "/sessions": 403,
			} {
				if w := m.Do("GET", path, "", me...); w.Code != want {
					t.Errorf("GET %s: %d, want %d", path, w.Code, want)
				}
			}
			if w := m.Do("GET", "/whoami", "", append(me, "Mesh-Tenant", "green")...); w.Code != 403 {
				t.Errorf("as another tenant: %d", w.Code)
			}
			if who := fmt.Sprintf("%+v", job); strings.Contains(who, job.Key.Reveal()) {
				t.Error("the key shows itself")
			}
			if job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return "done", nil
		})
		calls.Calls = true
		m.Work(calls, meshtest.Named("child", func(_ context.Context, job *agent.Job) (any, error) { return job.Key.Reveal(), nil }))
		others = meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks", `{"agent":"child","instruction":"x","delay":"1h"}`, green...).Body).TaskID
		id := meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks", `{"agent":"calls","instruction":"x"}`, blue...).Body).TaskID
		time.Sleep(time.Minute)
		parent := meshtest.Decode[api.Task](t, m.Do("GET", "/tasks/"+id, "", blue...).Body)
		got := meshtest.Decode[api.Task](t, m.Do("GET", "/tasks/"+child, "", blue...).Body)
		if parent.Status != "completed" || parent.Attempt != 2 || got.ParentID != id || string(got.Result) != `""` {
			t.Errorf("%+v %+v", parent, got)
		}
		for _, key := range used {
			if w := m.Do("GET", "/whoami", "", meshtest.As(key)...); w.Code != 401 {
				t.Errorf("after its attempt: %d", w.Code)
			}
		}
		if len(used) != 2 || used[0] == used[1] {
			t.Errorf("%d keys in two attempts", len(used))
		}
	})
}

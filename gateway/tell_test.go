package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
	httpagent "agentmesh/worker/agents/http"
	"agentmesh/worker/agents/protocol"
)

// keeping is a service that keeps steps while it works, until it is canceled or told
// that it fails. leases gets the lease of each attempt.
func keeping(leases chan<- string) agent.Agent {
	a := meshtest.Named("keeps", func(ctx context.Context, job *agent.Job) (any, error) {
		book, err := protocol.OpenBook(ctx, job, nil)
		if err != nil {
			return nil, err
		}
		lines, err := job.Lines()
		if err != nil {
			return nil, err
		}
		defer lines.Listen(func(line []byte) ([]byte, error) { return book.Answer(ctx, line) })()
		leases <- job.Key.Reveal()
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	a.Tells = true
	return a
}

// A service keeps steps by the lease of its attempt, which is good for nothing else:
// not when the attempt has ended, not for another task, and not for other requests.
func TestALeaseKeepsTheStepsOfItsAttemptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Ask(auth.Chain(mesh.NewTaskAuthenticator(m.Store, meshtest.Quiet()), meshtest.Callers{
			"ann": {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}}, "bob": {Tenant: "bob", Subject: "bob", Scopes: []auth.Scope{auth.All}},
		}))
		leases := make(chan string, 1)
		m.Work(meshtest.WithRetry(keeping(leases)))
		id := m.Create(`{"agent":"keeps","instruction":"x","timeout":"1m"}`, meshtest.As("ann")...)
		lease := <-leases
		other := m.Create(`{"agent":"keeps","instruction":"x"}`, meshtest.As("ann")...)
		otherLease := <-leases
		line := `{"type":"step","name":"charge","n":0,"value":{"receipt":7}}`
		ask := func(task, token, body string, want int, code string) {
			t.Helper()
			w := m.Do("POST", "/tasks/"+task+"/steps", body, meshtest.As(token)...)
			if w.Code != want || want >= 400 && meshtest.Code(t, w) != code {
				t.Errorf("POST by %.20s = %d %s, want %d %s", token, w.Code, w.Body, want, code)
			}
		}
		if w := m.Do("POST", "/tasks/"+id+"/steps", line, meshtest.As(lease)...); w.Code != 201 || w.Body.String() != `{"type":"ok","name":"charge","n":0}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		ask(id, lease, line, 201, "") // a repeat is the same
		ask(id, lease, `{"type":"step","name":"charge","n":0,"value":8}`, 422, "validation_failed")
		ask(id, lease, `{"type":"step","name":"charge"}`, 422, "validation_failed")
		ask(id, "ann", line, 409, "lease_lost")
		ask(id, otherLease, line, 409, "lease_lost")
		ask(id, "bob", line, 404, "task_not_found")
		ask(other, lease, line, 409, "lease_lost")
		for _, path := range []string{"/tasks/" + id, "/tasks", "/agents"} {
			if w := m.Do("GET", path, "", meshtest.As(lease)...); w.Code != 403 {
				t.Errorf("GET %s by a lease = %d", path, w.Code)
			}
		}
		for path, want := range map[string]int{"/tasks/" + id + "/steps/value?name=charge": 200, "/tasks/" + id + "/steps": 403, "/tasks/" + other + "/steps/value?name=charge": 403, "/tasks/" + id + "/result": 403} {
			if w := m.Do("GET", path, "", meshtest.As(lease)...); w.Code != want {
				t.Errorf("GET %s by a lease = %d %s, want %d", path, w.Code, w.Body, want)
			}
		}
		time.Sleep(90 * time.Second) // the attempt times out, and another one begins
		next := <-leases
		if w := m.Do("POST", "/tasks/"+id+"/steps", line, meshtest.As(lease)...); w.Code != 401 {
			t.Errorf("the lease of an attempt that has ended: %d %s", w.Code, w.Body)
		}
		ask(id, next, line, 201, "") // it was kept
	})
}

// A service that is asked again is not sent its large values: it reads them, by the lease
// of its attempt. Telling such a step again leaves the first value.
func TestAServiceReadsTheLargeValuesOfItsStepsByItself(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(auth.Chain(mesh.NewTaskAuthenticator(m.Store, meshtest.Quiet()), meshtest.Callers{"ann": {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}}}))
	srv, c := m.Serve()
	large := strings.Repeat("x", 300<<10)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var job struct {
			TaskID string `json:"task_id"`
			Lease  string
			Steps  []agent.PastStep
		}
		if err := json.NewDecoder(r.Body).Decode(&job); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		step := `{"type":"step","name":"scan","n":0,"value":"` + large + `"}` + "\n"
		if len(job.Steps) == 0 {
			_, _ = io.WriteString(w, step+`{"type":"sleep","name":"nap","for":"10ms"}`)
			return
		}
		scan := job.Steps[0]
		if kept, err := c.Tasks.Tell(r.Context(), job.TaskID, job.Lease, api.Line{Type: "step", Name: "told", N: new(int), Value: json.RawMessage("1")}); err != nil || kept.Name != "told" {
			t.Errorf("by the client: %+v, %v", kept, err)
		}
		req, err := http.NewRequest("GET", scan.ValueURL, nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+job.Lease)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		raw, _ := io.ReadAll(resp.Body)
		_, _ = fmt.Fprintf(w, `%s{"type":"result","result":"%d inline, %d: %d bytes"}`, step, len(scan.Value), resp.StatusCode, len(raw))
	}))
	defer service.Close()
	a := agent.Agent{Definition: agent.Definition{Name: "scans"}, Tells: true, Handler: httpagent.New(httpagent.Config{URL: service.URL}, httpagent.Options{GatewayURL: func() string { return srv.URL }})}
	m.Work(a)
	id := m.Create(`{"agent":"scans","instruction":"x"}`, meshtest.As("ann")...)
	w := m.Do("GET", "/tasks/"+id, "", append(meshtest.As("ann"), "Prefer", "wait=30")...)
	if v := meshtest.Decode[api.Task](t, w.Body); v.Status != "completed" || string(v.Result) != `"0 inline, 200: 307202 bytes"` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

package meshtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway/client"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Do calls the gateway's handler. headers are name, value pairs.
func (m *Mesh) Do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return Call(m.Gateway.Handler(), method, path, body, headers...)
}

// Create accepts a task and returns its id.
func (m *Mesh) Create(body string, headers ...string) string {
	m.T.Helper()
	w := m.Do("POST", "/tasks", body, headers...)
	if w.Code != http.StatusAccepted && w.Code != http.StatusOK {
		m.T.Fatalf("POST /tasks = %d %s", w.Code, w.Body)
	}
	return Decode[client.Task](m.T, w.Body).TaskID
}

// Get reads a task over HTTP.
func (m *Mesh) Get(id string) client.Task {
	m.T.Helper()
	w := m.Do("GET", "/tasks/"+id, "")
	if w.Code != http.StatusOK {
		m.T.Fatalf("GET /tasks/%s = %d %s", id, w.Code, w.Body)
	}
	return Decode[client.Task](m.T, w.Body)
}

// End waits until a task has finished.
func (m *Mesh) End(id string) client.Task {
	m.T.Helper()
	for range 200 {
		w := m.Do("GET", "/tasks/"+id, "", "Prefer", "wait=60")
		if w.Code != http.StatusOK {
			m.T.Fatalf("GET /tasks/%s = %d %s", id, w.Code, w.Body)
		}
		if v := Decode[client.Task](m.T, w.Body); v.Done {
			return v
		}
	}
	m.T.Fatalf("task %s does not end: %+v", id, m.Get(id))
	return client.Task{}
}

// Record reads a task's record itself.
func (m *Mesh) Record(id string) *task.Task {
	m.T.Helper()
	rec, err := m.Store.Tasks.Get(m.T.Context(), "default", task.ID(id))
	if err != nil {
		m.T.Fatal(err)
	}
	return rec
}

// Fill saves a record with as much output as it has room for.
func (m *Mesh) Fill(rec *task.Task) {
	m.T.Helper()
	n := 0
	for step := int(m.NC.MaxPayload()) / 2; step > 4; step /= 2 {
		rec.Output = strings.Repeat("x", n+step)
		if err := m.Store.Tasks.Save(m.T.Context(), rec); err == nil {
			n += step
		} else if !errors.Is(err, task.ErrTooLarge) {
			m.T.Fatal(err)
		}
	}
}

// Queued counts the messages in the queue.
func (m *Mesh) Queued() int {
	m.T.Helper()
	n, err := m.Store.Tasks.Queued(m.T.Context())
	if err != nil {
		m.T.Fatal(err)
	}
	return n
}

// Decode reads JSON.
func Decode[T any](t *testing.T, r io.Reader) (v T) {
	t.Helper()
	raw, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatalf("decode %s: %v", Clipped(raw), err)
	}
	return v
}

// Clipped is as much of b as a message shows.
func Clipped(b []byte) string { return task.Clip(string(b), 300) }

// WithRetry is the agent with retries that come at once.
func WithRetry(a agent.Agent) agent.Agent {
	a.Retry = agent.Retry{Backoff: task.Duration(time.Millisecond), MaxBackoff: task.Duration(time.Millisecond)}
	return a
}

// CompletedAction is the record of an action with a callback, with a result of about
// 200 bytes.
func CompletedAction(url string) *task.Task {
	now := time.Now()
	t := &task.Task{
		ID: task.NewID(task.KindAction, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindAction, Agent: "echo",
		Status: task.Pending, CreatedAt: task.Stamp(now), Callback: &task.Callback{URL: url},
		Result: task.Value{Inline: fmt.Appendf(nil, `{"text":"%0180d"}`, 7)},
	}
	_ = t.To(task.Completed, now)
	return t
}

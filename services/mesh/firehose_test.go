package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// The stream of all events: filters, one wire form with webhooks, and a reader
// that comes back misses nothing, also when revisions are gone by then.
func TestFirehose(t *testing.T) {
	m := newMesh(t)
	srv, c := m.serve()
	m.work(echo.Agent(), named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
		for n := range 30 {
			if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
				return nil, err
			}
		}
		return "done", nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	next := func(f client.MeshFilter, n int) (got []client.MeshEvent) {
		for e, err := range c.MeshEvents(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e); len(got) == n {
				break
			}
		}
		return got
	}
	// A reader that begins at the beginning.
	m.end(m.create(`{"agent":"echo","instruction":"first"}`))
	first := next(client.MeshFilter{After: "0", Types: []string{"task.completed"}}, 1)
	if first[0].Type != "task.completed" || !strings.Contains(string(first[0].Data), `"status":"completed"`) || first[0].ID == "" {
		t.Fatalf("event = %+v", first[0])
	}
	// While it is away a task has more revisions than are kept.
	m.end(m.create(`{"agent":"steps","instruction":"x"}`))
	m.end(m.create(`{"agent":"echo","instruction":"last"}`))
	seen := map[string]int{}
	for _, e := range next(client.MeshFilter{After: first[0].ID, Types: []string{"task.milestone", "task.completed"}}, 32) {
		var v struct {
			TaskID    string `json:"task_id"`
			Milestone struct{ Name string }
		}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatal(err)
		}
		seen[e.Type+" "+v.TaskID+" "+v.Milestone.Name]++
	}
	if len(seen) != 32 {
		t.Errorf("%d different events, want 32: %v", len(seen), seen)
	}
	// Only one agent's.
	if got := next(client.MeshFilter{After: "0", Agents: []string{"steps"}, Types: []string{"task.completed"}}, 1); !strings.Contains(string(got[0].Data), `"agent":"steps"`) {
		t.Errorf("event = %+v", got)
	}
	for _, query := range []string{"?type=task.exploded", "?agent=*"} {
		if w := m.do("GET", "/events"+query, ""); w.Code != 400 || problem(t, w).Code != "bad_query" {
			t.Errorf("GET /events%s = %d %s", query, w.Code, w.Body)
		}
	}
	srv.CloseClientConnections()
}

// The documented subject carries each change of a record.
func TestEventsOnNATS(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())
	sub, err := m.nc.SubscribeSync("mesh.events.default.*")
	if err != nil {
		t.Fatal(err)
	}
	id := m.create(`{"agent":"echo","instruction":"x"}`)
	for {
		msg, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			TaskID string `json:"task_id"`
			Status string `json:"status"`
		}
		if err := json.Unmarshal(msg.Data, &record); err != nil || record.TaskID != id || !strings.HasSuffix(msg.Subject, id) {
			t.Fatalf("%s: %s", msg.Subject, msg.Data)
		}
		if record.Status == "completed" {
			return
		}
	}
}

package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"agentmesh/worker/agent"
)

// BenchmarkA2ASend is a message over A2A until its outcome, beside POST /tasks that
// waits, of an agent that does nothing.
func BenchmarkA2ASend(b *testing.B) {
	a := agent.Agent{Definition: agent.Definition{Name: "noop", Concurrency: benchSlots}, Handler: func(context.Context, *agent.Job) (any, error) { return "x", nil }}
	front, _ := benchParts(b, false, a)
	for _, way := range []struct {
		name, path, body, done string
		headers                []string
	}{
		{"tasks", "/tasks", `{"agent":"noop","instruction":"x"}`, `"status":"completed"`, []string{"Prefer", "wait=10"}},
		{"a2a", "/agents/noop/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}}}`, "TASK_STATE_COMPLETED", []string{"A2A-Version", "1.0"}},
	} {
		b.Run("impl="+way.name, func(b *testing.B) {
			for b.Loop() {
				req, err := http.NewRequest(http.MethodPost, front.URL+way.path, strings.NewReader(way.body))
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set(way.headers[0], way.headers[1])
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				raw, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if !strings.Contains(string(raw), way.done) {
					b.Fatalf("%d %s", resp.StatusCode, raw)
				}
			}
		})
	}
}

package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/worker/agent"
)

// way is one way to have an agent do a task and to wait for its outcome.
type way struct {
	name, path, body, done string
	headers                []string
}

// plainWay is what the faces of other protocols are measured against.
var plainWay = way{"tasks", "/tasks", `{"agent":"noop","instruction":"x"}`, `"status":"completed"`, []string{"Prefer", "wait=10"}}

// besidePlain measures a way beside POST /tasks that waits, of an agent that does
// nothing. They take turns, so that whatever else the machine does hits both: the
// figure is the ratio of the medians.
func besidePlain(b *testing.B, other way) {
	a := agent.Agent{Definition: agent.Definition{Name: "noop", Concurrency: benchSlots}, Handler: func(context.Context, *agent.Job) (any, error) { return "x", nil }}
	front, _ := benchParts(b, false, a)
	ways, took := [2]way{plainWay, other}, [2][]time.Duration{}
	for range 50 {
		for _, w := range ways {
			w.do(b, front)
		}
	}
	for b.Loop() {
		for i, w := range ways {
			began := time.Now()
			w.do(b, front)
			took[i] = append(took[i], time.Since(began))
		}
	}
	var medians [2]float64
	for i, w := range ways {
		slices.Sort(took[i])
		medians[i] = float64(took[i][len(took[i])/2])
		b.ReportMetric(medians[i], w.name+"-ns")
	}
	b.ReportMetric(medians[1]/medians[0], "ratio")
}

func (w way) do(b *testing.B, front *httptest.Server) {
	req, err := http.NewRequest(http.MethodPost, front.URL+w.path, strings.NewReader(w.body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(w.headers); i += 2 {
		req.Header.Set(w.headers[i], w.headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	raw, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.Contains(string(raw), w.done) {
		b.Fatalf("%s: %d %s", w.name, resp.StatusCode, raw)
	}
}

// The aim is 1.3.
func BenchmarkA2ASend(b *testing.B) {
	besidePlain(b, way{"a2a", "/agents/noop/a2a/rpc",
		`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}}}`,
		"TASK_STATE_COMPLETED", []string{"A2A-Version", "1.0"}})
}

// The aim is 1.3.
func BenchmarkMCPCall(b *testing.B) {
	besidePlain(b, way{"mcp", "/mcp",
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"noop","arguments":{"instruction":"x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		`"text":"x"`, []string{"Accept", "application/json, text/event-stream", "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "noop"}})
}

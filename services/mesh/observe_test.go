package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/proc"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// testServe is a worker program as others write them: its agent calls another.
func testServe() int {
	ctx, stop := proc.Context(context.Background())
	defer stop()
	err := worker.Serve(ctx, meshtest.Named("caller", func(ctx context.Context, job *agent.Job) (any, error) {
		return job.Call(ctx, "shows", map[string]int{"n": 1})
	}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fleetAgents show the trace that they were given; flaky fails once.
const fleetAgents = `
agents:
  - name: shows
    exec: {command: [sh, -c, 'printf "{\"type\":\"result\",\"result\":\"%s\"}\n" "$TRACEPARENT"']}
  - name: flaky
    retry: {max_attempts: 3, backoff: 1ms, max_backoff: 1ms}
    exec: {command: [sh, -c, 'test "$MESH_ATTEMPT" -gt 1 || exit 7; echo "$TRACEPARENT"']}
`

// fleet is one process for each role, and one of somebody else's with an agent,
// all exporting to a collector.
func fleet(t *testing.T, env ...string) (c *client.Client, url string) {
	t.Helper()
	srv := fleetServer(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(file, []byte(fleetAgents), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append(env, "NATS_URL="+srv.ClientURL(), "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_BLRP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=500")
	common := []string{"--replicas", "1", "--admin", "off", "--log-format", "json"}
	for role, args := range map[string][]string{
		"gateway":  {"--http", address, "--allow-private-callbacks", "127.0.0.0/8"},
		"worker":   {"--agents", file},
		"notifier": {"--allow-private-callbacks", "127.0.0.0/8"},
	} {
		p, output := meshtest.Spawn(t, append(env, "MESH_TEST_MAIN=1"), append(append([]string{role}, args...), common...)...)
		go p.Drain(output)
	}
	p, output := meshtest.Spawn(t, append(env, "MESH_TEST_SERVE=1", "MESH_REPLICAS=1", "OTEL_SERVICE_NAME=others"))
	go p.Drain(output)
	url = "http://" + address
	if c, err = client.New(url); err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the gateway is ready and the agents served", func() bool {
		agents, err := c.Agents.List(t.Context())
		return err == nil && len(agents) == 3
	})
	return c, url
}

// The whole path over real processes and the real export: the span tree of a
// task, of one that is retried, of one that calls another, of a session's turn
// that calls another, and of an action whose receiver fails once. Agents and receivers are given the trace.
func TestTheTracesOfAFleetAreWhole(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			col := newCollector(t)
			endpoint := col.http
			if protocol == "grpc" {
				endpoint = col.grpc
			}
			c, url := fleet(t, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			var told sync.WaitGroup
			told.Go(func() { traceOfFailingReceiver(ctx, t, c, col) })
			traceOfTasks(ctx, t, c, col)
			traceOfTurn(t, url, col)
			told.Wait()
			exportOfMetricsAndLogs(t, col)
		})
	}
}

const (
	taskTree = `POST /tasks [server mesh-gateway]
  send mesh.tasks.ready [producer mesh-gateway]
  process mesh.tasks.ready [consumer mesh-worker] <- send mesh.tasks.ready
    store.claim [internal mesh-worker]
    invoke_agent shows [internal mesh-worker]
    store.finish [internal mesh-worker]
`
	retriedTree = `POST /tasks [server mesh-gateway]
  send mesh.tasks.ready [producer mesh-gateway]
  process mesh.tasks.ready [consumer mesh-worker] <- send mesh.tasks.ready
    store.claim [internal mesh-worker]
    invoke_agent flaky [internal mesh-worker] failed
    store.finish [internal mesh-worker]
  process mesh.tasks.ready [consumer mesh-worker] <- process mesh.tasks.ready
    store.claim [internal mesh-worker]
    invoke_agent flaky [internal mesh-worker]
    store.finish [internal mesh-worker]
`
	callTree = `POST /tasks [server mesh-gateway]
  send mesh.tasks.ready [producer mesh-gateway]
  process mesh.tasks.ready [consumer others] <- send mesh.tasks.ready
    store.claim [internal others]
    invoke_agent caller [internal others]
      send mesh.tasks.ready [producer others]
      process mesh.tasks.ready [consumer mesh-worker] <- send mesh.tasks.ready
        store.claim [internal mesh-worker]
        invoke_agent shows [internal mesh-worker]
        store.finish [internal mesh-worker]
    store.finish [internal others]
`
	turnTree = `POST /sessions/{id}/messages [server mesh-gateway]
  send mesh.turns [producer mesh-gateway]
  process mesh.turns [consumer others] <- send mesh.turns
    store.claim [internal others]
    invoke_agent caller [internal others]
      send mesh.tasks.ready [producer others]
      process mesh.tasks.ready [consumer mesh-worker] <- send mesh.tasks.ready
        store.claim [internal mesh-worker]
        invoke_agent shows [internal mesh-worker]
        store.finish [internal mesh-worker]
    store.commit [internal others]
    store.finish [internal others]
`
	actionTree = `POST /actions [server mesh-gateway]
  send mesh.tasks.ready [producer mesh-gateway]
  process mesh.tasks.ready [consumer mesh-worker] <- send mesh.tasks.ready
    store.claim [internal mesh-worker]
    invoke_agent shows [internal mesh-worker]
    store.finish [internal mesh-worker]
  notifier.fanout [internal mesh-notifier] <- process mesh.tasks.ready
    send mesh.deliveries.due [producer mesh-notifier]
  process mesh.deliveries.due [consumer mesh-notifier] failed <- send mesh.deliveries.due, process mesh.tasks.ready
    POST [client mesh-notifier] failed
  process mesh.deliveries.due [consumer mesh-notifier] <- process mesh.tasks.ready, process mesh.deliveries.due
    POST [client mesh-notifier]
`
)

func traceOfTasks(ctx context.Context, t *testing.T, c *client.Client, col *collector) {
	for _, tt := range []struct{ agent, want string }{{"shows", taskTree}, {"flaky", retriedTree}, {"caller", callTree}} {
		task, err := c.Tasks.Create(ctx, client.Request{Agent: tt.agent, Input: json.RawMessage(`{}`)}, client.CreateOptions{Wait: 30 * time.Second})
		if err != nil || task.Status != "completed" {
			t.Errorf("%s: %+v, %v", tt.agent, task, err)
			continue
		}
		sameTree(t, col, task.TraceID, tt.want)
		spans := col.trace(task.TraceID)
		last := spans[slices.IndexFunc(spans, func(s span) bool {
			return s.Name == "invoke_agent "+map[string]string{"shows": "shows", "flaky": "flaky", "caller": "shows"}[tt.agent] && s.Status.GetCode() != 2
		})]
		if want := "00-" + task.TraceID + "-" + hex.EncodeToString(last.SpanId) + "-01"; !strings.Contains(string(task.Result), want) {
			t.Errorf("%s: the agent was given %s, want %s", tt.agent, task.Result, want)
		}
		for _, s := range spans {
			if attr(s.Attributes, "mesh.task.id") == "" {
				t.Errorf("%s: span %s names no task", tt.agent, s.Name)
			}
		}
	}
}

func traceOfTurn(t *testing.T, url string, col *collector) {
	post := func(path, body string) map[string]any {
		resp, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return nil
		}
		defer func() { _ = resp.Body.Close() }()
		var v map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode >= 300 {
			t.Errorf("POST %s = %s %v, %v", path, resp.Status, v, err)
		}
		return v
	}
	session, _ := post("/sessions", `{"agent":"caller"}`)["session_id"].(string)
	id, _ := post("/sessions/"+session+"/messages", `{"text":"hello"}`)["trace_id"].(string)
	sameTree(t, col, id, turnTree)
	for _, s := range col.trace(id) {
		if s.Name == "process mesh.turns" || s.Name == "send mesh.turns" || s.Kind == 2 {
			if attr(s.Attributes, "mesh.session.id") != session || attr(s.Attributes, "gen_ai.conversation.id") != session {
				t.Errorf("span %s names the session %q, want %q", s.Name, attr(s.Attributes, "mesh.session.id"), session)
			}
		}
	}
}

func traceOfFailingReceiver(ctx context.Context, t *testing.T, c *client.Client, col *collector) {
	var mu sync.Mutex
	var given []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if given = append(given, r.Header.Get("Traceparent")); len(given) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer receiver.Close()
	action, err := c.Actions.Create(ctx, client.Request{Agent: "shows", Input: json.RawMessage(`{}`), CallbackURL: receiver.URL + "/secret?token=x"}, client.CreateOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	sameTree(t, col, action.TraceID, actionTree)
	mu.Lock()
	defer mu.Unlock()
	n := 0
	for _, s := range col.trace(action.TraceID) {
		if s.Name == "POST" {
			if want := "00-" + action.TraceID + "-" + hex.EncodeToString(s.SpanId) + "-01"; n >= len(given) || given[n] != want {
				t.Errorf("request %d carried %v, want %s", n+1, given, want)
			}
			n++
		}
		for _, a := range s.Attributes {
			if strings.Contains(a.Value.GetStringValue(), "token") || strings.Contains(a.Value.GetStringValue(), "/secret") {
				t.Errorf("span %s tells the receiver's address: %v", s.Name, a)
			}
		}
	}
}

// sameTree waits until a trace looks as it should.
func sameTree(t *testing.T, col *collector, id, want string) {
	var got string
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if got = col.tree(id); got == want {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Errorf("trace %s:\n%s\nwant:\n%s", id, got, want)
}

// exportOfMetricsAndLogs looks for what the tasks before must have left.
func exportOfMetricsAndLogs(t *testing.T, col *collector) {
	t.Helper()
	natstest.Until(t, "metrics of every role are exported", func() bool {
		col.mu.Lock()
		defer col.mu.Unlock()
		for _, name := range []string{"mesh.tasks.accepted", "mesh.tasks.finished", "mesh.task.queue.wait", "mesh.delivery.attempts", "mesh.queue.depth", "go.goroutine.count"} {
			if !col.metrics[name] {
				return false
			}
		}
		return true
	})
	natstest.Until(t, "logs are exported in their trace", func() bool {
		col.mu.Lock()
		defer col.mu.Unlock()
		lines := map[string]bool{}
		for _, r := range col.logs {
			if len(r.TraceId) == 16 && len(r.SpanId) == 8 && attr(r.Attributes, "trace_id") == hex.EncodeToString(r.TraceId) {
				lines[r.Body.GetStringValue()] = true
			}
		}
		return lines["attempt finished"] && lines["delivery failed"] && lines["delivered"]
	})
}

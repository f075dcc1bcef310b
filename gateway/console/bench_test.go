package console

import (
	"flag"
	"log/slog"
	"net/http"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

var benchTasks = flag.Int("tasks", 10_000, "records of tasks that the pages of the benchmark have behind them")

// BenchmarkPages shows pages over -tasks records, beside the request that brings the same
// tasks: how long a page takes, and how many bytes it has, as they are and compressed. All
// records were made in the same second, which is the worst for a list in that order.
func BenchmarkPages(b *testing.B) {
	g := meshWith(b, *benchTasks)
	api, err := client.New("http://api.internal", client.WithHTTPClient(&http.Client{Transport: Inside(g)}))
	if err != nil {
		b.Fatal(err)
	}
	c, err := New(Options{Config: Default(), API: api})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	last, _, err := api.Tasks.List(b.Context(), client.Filter{Limit: 1}, "")
	if err != nil || len(last) != 1 {
		b.Fatalf("%d tasks: %v", len(last), err)
	}
	for _, one := range []struct {
		name string
		of   http.Handler
		path string
	}{
		{"GET/tasks", g, "/tasks?limit=50&order=created"}, {"tasks", c, "/console/tasks"}, {"tasks-failed", c, "/console/tasks?status=failed&agent=research"},
		{"overview", c, "/console/"}, {"task", c, "/console/tasks/" + last[0].TaskID}, {"agents", c, "/console/agents"}, {"dead", c, "/console/dead?tab=tasks"},
	} {
		b.Run("page="+one.name, func(b *testing.B) {
			for b.Loop() {
				if w := get(one.of, one.path); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(get(one.of, one.path).Body.Len()), "bytes")
			if one.of == http.Handler(c) {
				b.ReportMetric(float64(get(one.of, one.path, "Accept-Encoding", "gzip").Body.Len()), "gz-bytes")
			}
		})
	}
}

// meshWith is a gateway over the records of n tasks.
func meshWith(b *testing.B, n int) http.Handler {
	b.Helper()
	nc := natstest.StartWith(b, server.Options{StoreDir: b.TempDir()}).Connect(b)
	st, err := store.Open(b.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	meshtest.PutRecords(b, nc, n, func(i int, t *task.Task) {
		t.Agent, t.Labels = []string{"research", "triage"}[i%2], map[string]string{"team": "search"}
		if i%50 == 0 {
			t.Status, t.Result, t.Error = task.Failed, task.Value{}, &task.Error{Code: "agent_failed", Message: "the receiver answered 503", Attempt: 1}
		}
	})
	cfg := gateway.Default()
	cfg.HTTP = "127.0.0.1:0"
	g, err := gateway.New(cfg, st, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.Close)
	return g.Handler()
}

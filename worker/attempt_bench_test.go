package worker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// An attempt of an agent that does nothing, from the queue to the acknowledgement, with
// what the server does for it in the same process.
func BenchmarkAttempt(b *testing.B) {
	srv := natstest.StartWith(b, server.Options{StoreDir: b.TempDir()})
	st, err := store.Open(b.Context(), srv.Connect(b), store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var run atomic.Int64
	a := echo.Agent()
	a.Concurrency = 32
	a.Handler = func(ctx context.Context, job *agent.Job) (any, error) {
		if run.Add(1) == int64(b.N) {
			cancel()
		}
		return echo.Agent().Handler(ctx, job)
	}
	w, err := worker.New(ctx, worker.Default(), st, []agent.Agent{a}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	input := task.Value{Inline: []byte(`{"text":"` + strings.Repeat("0123456789", 18) + `"}`)}
	for range b.N {
		t := &task.Task{
			ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindTask, Agent: a.Name, Status: task.Pending,
			Input: input, CreatedAt: task.Stamp(time.Now()),
		}
		if _, err := st.Tasks.Enqueue(b.Context(), t); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := w.Run(ctx); err != nil {
		b.Fatal(err)
	}
}

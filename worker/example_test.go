package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// shout is an agent: a function from a job to a result.
func shout(_ context.Context, job *agent.Job) (any, error) {
	job.Progress(50, "warming up")
	return strings.ToUpper(job.Instruction) + "!", nil
}

// A custom worker is an ordinary program. This is its main, but for the signal
// that ends it: ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM).
func ExampleServe() {
	ctx, stop := someMesh("shout", "hello mesh") // sets NATS_URL
	defer stop()

	err := worker.Serve(ctx, agent.Agent{
		Definition: agent.Definition{Name: "shout", Description: "Says it louder."},
		Handler:    shout,
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// completed "HELLO MESH!"
}

// refund keeps what it has finished: a crash between the two steps does not charge
// back twice.
func refund(ctx context.Context, job *agent.Job) (any, error) {
	receipt, err := agent.Step(ctx, job, "charge back", func(_ context.Context, s agent.StepInfo) (string, error) {
		return payBack(job.Instruction, s.IdempotencyKey) // the same key in every attempt
	}, agent.Tries(3, time.Second))
	if err != nil {
		return nil, err
	}
	_, err = agent.Step(ctx, job, "tell", func(_ context.Context, s agent.StepInfo) (string, error) {
		return "told of " + receipt, nil
	})
	return receipt, err
}

func payBack(amount, key string) (string, error) {
	if !strings.HasSuffix(key, ".charge back.0") {
		return "", agent.Permanent(fmt.Errorf("another key: %s", key))
	}
	return "receipt of " + amount, nil
}

// An agent with durable steps.
func ExampleServe_steps() {
	ctx, stop := someMesh("refund", "80 EUR") // sets NATS_URL
	defer stop()

	err := worker.Serve(ctx, agent.Agent{
		Definition: agent.Definition{Name: "refund", Description: "Charges back, and tells."},
		Handler:    refund,
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// completed "receipt of 80 EUR"
}

// someMesh runs a NATS server with one task in the queue. The context ends when
// that task has, and its outcome is printed.
func someMesh(agentName, instruction string) (context.Context, func()) {
	natstest.ForgetBubbles() // of the tests before
	ctx, cancel := context.WithCancel(context.Background())
	slog.SetDefault(slog.New(slog.DiscardHandler))
	dir, _ := os.MkdirTemp("", "example-")
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		panic(err)
	}
	srv.Start()
	srv.ReadyForConnections(10 * time.Second)
	_ = os.Setenv("NATS_URL", srv.ClientURL())
	nc, _ := nats.Connect(srv.ClientURL())
	st, err := store.Open(ctx, nc, store.Options{Replicas: 1})
	if err != nil {
		panic(err)
	}
	t := &task.Task{
		ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Agent: agentName, Kind: task.KindTask,
		Status: task.Pending, Instruction: instruction, CreatedAt: task.Stamp(time.Now()),
	}
	watch, err := st.Tasks.Watch(t.Tenant, t.ID, false)
	if err == nil {
		_, err = st.Tasks.Enqueue(ctx, t)
	}
	if err != nil {
		panic(err)
	}
	go func() {
		defer cancel()
		_ = watch.Updates(ctx, 0, func(u store.Update) bool {
			if u.Task.Status.Terminal() {
				result, _ := json.Marshal(u.Task.Result.Inline)
				fmt.Printf("%s %s\n", u.Task.Status, result)
			}
			return !u.Task.Status.Terminal()
		})
	}()
	return ctx, func() {
		watch.Close()
		nc.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}

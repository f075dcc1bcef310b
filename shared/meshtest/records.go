package meshtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// PutRecords stores the records of n finished tasks of 200 bytes past the store, each as
// change has made it: a compare-and-set for each would take minutes.
func PutRecords(tb testing.TB, nc *nats.Conn, n int, change func(i int, t *task.Task)) {
	tb.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		now := task.Stamp(time.Now())
		t := &task.Task{ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Kind: task.KindTask, Tenant: "default", Agent: "echo", Attempt: 1, Status: task.Completed, CreatedAt: now, UpdatedAt: now, StartedAt: now, FinishedAt: now}
		t.Input.Inline = json.RawMessage(`{"text":"` + strings.Repeat("0123456789", 18) + `"}`)
		t.Result.Inline = t.Input.Inline
		change(i, t)
		data, err := json.Marshal(t)
		if err == nil {
			_, err = js.PublishAsync(topology.TaskRecord(t.Tenant, t.ID), data, jetstream.WithStallWait(time.Minute))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(10 * time.Minute):
		tb.Fatal("the records were not stored in ten minutes")
	}
}

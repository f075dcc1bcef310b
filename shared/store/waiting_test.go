package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// The line of an agent is known also when the last who waits is taken while it is read.
func TestALineIsReadWhileItsLastIsTaken(t *testing.T) {
	srv := natstest.Start(t)
	other := open(t, srv)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := js.Stream(t.Context(), topology.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Consumers.Ensure(t.Context(), store.TaskQueue, "echo", 10, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Tasks.Enqueue(t.Context(), newTask()); err != nil {
		t.Fatal(err)
	}
	wire := &meshtest.Wire{Server: srv.Server}
	taken := sync.OnceFunc(func() {
		if err := queue.Purge(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wire.Look = func(subject string) {
		if subject == "$JS.API.STREAM.MSG.GET."+topology.Tasks {
			taken()
		}
	}
	st, hangUp, err := (&meshtest.Mesh{T: t, Server: srv}).StoreOver(wire)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	l, err := st.Consumers.Line(t.Context(), store.TaskQueue, "echo")
	if err != nil || l.Waiting != 0 || l.Limit != 10 {
		t.Errorf("%d wait, %d may run, %v", l.Waiting, l.Limit, err)
	}
}

package store_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// lease of the test's consumers: a message that nobody acks comes again after it.
const lease = time.Second

// queueTest queues n tasks, delivers most of them, withdraws some in the middle,
// acks some, and after again everything that is left must be delivered.
func queueTest(t *testing.T, connect func() *nats.Conn, replicas int, seed uint64, again func(*nats.Conn) *nats.Conn) {
	ctx := t.Context()
	random := rand.New(rand.NewPCG(seed, 1))
	nc := connect()
	st := openOn(t, nc, replicas)
	if err := st.Consumers.Ensure(ctx, store.TaskQueue, "echo", 1000, lease); err != nil {
		t.Fatal(err)
	}
	var tasks []*task.Task
	for i := range 60 {
		tk := newTask()
		tk.Agent = "echo"
		if i%10 == 9 {
			tk.NotBefore = time.Now().Add(time.Hour)
		}
		if _, err := st.Tasks.Enqueue(ctx, tk); err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, tk)
	}
	left := map[string]bool{}
	for i, tk := range tasks {
		if i%10 != 9 {
			left[string(tk.ID)] = true
		}
	}
	got := deliver(t, nc, 40)
	for _, i := range random.Perm(len(tasks))[:25] {
		delete(left, string(tasks[i].ID))
		if err := st.Tasks.Withdraw(ctx, tasks[i]); err != nil {
			t.Fatal(err)
		}
		if j := random.IntN(len(got)); got[j] != nil {
			if id := topology.SubjectID(got[j].Subject()); left[id] {
				if err := got[j].DoubleAck(ctx); err != nil {
					t.Fatal(err)
				}
				delete(left, id)
			}
		}
	}
	nc = again(nc)
	waitFor(t, nc, left)
}

// deliver takes n messages from the consumer and acks none.
func deliver(t *testing.T, nc *nats.Conn, n int) []jetstream.Msg {
	t.Helper()
	js, _ := jetstream.New(nc)
	c, err := js.Consumer(t.Context(), topology.Tasks, topology.AgentDurable("echo"))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var all []jetstream.Msg
	for m := range batch.Messages() {
		all = append(all, m)
	}
	if len(all) != n {
		t.Fatalf("%d messages came of %d: %v", len(all), n, batch.Error())
	}
	return all
}

// waitFor takes messages until all of left have come; nothing else may.
func waitFor(t *testing.T, nc *nats.Conn, left map[string]bool) {
	t.Helper()
	js, _ := jetstream.New(nc)
	defer func() {
		if t.Failed() {
			t.Logf("%d never came", len(left))
		}
	}()
	natstest.Until(t, "every task that is left is delivered", func() bool {
		c, err := js.Consumer(t.Context(), topology.Tasks, topology.AgentDurable("echo"))
		if err != nil {
			return false
		}
		batch, err := c.Fetch(100, jetstream.FetchMaxWait(2*lease))
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			id := topology.SubjectID(m.Subject())
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if m.DoubleAck(ctx) == nil {
				delete(left, id)
			}
			cancel()
		}
		return len(left) == 0
	})
}

func openOn(t *testing.T, nc *nats.Conn, replicas int) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), nc, store.Options{Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestWithdrawLosesNoOtherTaskOverARestart(t *testing.T) {
	natstest.Long(t)
	for seed := range uint64(3) {
		dir := t.TempDir()
		srv := natstest.StartIn(t, dir)
		queueTest(t, func() *nats.Conn { return srv.Connect(t) }, 1, seed, func(nc *nats.Conn) *nats.Conn {
			nc.Close()
			srv.Stop()
			srv = natstest.StartIn(t, dir)
			return srv.Connect(t)
		})
		srv.Stop()
	}
}

func TestWithdrawLosesNoOtherTaskOverLeaderChanges(t *testing.T) {
	natstest.Long(t)
	c := natstest.StartCluster(t)
	queueTest(t, func() *nats.Conn { return c.Nodes[0].Connect(t) }, 3, 7, func(nc *nats.Conn) *nats.Conn {
		nc.Close()
		for node := range c.Nodes { // each hands its consumers over to another one
			c.Restart(t, node)
		}
		nc = c.Nodes[0].Connect(t)
		natstest.StepDown(t, nc, topology.Tasks)
		return nc
	})
}

// A message that is gone when it is to be dropped is dropped: here a schedule that
// another has replaced.
func TestAMessageThatIsGoneIsDropped(t *testing.T) {
	st := open(t, natstest.Start(t))
	tk := newTask()
	tk.Suspended, tk.Attempt = true, 1
	var schedules []uint64
	for n := range 2 {
		seq, err := st.Tasks.Rearm(t.Context(), tk, time.Now().Add(time.Duration(n+1)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		schedules = append(schedules, seq)
	}
	for _, seq := range append(schedules, schedules...) {
		if _, err := st.Tasks.Disarm(t.Context(), seq); err != nil {
			t.Errorf("message %d of %v: %v", seq, schedules, err)
		}
	}
	if n, err := st.Tasks.Queued(t.Context()); err != nil || n != 0 {
		t.Errorf("%d messages, %v", n, err)
	}
}

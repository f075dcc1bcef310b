//go:build unix

package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
	"agentmesh/shared/topology"
)

var traps = flag.Bool("traps", false, "the known traps, one by one")

// trap starts a small fleet, for a test of one trap.
func trap(t *testing.T, change func(*fleet.Options)) *fleet.Fleet {
	t.Helper()
	if !*traps {
		t.Skip("it needs real processes: run `make traps`")
	}
	opts := fleet.Default()
	opts.Workers, opts.Notifiers, opts.Lease = 2, 1, 5*time.Second
	if change != nil {
		change(&opts)
	}
	f := launch(t, opts)
	if len(f.Gateways) > 0 && len(f.Workers) > 0 {
		natstest.Until(t, "an agent is served", func() bool { return served(f.Gateways) })
	}
	return f
}

// loadOf is clients of a fleet, with a receiver that is told of every end.
func loadOf(t *testing.T, f *fleet.Fleet) *fleet.Load {
	t.Helper()
	load := &fleet.Load{Ledger: fleet.NewLedger()}
	for _, g := range f.Gateways {
		load.Gateways = append(load.Gateways, g.URL)
	}
	receiver := fleet.NewReceiver(load.Ledger, seeded(50))
	t.Cleanup(receiver.Close)
	load.Callback = receiver.URL + "/callback"
	receiver.Trust(subscribe(t, f.Gateways[0].URL, receiver.URL+"/webhook"))
	return load
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(1, n)) }

// everyday is what clients of a mesh ask for.
func everyday() map[string]fleet.Ask {
	return map[string]fleet.Ask{
		"accept":   {Path: "/tasks", Body: `{"agent":"echo","input":"x"}`},
		"session":  {Path: "/sessions", Body: `{"agent":"echo"}`},
		"list":     {Path: "/tasks?limit=20"},
		"created":  {Path: "/tasks?order=created&limit=20"},
		"sessions": {Path: "/sessions"},
		"read":     {Path: "/tasks/tsk_00000000000070008000000000000000"},
		"agents":   {Path: "/agents"},
	}
}

// TestAKilledLeaderCostsASlowAnswer kills the node that leads a stream, for each of
// those that a request needs. An election takes 4 to 9 s, and a request has five.
func TestAKilledLeaderCostsASlowAnswer(t *testing.T) {
	f := trap(t, nil)
	load := loadOf(t, f)
	for _, stream := range []string{topology.Tasks, topology.BucketStream(topology.TasksBucket), topology.BucketStream(topology.IdempotencyBucket)} {
		probe := &fleet.Probe{Load: load, Asks: everyday()}
		ctx, cancel := context.WithTimeout(t.Context(), 16*time.Second)
		leader, err := f.Leader(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, leader.Kill)
		probe.Run(ctx, seeded)
		cancel()
		t.Logf("after kill -9 of %s, leader of %s:\n%v", leader.Name, stream, probe)
		for what := range everyday() {
			if s := probe.Of(what); s.Longest > 5*time.Second {
				t.Errorf("%s was refused for %v: %v", what, s.Longest, s.Problems)
			}
		}
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		if err := leader.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Equal(t.Context(), streams()); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, load)
}

// TestDeletedConsumersCostNoError deletes every consumer there is, the mesh's and
// those of its readers, again and again under load: nothing is lost, nobody sees an
// error, and a reader of all events gets each of them once.
func TestDeletedConsumersCostNoError(t *testing.T) {
	f := trap(t, nil)
	js, done, err := f.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	load := loadOf(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	asks := everyday()
	for _, path := range []string{"/stats", "/deliveries", "/webhooks", "/schedules", "/audit", "/tasks?status=pending", "/tasks?status=failed"} {
		asks[path] = fleet.Ask{Path: path}
	}
	probe, readers := &fleet.Probe{Load: load, Asks: asks}, [2]fleet.Events{}
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() { readers[i].Follow(ctx, f.Gateways[i].URL) })
	}
	for i := range 4 {
		all.Go(func() { load.Tasks(ctx, fmt.Sprintf("client%d", i), seeded(uint64(i))) })
	}
	all.Go(func() { probe.Run(ctx, seeded) })
	deleted := 0
	for pause.For(ctx, 500*time.Millisecond) {
		deleted += fleet.DeleteConsumers(ctx, js, streams())
	}
	all.Wait()
	settle(t, load)
	t.Logf("%d consumers were deleted; %s\n%v", deleted, load.Ledger.Summary(), probe)
	for what := range asks {
		if s := probe.Of(what); len(s.Problems) > 0 {
			t.Errorf("%s: %v", what, s.Problems)
		}
	}
	for i := range readers {
		events, twice, cuts, first := readers[i].Report()
		t.Logf("a reader got %d events, %d more than once, its stream ended %d times", events, twice, cuts)
		if events == 0 || twice > 0 {
			t.Errorf("%d of %d events came more than once: %v", twice, events, first)
		}
	}
}

// settle waits for the end of everything that was accepted.
func settle(t *testing.T, load *fleet.Load) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	load.Settle(ctx, seeded(99))
	for _, fault := range load.Ledger.Faults() {
		t.Error(fault)
	}
}

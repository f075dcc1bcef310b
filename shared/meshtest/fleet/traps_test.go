//go:build unix

package fleet_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/natstest"
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

func loadOf(f *fleet.Fleet) *fleet.Load {
	load := &fleet.Load{Ledger: fleet.NewLedger()}
	for _, g := range f.Gateways {
		load.Gateways = append(load.Gateways, g.URL)
	}
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
	for _, stream := range []string{topology.Tasks, topology.BucketStream(topology.TasksBucket), topology.BucketStream(topology.IdempotencyBucket)} {
		probe := &fleet.Probe{Load: loadOf(f), Asks: everyday()}
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
}

//go:build unix

package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
	"agentmesh/shared/topology"
)

var (
	traps = flag.Bool("traps", false, "the known traps, one by one")
	long  = flag.Bool("long", false, "their long form")
)

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
		"accept":   {Path: "/tasks", Body: `{"agent":"echo","input":{"n":"KEY"}}`},
		"session":  {Path: "/sessions", Body: `{"agent":"echo"}`},
		"list":     {Path: "/tasks?limit=20"},
		"created":  {Path: "/tasks?order=created&limit=20"},
		"sessions": {Path: "/sessions"},
		"read":     {Path: "/tasks/tsk_00000000000070008000000000000000"},
		"agents":   {Path: "/agents"},
	}
}

// TestTrapAKilledLeaderCostsASlowAnswer kills the node that leads a stream, for each of
// those that a request needs. An election takes 4 to 9 s, and a request has ten. One
// in three may want a second election.
func TestTrapAKilledLeaderCostsASlowAnswer(t *testing.T) {
	f := trap(t, nil)
	load, refused := loadOf(t, f), map[string]bool{}
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
			if s := probe.Of(what); s.Answers[503] > 0 || s.Answers[500] > 0 || s.Longest > 5*time.Second {
				t.Logf("%s was refused for %v: %v", what, s.Longest, s.Problems)
				refused[stream] = true
			}
		}
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		if err := leader.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, f)
	}
	if len(refused) > 1 {
		t.Errorf("requests were refused after the kill of the leaders of %v", refused)
	}
	settle(t, load)
}

// TestTrapDeletedConsumersCostNoError deletes every consumer there is, the mesh's and
// those of its readers, again and again under load: nothing is lost, nobody sees an
// error, and a reader of all events gets each of them once.
func TestTrapDeletedConsumersCostNoError(t *testing.T) {
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

// again starts a member that was ended, and waits until it is well.
func again(t *testing.T, members ...*fleet.Member) {
	t.Helper()
	for _, m := range members {
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		if err := m.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// equal waits until the replicas of every stream are.
func equal(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Equal(ctx, streams()); err != nil {
		t.Error(err)
	}
}

// TestTrapWithoutAMajorityNothingIsHalfDone is scenario N2: with two of three nodes
// away a request is refused within a bound, and what was refused takes effect not
// at all or once.
func TestTrapWithoutAMajorityNothingIsHalfDone(t *testing.T) {
	f := trap(t, nil)
	load := loadOf(t, f)
	clients, stop := context.WithTimeout(t.Context(), 45*time.Second)
	defer stop()
	probe := &fleet.Probe{Load: load, Asks: everyday()}
	var all sync.WaitGroup
	all.Go(func() { load.Tasks(clients, "client", seeded(1)) })
	all.Go(func() { probe.Run(clients, seeded) })
	pause.For(t.Context(), 3*time.Second)
	for _, n := range f.Nodes[1:] {
		n.Kill()
	}
	pause.For(t.Context(), 20*time.Second)
	again(t, f.Nodes[1:]...)
	back := time.Now()
	all.Wait()
	t.Logf("two nodes were away for 20 s:\n%v", probe)
	for what := range everyday() {
		s := probe.Of(what)
		if s.Answers[503] == 0 || s.Answers[500] > 0 || s.Slowest > 25*time.Second {
			t.Errorf("%s: %v, slowest %v: %v", what, s.Answers, s.Slowest, s.Problems)
		}
		if s.Last.Before(back) || s.Longest > 40*time.Second {
			t.Errorf("%s was not answered again: %v", what, s.Longest)
		}
		if s.Refused > 13*time.Second {
			t.Errorf("%s was refused after %v only", what, s.Refused)
		}
	}
	settle(t, load)
	equal(t, f)
}

// TestTrapNATSAwayForAWhileLosesNothing takes every node away: the roles stay, and
// go on by themselves. The long form takes two minutes.
func TestTrapNATSAwayForAWhileLosesNothing(t *testing.T) {
	f := trap(t, nil)
	load := loadOf(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { load.Tasks(ctx, fmt.Sprintf("client%d", i), seeded(uint64(i))) })
	}
	pause.For(ctx, 3*time.Second)
	for _, n := range f.Nodes {
		n.Kill()
	}
	away := 20 * time.Second
	if *long {
		away = 2 * time.Minute
	}
	pause.For(ctx, away)
	again(t, f.Nodes...)
	began := time.Now()
	natstest.Until(t, "the gateways are well", func() bool { return served(f.Gateways) })
	t.Logf("the mesh goes on %v after NATS is back", time.Since(began).Round(100*time.Millisecond))
	pause.For(ctx, 3*time.Second)
	cancel()
	all.Wait()
	settle(t, load)
	for _, m := range f.Members() {
		if m.Ended() {
			t.Errorf("%s has ended", m.Name)
		}
	}
}

// TestTrapAWipedNodeCatchesUp is scenario N9.
func TestTrapAWipedNodeCatchesUp(t *testing.T) {
	f := trap(t, nil)
	load := loadOf(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { load.Tasks(ctx, fmt.Sprintf("client%d", i), seeded(uint64(i))) })
	}
	pause.For(ctx, 3*time.Second)
	node := f.Nodes[2]
	node.Kill()
	if err := os.RemoveAll(node.Store); err != nil {
		t.Fatal(err)
	}
	again(t, node)
	began := time.Now()
	all.Wait()
	settle(t, load)
	equal(t, f)
	t.Logf("the replicas are equal %v after the start of the wiped node", time.Since(began).Round(time.Second))
}

// TestTrapChangesOfLeaderStallNobody is scenario N10: streams and consumers change
// their leader all the time, and pulls go on. A pull that stalls after such a change
// (nats.go#2063) is noticed and made again: no task waits longer than a lease.
func TestTrapChangesOfLeaderStallNobody(t *testing.T) {
	f := trap(t, nil)
	load := loadOf(t, f)
	span := 30 * time.Second
	if *long {
		span = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() { load.Tasks(ctx, fmt.Sprintf("client%d", i), seeded(uint64(i))) })
	}
	slowest := time.Duration(0)
	all.Go(func() {
		for i := 0; pause.For(ctx, 100*time.Millisecond); i++ {
			if took, ok := load.Round(ctx, fmt.Sprintf("round-%d", i), seeded(9)); ok {
				slowest = max(slowest, took)
			}
		}
	})
	steps := 0
	for pause.For(ctx, time.Second) {
		name := streams()[steps%len(streams())]
		if steps%2 == 0 {
			name = topology.Tasks
		}
		f.StepDown(name, t.Logf)
		f.StepDownConsumers(name, t.Logf)
		steps++
	}
	all.Wait()
	t.Logf("%d changes of leader; %s; slowest task %v", steps, load.Ledger.Summary(), slowest.Round(time.Millisecond))
	if limit := 15 * time.Second; slowest > limit {
		t.Errorf("a task took %v, allowed are %v", slowest, limit)
	}
	settle(t, load)
	equal(t, f)
}

// TestTrapAKilledWorkersTaskGoesOnAfterOneLease: another worker claims it then.
func TestTrapAKilledWorkersTaskGoesOnAfterOneLease(t *testing.T) {
	const lease = 5 * time.Second
	f := trap(t, func(o *fleet.Options) { o.Workers = 1 })
	load := loadOf(t, f)
	id := load.Begin(t.Context(), "slow", `{"agent":"echo","max_attempts":3,"input":{"echo_delay":"2s","n":"slow"}}`, seeded(1))
	if id == "" {
		t.Fatal("it was not accepted")
	}
	natstest.Until(t, "the worker runs it", func() bool { return load.Status(t.Context(), id, seeded(2)) == "processing" })
	f.Workers[0].Kill()
	killed := time.Now()
	again(t, f.Workers[0])
	natstest.Until(t, "it has ended", func() bool { return load.Status(t.Context(), id, seeded(2)) == "completed" })
	took := time.Since(killed)
	t.Logf("it was completed %v after the kill, of which it ran 2 s", took.Round(100*time.Millisecond))
	if took < lease/2 || took > 2*lease+5*time.Second {
		t.Errorf("it went on after %v, the lease is %v", took, lease)
	}
	settle(t, load)
}

// TestTrapMoreWorkersWorkOffMore: 1, 2 and 3 workers on a backlog of tasks that take a
// second, sixteen at a time each. Only in the long form: it wants a quiet machine.
func TestTrapMoreWorkersWorkOffMore(t *testing.T) {
	if *traps && !*long {
		t.Skip("the long form: `make traps LONG=-long`")
	}
	f := trap(t, func(o *fleet.Options) { o.Workers = 3 })
	load := loadOf(t, f)
	const each = 80
	rate := func(workers int) float64 {
		began := time.Now()
		var all sync.WaitGroup
		for i := range each {
			all.Go(func() {
				rnd := seeded(uint64(i))
				key := fmt.Sprintf("scale-%d-%d", workers, i)
				id := load.Begin(t.Context(), key, fmt.Sprintf(`{"agent":"echo","input":{"echo_delay":"1s","n":%q}}`, key), rnd)
				natstest.Until(t, "it has ended", func() bool { return load.Status(t.Context(), id, rnd) == "completed" })
			})
		}
		all.Wait()
		return each / time.Since(began).Seconds()
	}
	for _, w := range f.Workers[1:] {
		if err := w.Terminate(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	one := rate(1)
	again(t, f.Workers[1])
	two := rate(2)
	again(t, f.Workers[2])
	three := rate(3)
	t.Logf("1, 2, 3 workers: %.1f, %.1f, %.1f tasks/s", one, two, three)
	if two < 1.5*one || three < 2*one {
		t.Errorf("2 workers are %.1f and 3 are %.1f times as fast as one", two/one, three/one)
	}
	settle(t, load)
}

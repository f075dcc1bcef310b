//go:build unix

package fleet_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
	"agentmesh/shared/topology"
)

var (
	chaosTime = flag.Duration("chaos-time", 0, "how long the fleet is harmed; 0: not at all")
	seed      = flag.Uint64("seed", 0, "seed of the faults; 0: another one each time")
	programs  = flag.String("programs", "", "folder with the programs mesh and nats-server; empty: they are built")
)

// start starts a fleet for chaos.
func start(t *testing.T, opts fleet.Options) *fleet.Fleet {
	t.Helper()
	if *chaosTime == 0 {
		t.Skip("it needs real processes and minutes: run `make chaos`")
	}
	return launch(t, opts)
}

// launch starts a fleet; its logs are kept when the test fails.
func launch(t *testing.T, opts fleet.Options) *fleet.Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "mesh-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the logs and the data are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	opts.Dir = dir
	if *programs != "" {
		opts.Mesh, opts.NATS = *programs+"/mesh", *programs+"/nats-server"
	} else if opts.Mesh, opts.NATS, err = fleet.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Kill)
	return f
}

func streams() (names []string) {
	for _, s := range topology.Streams(topology.Settings{Replicas: 3}) {
		names = append(names, s.Name)
	}
	return names
}

// TestAFleetUnderFaultsLosesAndDoublesNothing is scenario S2: clients, a receiver
// and a ledger outside, kills, freezes, restarts and changes of leader inside; at
// the end the ledger and the mesh agree.
func TestAFleetUnderFaultsLosesAndDoublesNothing(t *testing.T) {
	opts := fleet.Default()
	opts.Lease = 5 * time.Second
	f := start(t, opts)
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: go test ./shared/meshtest/fleet -chaos-time %v -seed %d repeats it", *seed, *chaosTime, *seed)
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(*seed, n)) }
	ledger := fleet.NewLedger()
	receiver := fleet.NewReceiver(ledger, random(1))
	defer receiver.Close()
	load := &fleet.Load{Ledger: ledger, Callback: receiver.URL + "/callback", History: history.New()}
	for _, g := range f.Gateways {
		load.Gateways = append(load.Gateways, g.URL)
	}
	natstest.Until(t, "an agent is served", func() bool { return served(f.Gateways) })
	receiver.Trust(subscribe(t, f.Gateways[0].URL, receiver.URL+"/webhook"))

	ctx, cancel := context.WithTimeout(t.Context(), *chaosTime)
	defer cancel()
	var clients sync.WaitGroup
	talks := make([]*fleet.Talk, 4)
	for i := range 6 {
		clients.Go(func() { load.Tasks(ctx, fmt.Sprintf("client%d", i), random(uint64(10+i))) })
	}
	for i := range talks {
		clients.Go(func() { talks[i] = load.Talk(ctx, fmt.Sprintf("talk%d", i), random(uint64(30+i))) })
	}
	began := time.Now()
	n, err := f.Faults(ctx, random(2), streams(), func(format string, args ...any) {
		t.Logf("%6.1fs "+format, append([]any{time.Since(began).Seconds()}, args...)...)
	})
	if err != nil {
		t.Errorf("after %d faults: %v", n, err)
	}
	clients.Wait()
	t.Logf("%d faults in %v", n, *chaosTime)
	reckon(t, f, load, talks, random)
}

// served reports whether every gateway knows an agent.
func served(gateways []*fleet.Member) bool {
	for _, g := range gateways {
		resp, err := http.Get(g.URL + "/agents/echo")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

// subscribe makes a webhook for every end, and returns its secret.
func subscribe(t *testing.T, gateway, url string) signature.Secret {
	t.Helper()
	body := fmt.Sprintf(`{"url":%q,"events":["task.completed","task.failed","task.canceled","action.completed","action.failed","action.canceled"]}`, url)
	var hook struct{ Secret string }
	natstest.Until(t, "a webhook is made", func() bool { // a young cluster may elect another leader: 503, and nothing else
		resp, err := http.Post(gateway+"/webhooks", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		if err := json.NewDecoder(resp.Body).Decode(&hook); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("webhook: %s, %v", resp.Status, err)
		}
		return true
	})
	return meshtest.SecretOf(t, hook.Secret)
}

// reckon waits until everything that was accepted has ended, compares what the
// clients and receivers were told with what the mesh says, and stops the fleet.
func reckon(t *testing.T, f *fleet.Fleet, load *fleet.Load, talks []*fleet.Talk, random func(uint64) *rand.Rand) {
	t.Helper()
	rest, cancel := context.WithTimeout(t.Context(), 3*time.Minute+*chaosTime/2) // it reads each task that was accepted
	defer cancel()
	load.Settle(rest, random(3))
	for _, talk := range talks {
		if err := talk.Check(rest, random(4)); err != nil {
			t.Error(err)
		}
	}
	if err := f.Equal(rest, streams()); err != nil {
		t.Error(err)
	}
	t.Log(load.Ledger.Summary())
	for _, fault := range load.Ledger.Faults() {
		t.Error(fault)
	}
	load.History.Check(t)
	if err := f.Stop(time.Minute); err != nil {
		t.Error(err)
	}
}

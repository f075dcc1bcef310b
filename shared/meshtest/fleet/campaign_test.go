//go:build unix

package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/natstest"
)

// campaign is a fleet under load: four clients, two conversations, and a receiver of all
// that is told.
type campaign struct {
	t        *testing.T
	dir      string
	fleet    *fleet.Fleet
	load     *fleet.Load
	receiver *fleet.Receiver
	talks    []*fleet.Talk
	clients  sync.WaitGroup
	stop     context.CancelFunc
}

// random numbers are the same in each run of a campaign.
func random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(1, n)) }

// binaries are the mesh and the NATS server: those that were built before, or built now.
func binaries(t *testing.T, dir string) (mesh, nats string) {
	t.Helper()
	if *programs != "" {
		return filepath.Join(*programs, "mesh"), filepath.Join(*programs, "nats-server")
	}
	mesh, nats, err := fleet.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return mesh, nats
}

// begin starts a fleet of a mesh, and its load, which goes on until ctx ends.
func begin(t *testing.T, dir, mesh, nats string) (ctx context.Context, c *campaign) {
	t.Helper()
	opts := fleet.Default()
	opts.Mesh, opts.NATS, opts.Lease, opts.Dir = mesh, nats, 5*time.Second, filepath.Join(dir, "fleet")
	f, err := fleet.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Kill)
	ledger := fleet.NewLedger()
	c = &campaign{t: t, dir: opts.Dir, fleet: f, receiver: fleet.NewReceiver(ledger, random(1)), talks: make([]*fleet.Talk, 2)}
	t.Cleanup(c.receiver.Close)
	c.load = &fleet.Load{Ledger: ledger, Callback: c.receiver.URL + "/callback", History: history.New(), Gateways: []string{f.Gateways[0].URL, f.Gateways[1].URL}}
	natstest.Until(t, "an agent is served", func() bool { return served(f.Gateways) })
	c.receiver.Trust(subscribe(t, f.Gateways[0].URL, c.receiver.URL+"/webhook"))
	ctx, c.stop = context.WithCancel(t.Context())
	t.Cleanup(c.stop)
	for i := range 4 {
		c.clients.Go(func() { c.load.Tasks(ctx, fmt.Sprint("client", i), random(uint64(10+i))) })
	}
	for i := range c.talks {
		c.clients.Go(func() { c.talks[i] = c.load.Talk(ctx, fmt.Sprint("talk", i), random(uint64(30+i))) })
	}
	return ctx, c
}

// end stops the load, and compares what the mesh says with the ledger.
func (c *campaign) end() {
	c.t.Helper()
	c.stop()
	c.clients.Wait()
	reckon(c.t, c.fleet, c.load, c.talks, random)
	if c.t.Failed() {
		keep(c.t, c.dir)
	}
}

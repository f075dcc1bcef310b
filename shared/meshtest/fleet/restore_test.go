//go:build unix

package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
)

var restored = flag.Bool("restored", false, "have a fleet lose all its disks, and restore it from a backup")

// Every role of a fleet under load is cut off, a backup is taken of its three servers, and
// all of their disks are lost. Put back onto three empty servers, nothing that was accepted
// is lost or doubled: each task ends once with its own result, each end is told.
func TestThreeServersAreRestoredFromABackup(t *testing.T) {
	if !*restored {
		t.Skip("it needs real processes and a minute: run `make restore-cluster`")
	}
	dir := t.TempDir()
	mesh, nats := filepath.Join(*programs, "mesh"), filepath.Join(*programs, "nats-server")
	var err error
	if *programs == "" {
		if mesh, nats, err = fleet.Build(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	opts := fleet.Default()
	opts.Mesh, opts.NATS, opts.Lease, opts.Dir = mesh, nats, 5*time.Second, filepath.Join(dir, "fleet")
	f, err := fleet.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Kill()
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(1, n)) }
	ledger := fleet.NewLedger()
	receiver := fleet.NewReceiver(ledger, random(1))
	defer receiver.Close()
	load := &fleet.Load{Ledger: ledger, Callback: receiver.URL + "/callback", History: history.New(), Gateways: []string{f.Gateways[0].URL, f.Gateways[1].URL}}
	natstest.Until(t, "an agent is served", func() bool { return served(f.Gateways) })
	receiver.Trust(subscribe(t, f.Gateways[0].URL, receiver.URL+"/webhook"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	talks := make([]*fleet.Talk, 2)
	for i := range 4 {
		clients.Go(func() { load.Tasks(ctx, fmt.Sprint("client", i), random(uint64(10+i))) })
	}
	for i := range talks {
		clients.Go(func() { talks[i] = load.Talk(ctx, fmt.Sprint("talk", i), random(uint64(30+i))) })
	}
	pause.For(ctx, 10*time.Second)
	roles := append(append(f.Gateways[:len(f.Gateways):len(f.Gateways)], f.Workers...), f.Notifiers...)
	for _, m := range roles {
		m.Kill()
	}
	backup := filepath.Join(dir, "backup")
	command(t, mesh, f, "backup", backup)
	for _, n := range f.Nodes {
		n.Kill()
		if err := os.RemoveAll(n.Store); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	revive(t, f.Nodes)
	command(t, mesh, f, "restore", backup)
	t.Logf("three empty servers had the backup after %v", time.Since(began).Round(10*time.Millisecond))
	revive(t, roles)
	pause.For(ctx, 5*time.Second) // clients go on
	stop()
	clients.Wait()
	reckon(t, f, load, talks, random)
	if t.Failed() {
		keep(t, filepath.Join(dir, "fleet"))
	}
}

// revive starts members, and waits until they are ready.
func revive(t *testing.T, members []*fleet.Member) {
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

// command runs a command of mesh against the servers of a fleet.
func command(t *testing.T, mesh string, f *fleet.Fleet, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), mesh, args...)
	cmd.Env = append(os.Environ(), "NATS_URL="+f.NATSURL())
	out, err := cmd.CombinedOutput()
	t.Logf("mesh %s\n%s", args[0], out)
	if err != nil {
		t.Fatalf("mesh %v: %v", args, err)
	}
}

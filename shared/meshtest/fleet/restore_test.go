//go:build unix

package fleet_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
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
	mesh, nats := binaries(t, dir)
	ctx, c := begin(t, dir, mesh, nats)
	f := c.fleet
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
	c.end()
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

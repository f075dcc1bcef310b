package fleet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
)

// disks mounts n small disks.
func disks(t *testing.T, n int) (folders []string) {
	t.Helper()
	if !*traps {
		t.Skip("it needs real processes: run `make traps`")
	}
	for range n {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
			t.Skipf("no disk of its own to fill (this needs root): %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		folders = append(folders, dir)
	}
	return folders
}

// fill takes all the room of a disk; free gives it back.
func fill(t *testing.T, disk string) (free func()) {
	t.Helper()
	name := filepath.Join(disk, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// TestTrapAFullDiskOfOneNodeIsSurvived: the others go on. When there is room again
// the node wants to be started again, as the runbook says.
func TestTrapAFullDiskOfOneNodeIsSurvived(t *testing.T) {
	disk := disks(t, 1)
	f := trap(t, func(o *fleet.Options) { o.Disks = disk })
	load := loadOf(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	probe := &fleet.Probe{Load: load, Asks: everyday()}
	var all sync.WaitGroup
	all.Go(func() { load.Tasks(ctx, "client", seeded(1)) })
	all.Go(func() { probe.Run(ctx, seeded) })
	pause.For(ctx, 3*time.Second)
	free := fill(t, disk[0])
	pause.For(ctx, 20*time.Second)
	free()
	pause.For(ctx, 5*time.Second)
	t.Logf("with room again the node says of itself: %v", f.Nodes[0].Health(ctx))
	if err := f.Nodes[0].Terminate(30 * time.Second); err != nil {
		t.Error(err)
	}
	again(t, f.Nodes[0])
	all.Wait()
	t.Logf("one disk was full for 20 s:\n%v", probe)
	for what := range everyday() {
		if s := probe.Of(what); s.Longest > 20*time.Second || s.Answers[500] > 0 {
			t.Errorf("%s was refused for %v: %v", what, s.Longest, s.Problems)
		}
	}
	settle(t, load)
	equal(t, f)
}

// TestTrapFullDisksOfAllNodesAreSurvived is scenario N7: writes are refused, roles end
// in time when they are asked to, and with room again and nodes started again the
// mesh goes on.
func TestTrapFullDisksOfAllNodesAreSurvived(t *testing.T) {
	all := disks(t, 3)
	f := trap(t, func(o *fleet.Options) { o.Disks = all })
	load := loadOf(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	probe := &fleet.Probe{Load: load, Asks: map[string]fleet.Ask{"accept": everyday()["accept"]}}
	var clients sync.WaitGroup
	asking, stop := context.WithCancel(ctx)
	clients.Go(func() { load.Tasks(asking, "client", seeded(1)) })
	clients.Go(func() { probe.Run(asking, seeded) })
	pause.For(ctx, 3*time.Second)
	var free []func()
	for _, d := range all {
		free = append(free, fill(t, d))
	}
	natstest.Until(t, "tasks are refused", func() bool { return probe.Of("accept").Answers[503] > 0 })
	pause.For(ctx, 5*time.Second)
	began := time.Now()
	if err := f.Workers[0].Terminate(35 * time.Second); err != nil {
		t.Error(err)
	}
	if err := f.Gateways[0].Terminate(35 * time.Second); err != nil {
		t.Error(err)
	}
	t.Logf("a worker and a gateway ended in %v", time.Since(began).Round(100*time.Millisecond))
	for _, f := range free {
		f()
	}
	pause.For(ctx, 5*time.Second)
	for _, n := range f.Nodes {
		t.Logf("with room again %s says of itself: %v", n.Name, n.Health(ctx))
		if err := n.Terminate(30 * time.Second); err != nil {
			t.Error(err)
		}
		if err := n.Start(); err != nil { // it is well when the others are
			t.Fatal(err)
		}
	}
	for _, n := range f.Nodes {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	back := time.Now()
	again(t, f.Workers[0], f.Gateways[0])
	natstest.Until(t, "tasks are taken again", func() bool { return probe.Of("accept").Last.After(back) })
	t.Logf("it goes on %v after the last start", time.Since(back).Round(100*time.Millisecond))
	pause.For(ctx, 2*time.Second)
	stop()
	clients.Wait()
	t.Log(fmt.Sprint(probe))
	if s := probe.Of("accept"); s.Answers[500] > 0 || s.Refused > 13*time.Second {
		t.Errorf("%v, refused after %v: %v", s.Answers, s.Refused, s.Problems)
	}
	settle(t, load)
	equal(t, f)
}

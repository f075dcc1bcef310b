package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// A write error freezes a stream of the server for good (N7). The mesh starts the
// server again by itself, and takes tasks as soon as the disk does; the tasks
// that it had accepted are there.
func TestTheMeshGoesOnAfterAWriteError(t *testing.T) {
	p := startUp(t, t.TempDir(), "--sync", "2m")
	status, kept := p.Ask(t, 10*time.Second, "POST", "/tasks", `{"agent":"echo","delay":"1h","input":1}`)
	if status != 202 {
		t.Fatalf("POST /tasks = %d %s", status, kept)
	}
	large := fmt.Sprintf(`{"agent":"echo","delay":"1h","input":%q}`, strings.Repeat("x", 200_000))
	p.LimitFiles(t, 100_000)
	if status, body := p.Ask(t, 300*time.Millisecond, "POST", "/tasks", large); status == 202 {
		t.Fatalf("accepted what cannot be written: %s", body)
	}
	natstest.Until(t, "the server was started again", func() bool {
		return strings.Contains(p.Output.String(), "the store takes no writes") && strings.Contains(p.Output.String(), "started again after a write error")
	})
	p.LimitFiles(t, ^uint64(0))
	natstest.Until(t, "it takes tasks again", func() bool {
		status, _ := p.Ask(t, 2*time.Second, "POST", "/tasks", large)
		return status == 202
	})
	id := kept[strings.Index(kept, "tsk_"):][:len("tsk_")+32]
	if status, body := p.Ask(t, 10*time.Second, "GET", "/tasks/"+id, ""); status != 200 {
		t.Errorf("what was accepted before: %d %s", status, body)
	}
}

// The drain bounds the end, also when nothing can be written any more, and says
// what it waits for.
func TestTheMeshEndsWithinTheDrainWhenNothingIsWritten(t *testing.T) {
	t.Parallel() // it waits for processes
	p := startUp(t, t.TempDir(), "--sync", "2m", "--drain", "1s", "--log-level", "info")
	if status, body := p.Ask(t, 10*time.Second, "POST", "/tasks", `{"agent":"echo","input":{"echo_delay":"60s"}}`); status != 202 {
		t.Fatalf("POST /tasks = %d %s", status, body)
	}
	natstest.Until(t, "it runs", func() bool {
		_, body := p.Ask(t, 2*time.Second, "GET", "/tasks?status=processing", "")
		return strings.Contains(body, "tsk_")
	})
	p.LimitFiles(t, 0)
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end\n%s", p.Output)
	}
	if took := time.Since(began); took > 15*time.Second { // 4 s, on a machine that is not busy
		t.Errorf("it took %v", took)
	}
	for _, want := range []string{"stopping: open requests and running attempts may finish; a second Ctrl-C", `attempts=1`} {
		if !strings.Contains(strings.ReplaceAll(p.Output.String(), `"attempts":1`, "attempts=1"), want) {
			t.Errorf("it does not say %q\n%s", want, p.Output)
		}
	}
}

// The same on a disk that is really full: nothing is accepted, /readyz says why,
// and when somebody makes room the mesh goes on by itself.
func TestAFullDiskIsSaidAndTheMeshGoesOnWhenThereIsRoom(t *testing.T) {
	if !*meshtest.Chaos {
		t.Skip("the long form, with a disk of its own: make crash")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no disk of its own to fill (this needs root): %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	p := startUp(t, filepath.Join(disk, "data"))
	t.Cleanup(p.Kill)
	task := `{"agent":"echo","input":"` + strings.Repeat("x", 20_000) + `"}`
	accepted := func() bool {
		status, _ := p.Ask(t, 10*time.Second, "POST", "/tasks", task)
		return status == 202
	}
	for range 3 {
		if !accepted() {
			t.Fatal("it takes no task")
		}
		ballast := filepath.Join(disk, "ballast")
		if err := fill(ballast); err != nil {
			t.Fatal(err)
		}
		for accepted() { // until the block that it writes to is full
		}
		if status, _ := p.Ask(t, 10*time.Second, "GET", "/healthz", ""); status != 200 {
			t.Errorf("/healthz = %d", status)
		}
		if status, body := p.Ask(t, 10*time.Second, "GET", "/readyz", ""); status != 503 || !strings.Contains(body, "no space left on device") {
			t.Errorf("/readyz = %d %s", status, body)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		natstest.Until(t, "it takes tasks again", accepted)
	}
}

// fill writes a file until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	return nil
}

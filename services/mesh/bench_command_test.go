package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// bench runs `mesh bench` and returns what a shell would see.
func bench(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, append([]string{"bench"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// A mesh of its own is measured beside the floor, every figure with its durability
// and its machine, and nothing of it is left.
func TestBenchMeasuresAMeshOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := bench(t.Context(), "--tasks", "60", "--clients", "4", "--payload", "100", "--workers", "2", "--gateways", "2", "--sync", "2m", "--data", dir, "-o", "json")
	if code != 0 || errs != "" {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	var r benchReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]int{"accept": r.Mesh.Accept.Tasks, "whole path": r.Mesh.WholePath.Tasks, "backlog": r.Mesh.Backlog.Completed, "floor accept": r.Floor.Accept.Tasks, "floor whole path": r.Floor.WholePath.Tasks} {
		if f != 60 {
			t.Errorf("%s: %d tasks, want 60", name, f)
		}
	}
	for _, f := range []float64{r.Mesh.Accept.P999 - r.Mesh.Accept.P50, r.Mesh.WholePath.Max - r.Mesh.WholePath.P99} {
		if f < 0 {
			t.Errorf("the percentiles fall: %s", out)
		}
	}
	if r.Setup.Durability != "sync 2m" || r.Machine.CPUs < 1 || r.Setup.NATS == "" || r.Ratio == nil || r.Ratio.WholePath <= 0 || r.Mesh.WholePath.CPU <= 0 {
		t.Errorf("not told what was measured: %s", out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A mesh that runs is measured through its gateway, and says what it is.
func TestBenchMeasuresAMeshThatRuns(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	srv, _ := m.Serve()
	code, out, errs := bench(t.Context(), "--url", srv.URL, "--tasks", "40", "--clients", "4")
	for _, want := range []string{srv.URL, "40 tasks of 200 bytes for echo", "backlog", "whole path", "p99.9", "it needs the NATS server itself", "stay in that mesh"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, _, errs = bench(t.Context(), "--url", srv.URL, "--agent", "nobody")
	if code != 1 || !strings.Contains(errs, `no agent "nobody"`) || !strings.Contains(errs, "--agent") {
		t.Errorf("a missing agent: %d %s", code, errs)
	}
}

// An interruption ends it soon, with the figures so far, and leaves nothing.
func TestAnInterruptedBenchTellsItsFigures(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	code, out, errs := bench(ctx, "--tasks", "1000000", "--no-floor", "--sync", "2m", "--data", dir)
	if code != 130 || errs != "" || !strings.Contains(out, "interrupted: these are the figures so far") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// What would measure nothing, or fill a disk, is refused before anything is started.
func TestBenchRefusesWhatMeansNothing(t *testing.T) {
	for args, want := range map[string]string{
		"--tasks 0": "1 to 1000000", "--tasks 1000001": "1 to 1000000", "--clients 1001": "1 to 1000", "--payload -1": "0 to 1048576",
		"--workers 0": "1 to 16", "--gateways 17": "1 to 16", "--tasks 1000000 --payload 1048576": "4 GiB",
		"--key x": "--url", "--agent other": "--url", "--url http://127.0.0.1:1 --workers 2": "--workers", "--url nonsense": "http://", "--output xml": "text and json", "--sync never": "always",
		"more": "takes no arguments",
	} {
		if code, out, errs := bench(t.Context(), strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("mesh bench %s: %d %q %q, want %q", args, code, out, errs, want)
		}
	}
	if code, _, errs := bench(t.Context(), "--url", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "no gateway at") {
		t.Errorf("nobody there: %d %s", code, errs)
	}
}

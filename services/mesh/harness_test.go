package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/proc"
)

// TestMain lets the test binary be the mesh: real processes to kill need no
// build of their own.
func TestMain(m *testing.M) {
	if os.Getenv("MESH_TEST_MAIN") == "1" {
		signal.Ignore(syscall.SIGXFSZ) // a write over the limit of limitFiles is an error, as on a full disk
		ctx, stop := proc.Context(context.Background())
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	if role := os.Getenv("MESH_TEST_WORKER"); role != "" {
		os.Exit(testWorker(role))
	}
	if os.Getenv("MESH_TEST_SERVE") == "1" {
		os.Exit(testServe())
	}
	flag.Parse()
	if *tableRounds > 0 || *flatTime > 0 || *burstTasks > 0 {
		natstest.OnDisk()
	}
	meshtest.Main(m)
}

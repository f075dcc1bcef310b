package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natsconn"
)

// The embedded listener asks for a token, which lies beside the data, readable by
// its owner only, stays what it is, and is said nowhere.
func TestTheEmbeddedListenerAsksForItsToken(t *testing.T) {
	dir := t.TempDir()
	var before string
	for range 2 {
		p := startUp(t, dir)
		name := filepath.Join(dir, natsconn.TokenFile)
		stat, err := os.Stat(name)
		if err != nil || stat.Mode().Perm() != 0o600 {
			t.Fatalf("token file: %v, %v", stat, err)
		}
		token, err := natsconn.ReadToken(dir)
		if err != nil || len(token) < 26 || before != "" && string(token) != before {
			t.Fatalf("a token of %d signs, the same as before: %v, %v", len(token), string(token) == before, err)
		}
		before = string(token)
		if !strings.Contains(p.Output.String(), name) || strings.Contains(p.Output.String(), before) {
			t.Errorf("the output must have the path and not the token: %s", p.Output)
		}
		for try, want := range map[string]error{"": nats.ErrAuthorization, "wrong": nats.ErrAuthorization, before: nil} {
			nc, err := nats.Connect(p.NATS, nats.Token(try))
			if !errors.Is(err, want) {
				t.Errorf("token %q: %v, want %v", try, err, want)
			}
			if err == nil {
				nc.Close()
			}
		}
		p.Kill()
	}
}

// The operator may give the token, or want none; then no file is made.
func TestTheTokenOfTheListenerCanBeGivenOrLeftOut(t *testing.T) {
	for given, want := range map[string]error{"given": nats.ErrAuthorization, noToken: nil} {
		dir := t.TempDir()
		p := startUp(t, dir, "--nats-token", given)
		nc, err := nats.Connect(p.NATS)
		if !errors.Is(err, want) {
			t.Errorf("--nats-token %s: without one %v, want %v", given, err, want)
		}
		if err == nil {
			nc.Close()
		}
		if nc, err = nats.Connect(p.NATS, nats.Token(given)); err != nil {
			t.Errorf("--nats-token %s: with it %v", given, err)
		} else {
			nc.Close()
		}
		if _, err := natsconn.ReadToken(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("--nats-token %s: a file was made: %v", given, err)
		}
		p.Kill()
	}
}

// A role beside a mesh finds its token by the data folder, and says what to do
// where it does not.
func TestARoleBesideAMeshFindsItsToken(t *testing.T) {
	p := startUp(t, t.TempDir())
	spawnWorker(t, p, "slow").Kill()
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + p.NATS, "MESH_DATA=" + t.TempDir()}
	w, output := meshtest.Spawn(t, env, "worker", "--admin", "off", "--replicas", "1")
	w.Drain(output)
	if code := w.Cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(w.Output.String(), "NATS_TOKEN") || !strings.Contains(w.Output.String(), "--data") {
		t.Errorf("exit %d: %s", code, w.Output)
	}
}

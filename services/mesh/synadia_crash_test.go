package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/natsconn"
	"agentmesh/shared/natstest"
	protocol "agentmesh/shared/synadia"
)

// A gateway is killed while it streams the answer to a prompt: the caller hears no end,
// the task goes on, and its handle finds it at another gateway, with all its output.
func TestAPromptSurvivesTheKillOfItsGateway(t *testing.T) {
	t.Parallel() // it waits for starts
	up := startUp(t, filepath.Join(t.TempDir(), "data"))
	w := spawnWorker(t, up, "streams")
	defer w.Kill()
	g := startGateway(t, up, "--synadia", "on")
	conn := natsconn.Default("caller")
	conn.URL, conn.Data = up.NATS, up.Data
	nc, err := natsconn.Connect(t.Context(), conn, "test-caller", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	caller := protocol.New(nc, "")
	found := func() bool {
		all, err := caller.Discover(t.Context(), 200*time.Millisecond)
		return err == nil && slices.ContainsFunc(all, func(i protocol.Info) bool { return i.Name == "streams" })
	}
	natstest.Until(t, "the agent is found", found)
	subject := protocol.PromptSubject("agentmesh", "default", "streams")
	id, heard := "", ""
	ctx, cut := context.WithCancelCause(t.Context())
	killed := errors.New("the gateway was killed")
	err = caller.Ask(ctx, subject, &protocol.Request{Prompt: "x"}, time.Minute, nil, func(c protocol.Chunk) error {
		if rest, ok := strings.CutPrefix(c.Text, "task:"); ok && c.Type == "status" {
			id = rest
		}
		if c.Type == "response" && id != "" {
			g.Kill()
			cut(killed)
		}
		return nil
	})
	if !errors.Is(err, killed) || id == "" {
		t.Fatalf("the answer ended by itself: %v, task %q", err, id)
	}
	startGateway(t, up, "--synadia", "on")
	// Until the server has noticed that the killed one is gone, it may hand it a prompt.
	natstest.Until(t, "the other gateway knows the task", func() bool {
		heard = ""
		err := caller.Ask(t.Context(), subject, &protocol.Request{Prompt: "/task " + id}, 30*time.Second, nil, func(c protocol.Chunk) error {
			if c.Type == "response" {
				heard += c.Text
			}
			return nil
		})
		return err == nil
	})
	if heard != "begun ended 1" {
		t.Errorf("it goes on with %q", heard)
	}
}

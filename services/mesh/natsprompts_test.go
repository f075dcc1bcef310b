package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/synadia"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/topology"
)

// prompts has a caller find an agent, hear that it lives, prompt it and answer what it
// asks, on the connection of a user.
func (g *guarded) prompts(m *meshtest.Mesh, user string) {
	g.t.Helper()
	c := core.New(m.Store, core.Options{Log: meshtest.Quiet()})
	defer c.Close()
	b, err := synadia.New(synadia.Entry{Conn: protocol.New(g.as(user), ""), Tenant: "default", Beat: time.Second}, synadia.Options{Mesh: c, Log: meshtest.Quiet(), Hold: time.Minute, Drain: time.Second})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			g.t.Error(err)
		}
	}()
	caller := protocol.New(g.as(topology.CallerUser), "")
	defer caller.Close()
	beats := make(chan protocol.Beat, 64)
	hear, err := caller.Beats(func(b protocol.Beat) {
		select {
		case beats <- b:
		default:
		}
	})
	if err != nil {
		g.t.Fatal(err)
	}
	defer hear()
	var found []protocol.Info
	natstest.Until(g.t, "alpha is found", func() bool {
		found, err = caller.Discover(g.t.Context(), 200*time.Millisecond)
		return err == nil && slices.ContainsFunc(found, func(i protocol.Info) bool { return i.Name == "alpha" })
	})
	<-beats
	for _, i := range found {
		for _, c := range caller.Probe(g.t.Context(), i, 0) {
			if !c.OK && !c.Left {
				g.t.Errorf("%s: %s %s", i.Name, c.At, c.Says)
			}
		}
	}
	said := ""
	err = caller.Ask(g.t.Context(), protocol.PromptSubject("agentmesh", "default", "alpha"), &protocol.Request{Prompt: "ask"}, time.Minute, nil, func(ch protocol.Chunk) error {
		if ch.Query != nil {
			return ch.Query.Answer(&protocol.Request{Prompt: "yes"})
		}
		if ch.Type == "response" {
			said += ch.Text
		}
		return nil
	})
	if err != nil || !strings.HasSuffix(said, "true") {
		g.t.Errorf("%q, %v", task40(said), err)
	}
}

func task40(s string) string { return s[max(0, len(s)-40):] }

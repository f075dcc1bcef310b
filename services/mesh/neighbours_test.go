package main

import (
	"context"
	"errors"
	"net"
	"testing"

	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/webhook"
)

// Processes of one mesh on one machine send no callback to where another one
// listens, and may again when that has ended.
func TestNeighboursAreDenied(t *testing.T) {
	m := meshtest.New(t)
	start := func() (*ports, *egress.Guard, func()) {
		at, g := &ports{}, egress.New(egress.Policy{Allow: egress.Loopback()}, nil)
		at.bind("http", "127.0.0.1:0")
		t.Cleanup(at.close)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		part := neighbours(m.Store, at, g, meshtest.Quiet())
		go func() { done <- part.Run(ctx) }()
		return at, g, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	first, _, stopFirst := start()
	natstest.Until(t, "the first says where it listens", func() bool {
		all, err := m.Store.Registry.Listeners(t.Context())
		return err == nil && len(all) == 1
	})
	_, g, stopSecond := start()
	defer stopSecond()
	url := "http://localhost:" + portOf(first.open[0]) + "/sessions"
	natstest.Until(t, "the second refuses it", func() bool {
		_, err := g.CheckURL(url)
		return errors.Is(err, webhook.ErrBlocked)
	})
	if conn, err := g.DialContext(t.Context(), "tcp", first.open[0].Addr().String()); !errors.Is(err, webhook.ErrBlocked) {
		t.Errorf("dialed %v, %v", conn, err)
	}
	stopFirst()
	_, fresh, stopThird := start()
	defer stopThird()
	natstest.Until(t, "the first is forgotten", func() bool {
		all, err := m.Store.Registry.Listeners(t.Context())
		return err == nil && len(all) == 2
	})
	if _, err := fresh.CheckURL(url); err != nil {
		t.Errorf("after it has ended: %v", err)
	}
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
)

// TestSessionsSurviveKills kills the worker in the middle of turns, the mesh
// while clients wait, and both at once, again and again: every message is in its
// transcript once, and the state, which counts the turns, has missed and doubled
// none.
func TestSessionsSurviveKills(t *testing.T) {
	t.Parallel() // it waits for processes
	kills := 6
	if *meshtest.Chaos {
		kills = 60
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "data")
	up := startUp(t, dir)
	w := spawnWorker(t, up, "counter")
	talks := make([]*conversation, 8)
	for i := range talks {
		talks[i] = &conversation{}
		natstest.Until(t, "a session begins", func() bool { return talks[i].begin(up.Gateway) })
	}
	for n := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for i, c := range talks {
			load.Go(func() { c.load(ctx, up.Gateway, fmt.Sprintf("%d-%d", n, i)) })
		}
		<-time.After(time.Duration(100+rnd.IntN(300)) * time.Millisecond)
		which := n % 3
		if which != 1 { // the worker, or all
			w.Kill()
		}
		if which != 0 { // the mesh, or all
			up.Kill()
			if which == 1 {
				w.Kill() // its server has another address now
			}
		}
		cancel()
		load.Wait()
		if which != 0 {
			up = startUp(t, dir)
		}
		w = spawnWorker(t, up, "counter")
	}
	said := 0
	for i, c := range talks {
		if err := c.settle(t.Context(), up.Gateway); err != nil {
			t.Fatalf("conversation %d: %v", i, err)
		}
		got := c.read(t, up.Gateway)
		for n := 0; n+1 < len(got); n += 2 {
			if want := fmt.Sprintf("%d %s", n/2+1, got[n].Text); got[n+1].Text != want || !c.keys[got[n].Text] {
				t.Errorf("conversation %d, turn %d: %q, reply %q, sent: %v", i, n/2+1, got[n].Text, got[n+1].Text, c.keys[got[n].Text])
			}
			delete(c.keys, got[n].Text) // twice is a fault
		}
		if len(c.keys) > 0 || len(got)%2 != 0 {
			t.Errorf("conversation %d: %d messages, not there: %v", i, len(got), c.keys)
		}
		said += len(got) / 2
	}
	t.Logf("%d kills, %d turns", kills, said)
	if said < kills {
		t.Errorf("only %d turns: no load", said)
	}
}

// conversation is what the client knows of a session, outside the mesh: the keys
// of the messages it has sent, whose texts they are.
type conversation struct {
	id   string
	keys map[string]bool
}

func (c *conversation) begin(gateway string) bool {
	resp, err := http.Post(gateway+"/sessions", "application/json", strings.NewReader(`{"agent":"counter"}`))
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var made meshtest.SessionView
	if json.NewDecoder(resp.Body).Decode(&made) != nil || resp.StatusCode != http.StatusCreated {
		return false
	}
	c.id, c.keys = made.SessionID, map[string]bool{}
	return true
}

// send says one thing until it is known to have been said.
func (c *conversation) send(ctx context.Context, gateway, key string) (status int, err error) {
	body := fmt.Appendf(nil, `{"text":%q,"on_busy":"wait"}`, key)
	req, err := http.NewRequestWithContext(ctx, "POST", gateway+"/sessions/"+c.id+"/messages", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var got meshtest.TurnView
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusOK && got.Status != "completed" {
		return 0, fmt.Errorf("turn %s is %s: %+v", got.TurnID, got.Status, got.Error)
	}
	return resp.StatusCode, nil
}

// load talks until the mesh is killed, or its worker.
func (c *conversation) load(ctx context.Context, gateway, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%s-%d", name, i)
		c.keys[key] = true
		if status, err := c.send(ctx, gateway, key); err != nil || status != http.StatusOK {
			return
		}
	}
}

// settle repeats what got no answer: all of it, since a repeat is harmless.
func (c *conversation) settle(ctx context.Context, gateway string) error {
	for key := range c.keys {
		for tries := 0; ; tries++ {
			status, err := c.send(ctx, gateway, key)
			if status == http.StatusOK {
				break
			}
			if tries == 50 {
				return fmt.Errorf("message %s: status %d, %w", key, status, err)
			}
			<-time.After(100 * time.Millisecond)
		}
	}
	return nil
}

func (c *conversation) read(t *testing.T, gateway string) []session.Message {
	t.Helper()
	resp, err := http.Get(gateway + "/sessions/" + c.id + "/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return meshtest.Decode[meshtest.TranscriptView](t, resp.Body).Messages[1:] // without the greeting
}

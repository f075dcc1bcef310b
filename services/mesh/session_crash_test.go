package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// doom is a connection that a kill -9 cuts: before one of its writes to the store
// it dies, and nothing of its owner reaches the server any more.
type doom struct {
	srv nats.InProcessConnProvider

	mu   sync.Mutex
	left int // writes that still pass
	dead bool
}

// storing are the messages that change what the mesh keeps.
var storing = regexp.MustCompile(`(?m)^H?PUB (\$KV\.(sessions|tasks|idempotency)|\$O|mesh\.turns|mesh\.control|\$JS\.ACK|\$JS\.API\.STREAM\.MSG\.DELETE)\.`)

// InProcessConn implements nats.InProcessConnProvider.
func (d *doom) InProcessConn() (net.Conn, error) {
	if d.died() {
		return nil, errors.New("dead")
	}
	c, err := d.srv.InProcessConn()
	return &doomedConn{c, d}, err
}

func (d *doom) died() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// from has the connection die before the write after n more.
func (d *doom) from(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

type doomedConn struct {
	net.Conn
	doom *doom
}

func (c *doomedConn) Write(b []byte) (int, error) {
	c.doom.mu.Lock()
	c.doom.left -= len(storing.FindAll(b, -1))
	dead := c.doom.dead || c.doom.left < 0
	c.doom.dead = dead
	c.doom.mu.Unlock()
	if dead {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// doomed is a store whose owner dies.
func doomed(m *meshtest.Mesh) (*doom, *store.Store, *nats.Conn) {
	m.T.Helper()
	d := &doom{srv: m.Server.Server, left: 1 << 30}
	st, nc := m.OpenStore(nats.InProcessServer(d), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	return d, st, nc
}

// A gateway or a worker dies before any of the writes with which it accepts,
// cancels, deletes, commits, or opens the next turn: nothing is lost, doubled or
// out of order, and what waits goes on as soon as somebody looks.
func TestSessionQueueSurvivesACrashBeforeAnyWrite(t *testing.T) {
	natstest.LongUnderRace(t)
	long := strings.Repeat("C", 1000)
	post := func(h http.Handler, id, text, onBusy string) int {
		return meshtest.Call(h, "POST", "/sessions/"+id+"/messages", fmt.Sprintf(`{"text":%q,"on_busy":%q}`, text, onBusy), "Prefer", "respond-async", "Idempotency-Key", "k-"+id).Code
	}
	cancel := func(h http.Handler, id, turn string) int {
		return meshtest.Call(h, "POST", "/sessions/"+id+"/turns/"+turn+"/cancel", "").Code
	}
	for _, tt := range []struct {
		name string
		act  func(h http.Handler, id, a, b string) int // also the repeat, by a healthy gateway
		held bool                                      // A does not end by itself
		want string
	}{
		{"wait", func(h http.Handler, id, _, _ string) int { return post(h, id, long, "wait") }, false, "wait A B " + long + " D"},
		{"interrupt", func(h http.Handler, id, _, _ string) int { return post(h, id, long, "interrupt") }, true, "wait A! B! " + long + " D"},
		{"cancel of the open turn", func(h http.Handler, id, a, _ string) int { return cancel(h, id, a) }, true, "wait A! B D"},
		{"cancel of one that waits", func(h http.Handler, id, _, b string) int { return cancel(h, id, b) }, false, "wait A B! D"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s meshtest.Slow
			boundaries(t, func(m *meshtest.Mesh) { m.Work(s.Agent(agent.Definition{Name: "slow"})) }, func(m *meshtest.Mesh, n int) (cut bool) {
				id := m.Session("slow")
				a := m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...).TurnID
				synctest.Wait()
				b := meshtest.Enqueue(m.T, m.Gateway.Handler(), id, "B", "wait").TurnID
				d, st, nc := doomed(m)
				h := m.NewGateway(st).Handler()
				d.from(n)
				tt.act(h, id, a, b)
				nc.Close()
				if code := tt.act(m.Gateway.Handler(), id, a, b); code != http.StatusAccepted && code != http.StatusOK {
					m.T.Errorf("the repeat is answered with %d", code)
				}
				// D may have its reply before its answer, where nothing is open any more.
				if w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"D","on_busy":"wait"}`, meshtest.Async...); w.Code != http.StatusAccepted && w.Code != http.StatusOK {
					m.T.Errorf("POST D = %d %s", w.Code, w.Body)
				}
				if !tt.held {
					s.Release <- struct{}{}
				}
				m.Idle(id)
				if got := m.Turns(id); got != tt.want {
					m.T.Errorf("transcript: %s", got)
				}
				turnsEnd(m, id)
				return d.died()
			})
		})
	}
	t.Run("delete", func(t *testing.T) {
		var s meshtest.Slow
		boundaries(t, func(m *meshtest.Mesh) { m.Work(s.Agent(agent.Definition{Name: "slow"})) }, func(m *meshtest.Mesh, n int) (cut bool) {
			id := m.Session("slow")
			turns := []meshtest.TurnView{m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)}
			synctest.Wait()
			turns = append(turns, meshtest.Enqueue(m.T, m.Gateway.Handler(), id, "B", "wait"), meshtest.Enqueue(m.T, m.Gateway.Handler(), id, "C", "wait"))
			d, st, nc := doomed(m)
			h := m.NewGateway(st).Handler()
			d.from(n)
			meshtest.Call(h, "DELETE", "/sessions/"+id, "")
			nc.Close()
			m.Do("DELETE", "/sessions/"+id, "")
			select { // where nobody has canceled the open turn, its worker finds out
			case s.Release <- struct{}{}:
			case <-time.After(time.Second):
			}
			for i, turn := range turns {
				if got := m.End(turn.TurnID); got.Status != "canceled" {
					m.T.Errorf("turn %d = %+v", i, got)
				}
			}
			return d.died()
		})
	})
	t.Run("worker", func(t *testing.T) {
		boundaries(t, func(*meshtest.Mesh) {}, func(m *meshtest.Mesh, n int) (cut bool) {
			var s meshtest.Slow
			name := fmt.Sprint("slow-", n)
			a := s.Agent(agent.Definition{Name: name})
			d, st, nc := doomed(m)
			defer m.WorkWith(worker.Default(), st, a)()
			time.Sleep(time.Second) // the gateway knows the agent by then
			id := m.Session(name)
			m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
			synctest.Wait()
			var turns []meshtest.TurnView
			for _, text := range []string{"B", "C"} {
				turns = append(turns, meshtest.Enqueue(m.T, m.Gateway.Handler(), id, text, "wait"))
			}
			d.from(n)
			s.Release <- struct{}{}
			synctest.Wait()
			nc.Close()
			close(s.Release)
			defer m.Work(a)()
			for _, turn := range turns {
				if got := m.Turn(id, turn.TurnID, "Prefer", "wait=60"); got.Status != "completed" {
					m.T.Errorf("turn = %+v", got)
				}
			}
			m.Idle(id)
			if got := m.Turns(id); got != "wait A B C" {
				m.T.Errorf("transcript: %s", got)
			}
			turnsEnd(m, id)
			return d.died()
		})
	})
}

// boundaries runs a story for each write that its actor may die before, until it
// has not died.
func boundaries(t *testing.T, begin func(m *meshtest.Mesh), story func(m *meshtest.Mesh, n int) (cut bool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		begin(m)
		for n := 0; story(m, n); n++ {
			if t.Failed() {
				t.Fatalf("after %d writes", n)
			}
		}
	})
}

// turnsEnd waits until every turn of a session has ended.
func turnsEnd(m *meshtest.Mesh, id string) {
	m.T.Helper()
	for range 100 {
		w := m.Do("GET", "/tasks?status=pending,processing&session_id="+id, "")
		if !strings.Contains(w.Body.String(), `"task_id"`) {
			return
		}
		time.Sleep(time.Second)
	}
	m.T.Errorf("not ended: %s", m.Do("GET", "/tasks?status=pending,processing&session_id="+id, "").Body)
}

// TestSessionQueuesSurviveKills kills the worker, the mesh or both while
// messages are accepted that wait, again and again: each is in its transcript once,
// in the order in which it was accepted, and the state has counted it.
func TestSessionQueuesSurviveKills(t *testing.T) {
	t.Parallel() // it waits for processes
	kills := 3
	if *meshtest.Chaos {
		kills = 60
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "data")
	up := startUp(t, dir)
	w := spawnWorker(t, up, "counter")
	talks := make([]*lineUp, 4)
	for i := range talks {
		talks[i] = &lineUp{}
		natstest.Until(t, "a session begins", func() bool { return talks[i].begin(up.Gateway) })
	}
	for n := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for _, c := range talks {
			load.Go(func() {
				for ctx.Err() == nil {
					c.next(ctx, up.Gateway)
				}
			})
		}
		<-time.After(time.Duration(100+rnd.IntN(300)) * time.Millisecond)
		if n%3 != 1 {
			w.Kill()
		}
		if n%3 != 0 {
			up.Kill()
		}
		cancel()
		load.Wait()
		if n%3 != 0 {
			w.Kill() // its server has another address now
			up = startUp(t, dir)
		}
		w = spawnWorker(t, up, "counter")
	}
	said := 0
	for i, c := range talks {
		natstest.Until(t, "the last message is accepted", func() bool { return c.next(t.Context(), up.Gateway) })
		natstest.Until(t, "the last turn has ended", func() bool { return c.ended(t, up.Gateway) })
		got := c.read(t, up.Gateway)
		if len(got) != 2*len(c.accepted) {
			t.Errorf("conversation %d: %d messages, %d were accepted", i, len(got), len(c.accepted))
		}
		for n := 0; n+1 < len(got) && n/2 < len(c.accepted); n += 2 {
			if key := c.accepted[n/2]; got[n].Text != key || got[n+1].Text != fmt.Sprintf("%d %s", n/2+1, key) {
				t.Errorf("conversation %d, turn %d: %q, reply %q, accepted was %q", i, n/2+1, got[n].Text, got[n+1].Text, key)
			}
		}
		said += len(got) / 2
	}
	t.Logf("%d kills, %d turns", kills, said)
}

// lineUp is a client that has its messages wait: it sends the next one when it
// knows that the one before was accepted.
type lineUp struct {
	conversation
	accepted []string
	last     meshtest.TurnView
}

// next sends a message, the same one again until it is known to be accepted.
func (c *lineUp) next(ctx context.Context, gateway string) (ok bool) {
	key := fmt.Sprintf("%s-%d", c.id, len(c.accepted))
	body := fmt.Sprintf(`{"text":%q,"on_busy":"wait"}`, key)
	req, err := http.NewRequestWithContext(ctx, "POST", gateway+"/sessions/"+c.id+"/messages", strings.NewReader(body))
	if err != nil {
		return false
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Idempotency-Key": key, "Prefer": "respond-async"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var turn meshtest.TurnView
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&turn) != nil {
		return false
	}
	c.accepted, c.last = append(c.accepted, key), turn
	return true
}

// ended asks for the last turn, as a client does that polls.
func (c *lineUp) ended(t *testing.T, gateway string) bool {
	resp, err := http.Get(gateway + "/sessions/" + c.id + "/turns/" + c.last.TurnID)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return meshtest.Decode[meshtest.TurnView](t, resp.Body).Status == "completed"
}

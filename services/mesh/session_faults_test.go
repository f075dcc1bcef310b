package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A hundred messages of 20 clients at one session through two gateways: accepted
// turns run one after another, the transcript has the order of acceptance, and
// nothing is lost or doubled (I3, I7).
func TestSessionOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var running, overlaps atomic.Int32
		a := agent.Conversation(func(_ context.Context, _ *agent.Job, text string, state *struct{ N int }) (string, error) {
			if running.Add(1) > 1 {
				overlaps.Add(1)
			}
			defer running.Add(-1)
			time.Sleep(5 * time.Millisecond)
			state.N++
			return fmt.Sprintf("%d %s", state.N, text), nil
		})
		a.Definition = agent.Definition{Name: "a", Concurrency: 16}
		m.work(a)
		st2, _ := m.openStore()
		stop2 := m.workWith(worker.Default(), st2, a)
		defer stop2()
		gateways := []http.Handler{m.g.Handler(), m.newGateway(st2).Handler()}
		id := m.session("a")

		var clients sync.WaitGroup
		replies := make(chan turnView, 100)
		for c := range 20 {
			clients.Go(func() {
				for i := range 5 {
					mode := []string{"reject", "wait"}[(c+i)%2]
					body := fmt.Sprintf(`{"text":"%d-%d","on_busy":"%s"}`, c, i, mode)
					for n := c; ; n++ { // a repeat goes to the other gateway
						w := call(gateways[n%2], "POST", "/sessions/"+id+"/messages", body, "Idempotency-Key", fmt.Sprintf("%d-%d", c, i))
						if w.Code == http.StatusOK {
							replies <- decode[turnView](t, w.Body)
							break
						}
						if w.Code != http.StatusConflict {
							t.Errorf("%d %s", w.Code, w.Body)
							break
						}
						time.Sleep(time.Duration(1+rand.IntN(50)) * time.Millisecond)
					}
				}
			})
		}
		clients.Wait()
		close(replies)
		answers := map[string]string{}
		for r := range replies {
			answers[r.TurnID] = r.Message
		}
		messages := m.transcript(id)
		if len(messages) != 200 || len(answers) != 100 || overlaps.Load() > 0 {
			t.Fatalf("%d messages, %d answers, %d overlaps", len(messages), len(answers), overlaps.Load())
		}
		said := map[string]bool{}
		var last uint64
		for i := 0; i < 200; i += 2 {
			user, reply := messages[i], messages[i+1]
			want := fmt.Sprintf("%d %s", i/2+1, user.Text)
			if user.Role != session.User || reply.Role != session.Agent || reply.Text != want || answers[user.TurnID] != want || said[user.Text] {
				t.Errorf("turn %d: %q, %q, answered with %q", i/2, user.Text, reply.Text, answers[user.TurnID])
			}
			said[user.Text] = true
			accepted := m.record(user.TurnID).Lease.Seq // its place in the queue
			if accepted <= last {
				t.Errorf("turn %d was accepted as %d, after %d", i/2, accepted, last)
			}
			last = accepted
		}
	})
}

// A worker that is frozen past its lease cannot commit after its heir has (I15).
func TestSessionFrozenWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		frozen := &gate{srv: m.srv.Server}
		stA, _ := m.openStore(nats.InProcessServer(frozen))
		started, finish := make(chan struct{}, 1), make(chan struct{})
		m.workWith(worker.Default(), stA, agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(context.Context, *agent.Job) (any, error) {
			started <- struct{}{}
			<-finish
			return agent.Reply{Message: "zombie", State: map[string]int{"zombie": 1}}, nil
		}})
		id := m.session("a")
		turn := m.say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		<-started
		synctest.Wait()
		frozen.freeze()
		m.work(agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}})
		if got := m.turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "heir in attempt 2" {
			t.Errorf("turn = %+v", got)
		}
		close(finish)
		m.say(http.StatusOK, id, "next")
		time.Sleep(12 * time.Second) // the frozen one has its reply, and tries to commit
		frozen.thaw()
		time.Sleep(time.Minute)
		rec, err := m.st.Session(t.Context(), "default", id)
		if err != nil || rec.State != nil || talk(rec.Messages) != "user: hi\nagent: heir in attempt 2\nuser: next\nagent: heir in attempt 1" {
			t.Errorf("session = %+v, %v", rec, err)
		}
		if got := m.say(http.StatusOK, id, "again"); got.Message == "" {
			t.Errorf("the next turn = %+v", got)
		}
	})
}

// An heir fences off the attempt before it: that one's copy of the session is out
// of date as soon as the heir begins, and before it has committed anything.
func TestSessionFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		running, finish := make(chan struct{}, 1), make(chan struct{})
		a := agent.Agent{Definition: agent.Definition{Name: "a"}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
			running <- struct{}{}
			<-finish
			return fmt.Sprintf("heir in attempt %d", job.Attempt), nil
		}}
		m.work(a)()
		id := m.session("a")
		turn := m.say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		// A worker takes the message, reads the session, and is seen no more.
		js, err := jetstream.New(m.nc)
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), topology.Turns, topology.AgentDurable("a"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		queued, err := m.st.Find(t.Context(), "default", turn.TurnID)
		if err != nil {
			t.Fatal(err)
		}
		zombie, err := m.st.Session(t.Context(), "default", id)
		if err != nil {
			t.Fatal(err)
		}
		m.work(a)
		<-running
		zombie.Commit(queued, "zombie", json.RawMessage(`{"zombie":1}`), time.Now())
		if err := m.st.SaveSession(t.Context(), zombie); !errors.Is(err, session.ErrConflict) {
			t.Errorf("the first attempt commits while the second one runs: %v", err)
		}
		close(finish)
		if got := m.turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "heir in attempt 1" { // the one that was seen no more had not begun
			t.Errorf("turn = %+v", got)
		}
	})
}

// The whole process dies between the session's write and the acknowledgement:
// the turn is not run again, and ends as the session has it.
func TestSessionCrashAfterTheCommit(t *testing.T) {
	for name, interrupted := range map[string]bool{"reply": false, "interrupted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t)
				ran := false
				a := agent.Agent{Definition: agent.Definition{Name: "a", Greeting: "Hi"}, Handler: func(context.Context, *agent.Job) (any, error) {
					ran = true
					return "again", nil
				}}
				m.work(a)()
				id := m.session("a")
				turn := m.say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
				// The dead worker had written its claim and the session.
				rec, err := m.st.Find(t.Context(), "default", turn.TurnID)
				if err != nil {
					t.Fatal(err)
				}
				queued := rec.Clone()
				rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
				if err := rec.To(task.Processing, time.Now()); err != nil {
					t.Fatal(err)
				}
				s, err := m.st.Session(t.Context(), "default", id)
				if err != nil {
					t.Fatal(err)
				}
				want, status, reply := "agent: Hi\nuser: hi\nagent: once", "completed", "once"
				if interrupted {
					s.Interrupt(queued, time.Now())
					want, status, reply = "agent: Hi\nuser: hi (interrupted)", "canceled", ""
				} else {
					s.Commit(queued, "once", json.RawMessage(`{"n":1}`), time.Now())
				}
				for _, err := range []error{m.st.Save(t.Context(), rec), m.st.SaveSession(t.Context(), s)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				m.work(a)
				got := m.turn(id, turn.TurnID, "Prefer", "wait=60")
				if got.Status != status || got.Message != reply || got.Attempt != 1 || ran {
					t.Errorf("turn = %+v, run again: %v", got, ran)
				}
				if got := talk(m.transcript(id)); got != want {
					t.Errorf("transcript:\n%s", got)
				}
				if got := m.post(http.StatusOK, id, `{"text":"next","on_busy":"wait"}`); got.Message != "again" {
					t.Errorf("next = %+v", got)
				}
			})
		})
	}
}

// A turn that uses up its attempts fails, unless its session has the reply.
func TestSessionWorkersDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		a := agent.Agent{Definition: agent.Definition{Name: "a", Retry: agent.Retry{MaxAttempts: 1}}, Handler: func(context.Context, *agent.Job) (any, error) {
			return "fine", nil
		}}
		m.work(a)()
		id := m.session("a")
		turn := m.say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
		rec, err := m.st.Find(t.Context(), "default", turn.TurnID)
		if err != nil {
			t.Fatal(err)
		}
		rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
		if err := rec.To(task.Processing, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := m.st.Save(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		m.work(a)
		got := m.turn(id, turn.TurnID, "Prefer", "wait=60")
		if got.Status != "failed" || got.Error.Code != task.CodeWorkerLost {
			t.Errorf("turn = %+v", got)
		}
		if got := m.post(http.StatusOK, id, `{"text":"next","on_busy":"wait"}`); got.Message != "fine" {
			t.Errorf("next = %+v", got)
		}
	})
}

// A worker whose slots are taken by tasks takes no turn from an idle one, nor the
// other way round.
func TestSessionGoesToAnIdleWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		busy := func(wait bool) agent.Agent {
			return agent.Agent{Definition: agent.Definition{Name: "a", Concurrency: 1, Timeout: task.Duration(time.Hour)}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
				if wait && job.Attempt == 1 && strings.HasPrefix(job.Instruction, "long") {
					time.Sleep(10 * time.Minute)
				}
				return "done", nil
			}}
		}
		m.work(busy(true))
		time.Sleep(time.Second)
		long := m.create(`{"agent":"a","instruction":"long"}`)
		time.Sleep(time.Second)
		m.work(busy(false))
		began := time.Now()
		for range 3 {
			if got := m.say(http.StatusOK, m.session("a"), "short"); got.Message != "done" {
				t.Errorf("turn = %+v", got)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("three turns took %v beside an idle worker", took)
		}
		if got := m.end(long); got.Status != "completed" {
			t.Errorf("task = %+v", got)
		}
	})
}

// A shutdown hands an open turn back: it is run again elsewhere, as the same
// attempt, and the session stays closed meanwhile.
func TestSessionDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		cfg := worker.Default()
		cfg.Drain = time.Second
		stop := m.workWith(cfg, m.st, s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		turn := m.say(http.StatusAccepted, id, "wait", "Prefer", "respond-async")
		synctest.Wait()
		stop()
		if w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`); w.Code != http.StatusConflict {
			t.Errorf("between two workers: %d %s", w.Code, w.Body)
		}
		m.work(counterAs("slow"))
		if got := m.turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "1 wait" || got.Attempt != 1 {
			t.Errorf("turn = %+v", got)
		}
	})
}

func counterAs(name string) agent.Agent {
	a := counter()
	a.Name = name
	return a
}

// A cancel and a commit meet in the session: exactly one wins (I1), and the
// transcript and the turn agree.
func TestSessionCancelRacesTheReply(t *testing.T) {
	m := newMesh(t)
	m.work(agent.Agent{Definition: agent.Definition{Name: "brief", Concurrency: 16}, Handler: func(ctx context.Context, _ *agent.Job) (any, error) {
		select {
		case <-time.After(rand.N(4 * time.Millisecond)):
			return "reply", nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}})
	outcomes := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			id := m.session("brief")
			turn := m.say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
			<-time.After(rand.N(8 * time.Millisecond))
			w := m.do("POST", "/sessions/"+id+"/turns/"+turn.TurnID+"/cancel", "")
			got := m.turn(id, turn.TurnID, "Prefer", "wait=60")
			mu.Lock()
			outcomes[got.Status]++
			mu.Unlock()
			want := map[string]string{"completed": "user: hi\nagent: reply", "canceled": "user: hi (interrupted)"}[got.Status]
			if talk(m.transcript(id)) != want || (w.Code == http.StatusOK) != (got.Status == "canceled") {
				t.Errorf("cancel %d, turn %s, transcript:\n%s", w.Code, got.Status, talk(m.transcript(id)))
			}
		})
	}
	all.Wait()
	t.Log(outcomes)
}

// A session expires when nothing is said, and for a while that is known.
func TestSessionExpires(t *testing.T) {
	srv := natstest.Start(t)
	st, err := store.Open(t.Context(), srv.Connect(t), store.Options{Replicas: 1, SessionIdle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, srv: srv, st: st, hosts: newHosts()}
	m.g = m.bareGateway(st)
	m.work(counter())
	id := m.session("counter")
	m.say(http.StatusOK, id, "hi")
	eventually(t, 10*time.Second, "the session expires", func() bool {
		return strings.Contains(m.do("GET", "/sessions/"+id, "").Body.String(), `"session_expired"`)
	})
	for _, w := range []interface{ Result() *http.Response }{
		m.do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`), m.do("DELETE", "/sessions/"+id, ""), m.do("GET", "/sessions/"+id+"/events", ""),
	} {
		r := w.Result()
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode != http.StatusNotFound || !strings.Contains(string(body), `"session_expired"`) {
			t.Errorf("%d %s", r.StatusCode, body)
		}
	}
}

// A thousand sessions at once with one worker: each has its turns, no other
// session's, and none waits for ever while others go on.
func TestSessionsAreFairAndApart(t *testing.T) {
	sessions, turns := 1000, 2
	if testing.Short() {
		sessions = 100
	}
	m := newMesh(t)
	var leaks atomic.Int32
	a := agent.Conversation(func(_ context.Context, job *agent.Job, text string, state *struct{ Mine string }) (string, error) {
		owner, _, _ := strings.Cut(text, " ")
		if state.Mine != "" && state.Mine != owner || slices.ContainsFunc(job.Turn.Messages, func(s session.Message) bool { return !strings.Contains(s.Text, owner) }) {
			leaks.Add(1)
		}
		state.Mine = owner
		job.Output("output of " + owner)
		return "to " + owner, nil
	})
	a.Definition = agent.Definition{Name: "a", Concurrency: 8}
	m.work(a)
	before := runtime.NumGoroutine()
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = m.session("a")
	}
	var all sync.WaitGroup
	said := make(chan string, sessions*turns)
	for i, id := range ids {
		all.Go(func() {
			for n := range turns {
				got := m.post(http.StatusOK, id, fmt.Sprintf(`{"text":"owner-%d says %d","on_busy":"wait"}`, i, n), "Prefer", "wait=60")
				if got.Message != fmt.Sprintf("to owner-%d", i) {
					t.Errorf("session %d: %+v", i, got)
				}
				said <- got.TurnID
			}
		})
	}
	all.Wait()
	if n := leaks.Load(); n > 0 {
		t.Errorf("%d turns saw another session", n)
	}
	eventually(t, 20*time.Second, "what the turns needed is given back (I13)", func() bool { return runtime.NumGoroutine() < before+50 })
	close(said)
	var order []*task.Task
	for id := range said {
		order = append(order, m.record(id))
	}
	// Turns begin as they were accepted: few are overtaken, and by few.
	slices.SortFunc(order, func(a, b *task.Task) int { return cmp.Compare(a.Lease.Seq, b.Lease.Seq) })
	for i, turn := range order {
		if ahead := i + 100; ahead < len(order) && order[ahead].StartedAt.Before(turn.StartedAt) {
			t.Errorf("turn %d began after turn %d", i, ahead)
		}
	}
	if out := m.do("GET", "/tasks/"+m.transcript(ids[7])[0].TurnID+"/events", "", "Accept", "application/json").Body.String(); strings.Contains(out, "owner-8") {
		t.Errorf("events of another session: %s", out)
	}
}

// TestW11_SessionsSurviveKills kills the worker in the middle of turns, the mesh
// while clients wait, and both at once, again and again: every message is in its
// transcript once, and the state, which counts the turns, has missed and doubled
// none.
func TestW11_SessionsSurviveKills(t *testing.T) {
	kills := 6
	if *chaos {
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
		eventually(t, 20*time.Second, "a session begins", func() bool { return talks[i].begin(up.gateway) })
	}
	for n := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for i, c := range talks {
			load.Go(func() { c.load(ctx, up.gateway, fmt.Sprintf("%d-%d", n, i)) })
		}
		<-time.After(time.Duration(100+rnd.IntN(300)) * time.Millisecond)
		which := n % 3
		if which != 1 { // the worker, or all
			w.kill()
		}
		if which != 0 { // the mesh, or all
			up.kill()
			if which == 1 {
				w.kill() // its server has another address now
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
		if err := c.settle(t.Context(), up.gateway); err != nil {
			t.Fatalf("conversation %d: %v", i, err)
		}
		got := c.read(t, up.gateway)
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
	var made sessionView
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
	var got turnView
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
	return decode[transcriptView](t, resp.Body).Messages[1:] // without the greeting
}

package worker_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A hundred messages of 20 clients at one session through two gateways: accepted
// turns run one after another, the transcript has the order of acceptance, and
// nothing is lost or doubled (I3, I7).
func TestTurnsOfManyClientsRunOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
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
		m.Work(a)
		st2, _ := m.OpenStore()
		stop2 := m.WorkWith(worker.Default(), st2, a)
		defer stop2()
		gateways := []http.Handler{m.Gateway.Handler(), m.NewGateway(st2).Handler()}
		id := m.Session("a")

		var clients sync.WaitGroup
		replies := make(chan meshtest.TurnView, 100)
		for c := range 20 {
			clients.Go(func() {
				for i := range 5 {
					mode := []string{"reject", "wait"}[(c+i)%2]
					body := fmt.Sprintf(`{"text":"%d-%d","on_busy":"%s"}`, c, i, mode)
					for n := c; ; n++ { // a repeat goes to the other gateway
						w := meshtest.Call(gateways[n%2], "POST", "/sessions/"+id+"/messages", body, "Idempotency-Key", fmt.Sprintf("%d-%d", c, i))
						if w.Code == http.StatusOK {
							replies <- meshtest.Decode[meshtest.TurnView](t, w.Body)
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
		messages := m.Transcript(id)
		if len(messages) != 200 || len(answers) != 100 || overlaps.Load() > 0 {
			t.Fatalf("%d messages, %d answers, %d overlaps", len(messages), len(answers), overlaps.Load())
		}
		said := map[string]bool{}
		var last uint64
		for i := 0; i < 200; i += 2 {
			user, reply := messages[i], messages[i+1]
			want := fmt.Sprintf("%d %s", i/2+1, user.Text)
			if user.Role != session.User || reply.Role != session.Agent || reply.Text != want || answers[string(user.TurnID)] != want || said[user.Text] {
				t.Errorf("turn %d: %q, %q, answered with %q", i/2, user.Text, reply.Text, answers[string(user.TurnID)])
			}
			said[user.Text] = true
			accepted := m.Record(string(user.TurnID)).Lease.Seq // its place in the queue
			if accepted <= last {
				t.Errorf("turn %d was accepted as %d, after %d", i/2, accepted, last)
			}
			last = accepted
		}
	})
}

// A worker whose slots are taken by tasks takes no turn from an idle one, nor the
// other way round.
func TestATurnGoesToAnIdleWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		busy := func(wait bool) agent.Agent {
			return agent.Agent{Definition: agent.Definition{Name: "a", Concurrency: 1, Timeout: task.Duration(time.Hour)}, Handler: func(_ context.Context, job *agent.Job) (any, error) {
				if wait && job.Attempt == 1 && strings.HasPrefix(job.Instruction, "long") {
					time.Sleep(10 * time.Minute)
				}
				return "done", nil
			}}
		}
		m.Work(busy(true))
		time.Sleep(time.Second)
		long := m.Create(`{"agent":"a","instruction":"long"}`)
		time.Sleep(time.Second)
		m.Work(busy(false))
		began := time.Now()
		for range 3 {
			if got := m.Say(http.StatusOK, m.Session("a"), "short"); got.Message != "done" {
				t.Errorf("turn = %+v", got)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("three turns took %v beside an idle worker", took)
		}
		if got := m.End(long); got.Status != "completed" {
			t.Errorf("task = %+v", got)
		}
	})
}

func counterAs(name string) agent.Agent {
	a := meshtest.Counter()
	a.Name = name
	return a
}

// A cancel and a commit meet in the session: exactly one wins (I1), and the
// transcript and the turn agree.
func TestOfACancelAndAReplyExactlyOneWins(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agent.Agent{Definition: agent.Definition{Name: "brief", Concurrency: 16}, Handler: func(ctx context.Context, _ *agent.Job) (any, error) {
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
			id := m.Session("brief")
			turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async")
			<-time.After(rand.N(8 * time.Millisecond))
			w := m.Do("POST", "/sessions/"+id+"/turns/"+turn.TurnID+"/cancel", "")
			got := m.Turn(id, turn.TurnID, "Prefer", "wait=60")
			mu.Lock()
			outcomes[got.Status]++
			mu.Unlock()
			want := map[string]string{"completed": "user: hi\nagent: reply", "canceled": "user: hi (interrupted)"}[got.Status]
			if meshtest.Talk(m.Transcript(id)) != want || (w.Code == http.StatusOK) != (got.Status == "canceled") {
				t.Errorf("cancel %d, turn %s, transcript:\n%s", w.Code, got.Status, meshtest.Talk(m.Transcript(id)))
			}
		})
	}
	all.Wait()
	t.Log(outcomes)
}

// A session expires when nothing is said, and for a while that is known.
func TestASessionExpiresWhenNothingIsSaid(t *testing.T) {
	srv := natstest.Start(t)
	st, err := store.Open(t.Context(), srv.Connect(t), store.Options{Replicas: 1, SessionIdle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m := &meshtest.Mesh{T: t, Server: srv, Store: st, Hosts: meshtest.NewHosts()}
	m.Gateway = m.BareGateway(st)
	m.Work(meshtest.Counter())
	id := m.Session("counter")
	m.Say(http.StatusOK, id, "hi")
	natstest.Until(t, "the session expires", func() bool {
		return strings.Contains(m.Do("GET", "/sessions/"+id, "").Body.String(), `"session_expired"`)
	})
	for _, w := range []interface{ Result() *http.Response }{
		m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`), m.Do("DELETE", "/sessions/"+id, ""), m.Do("GET", "/sessions/"+id+"/events", ""),
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
	sessions, turns := natstest.Fewer(1000), 2
	m := meshtest.New(t)
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
	m.Work(a)
	m.Say(http.StatusOK, m.Session("a"), "nobody") // the worker is up
	gone := natstest.Goroutines(t)
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = m.Session("a")
	}
	var all sync.WaitGroup
	said := make(chan string, sessions*turns)
	for i, id := range ids {
		all.Go(func() {
			for n := range turns {
				got := m.PostMessage(http.StatusOK, id, fmt.Sprintf(`{"text":"owner-%d says %d","on_busy":"wait"}`, i, n), "Prefer", "wait=60")
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
	gone() // the turns have given back their goroutines (I13)
	close(said)
	var order []*task.Task
	for id := range said {
		order = append(order, m.Record(id))
	}
	// Turns begin as they were accepted: few are overtaken, and by few.
	slices.SortFunc(order, func(a, b *task.Task) int { return cmp.Compare(a.Lease.Seq, b.Lease.Seq) })
	for i, turn := range order {
		if ahead := i + 100; ahead < len(order) && order[ahead].StartedAt.Before(turn.StartedAt) {
			t.Errorf("turn %d began after turn %d", i, ahead)
		}
	}
	if out := m.Do("GET", "/tasks/"+string(m.Transcript(ids[7])[0].TurnID)+"/events", "", "Accept", "application/json").Body.String(); strings.Contains(out, "owner-8") {
		t.Errorf("events of another session: %s", out)
	}
}

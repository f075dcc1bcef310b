package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

var async = []string{"Prefer", "respond-async"}

// queue posts a message that waits, at a gateway, and returns its turn.
func enqueue(t *testing.T, h http.Handler, id, text, onBusy string, headers ...string) turnView {
	t.Helper()
	w := call(h, "POST", "/sessions/"+id+"/messages", fmt.Sprintf(`{"text":%q,"on_busy":%q}`, text, onBusy), append(slices.Clone(async), headers...)...)
	if w.Code != http.StatusAccepted {
		t.Fatalf("POST %s = %d %s", text, w.Code, w.Body)
	}
	return decode[turnView](t, w.Body)
}

// gateways are two replicas, each with a store of its own.
func (m *mesh) gateways() [2]http.Handler {
	m.t.Helper()
	st, _ := m.openStore()
	return [2]http.Handler{m.g.Handler(), m.newGateway(st).Handler()}
}

// turns are the user's messages of a transcript, those without a reply marked.
func (m *mesh) turns(id string) string {
	m.t.Helper()
	var said []string
	for _, msg := range m.transcript(id) {
		switch {
		case msg.Interrupted:
			said = append(said, msg.Text+"!")
		case msg.Role == "user":
			said = append(said, msg.Text)
		}
	}
	return strings.Join(said, " ")
}

// idle waits until nothing is open and nothing waits in a session.
func (m *mesh) idle(id string) {
	m.t.Helper()
	for range 600 {
		if !decode[sessionView](m.t, m.do("GET", "/sessions/"+id, "").Body).Busy {
			return
		}
		time.Sleep(time.Second)
	}
	m.t.Fatalf("session %s stays busy: %s", id, m.do("GET", "/sessions/"+id, "").Body)
}

// Messages that wait are answered at once and run in the order in which they were
// accepted, at whichever gateway, whether the client holds or not.
func TestSessionMessagesThatWaitKeepTheirOrder(t *testing.T) {
	for name, held := range map[string]bool{"async": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t)
				var s slow
				m.work(s.agent(agent.Definition{Name: "slow", Concurrency: 16}))
				gateways := m.gateways()
				for round := range 6 {
					id := m.session("slow")
					open := m.say(http.StatusAccepted, id, "wait A", async...)
					synctest.Wait()
					answers := make(chan *httptest.ResponseRecorder, 5)
					for i, text := range []string{"B", "C", "D", "E", "F"} {
						if h := gateways[(i+round)%2]; held {
							body := fmt.Sprintf(`{"text":%q,"on_busy":"wait"}`, text)
							go func() { answers <- call(h, "POST", "/sessions/"+id+"/messages", body) }()
							time.Sleep(time.Second)
							continue
						}
						began := time.Now()
						turn := enqueue(t, gateways[(i+round)%2], id, text, "wait")
						if took := time.Since(began); turn.Status != "pending" || took > time.Second {
							t.Errorf("%s = %+v after %v", text, turn, took)
						}
					}
					view := decode[sessionView](t, m.do("GET", "/sessions/"+id, "").Body)
					if !view.Busy || view.OpenTurn != open.TurnID || len(view.Waiting) != 5 {
						t.Errorf("session = %+v", view)
					}
					s.release <- struct{}{}
					m.idle(id)
					if got := m.turns(id); got != "wait A B C D E F" {
						t.Errorf("round %d: %s", round, got)
					}
					for range 5 * len(answers) / 5 {
						if w := <-answers; w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"message":"done `) {
							t.Errorf("held: %d %s", w.Code, w.Body)
						}
					}
				}
			})
		})
	}
}

// A message that interrupts cancels what is open and all that waits, and of
// several the newest wins, with and without a worker.
func TestSessionNewestInterruptWins(t *testing.T) {
	for name, worked := range map[string]bool{"a worker runs the turn": true, "no worker": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t)
				var s slow
				a := s.agent(agent.Definition{Name: "slow"})
				stop := m.work(a)
				gateways := m.gateways()
				if !worked {
					stop()
				}
				id := m.session("slow")
				turns := []turnView{m.say(http.StatusAccepted, id, "wait A", async...)}
				synctest.Wait()
				turns = append(turns, enqueue(t, gateways[1], id, "B", "wait"))
				for i, text := range []string{"wait X", "wait Y", "wait Z"} {
					turns = append(turns, enqueue(t, gateways[i%2], id, text, "interrupt"))
				}
				last := turns[len(turns)-1]
				for i, turn := range turns[:4] {
					if got := m.turn(id, turn.TurnID); got.Status != "canceled" {
						t.Errorf("turn %d = %+v", i, got)
					}
				}
				if !worked {
					m.work(a)
				}
				time.Sleep(time.Second)
				s.release <- struct{}{}
				if got := m.turn(id, last.TurnID, "Prefer", "wait=60"); got.Message != "done wait Z" {
					t.Errorf("the last one = %+v", got)
				}
				m.idle(id)
				if got := m.turns(id); got != "wait A! B! wait X! wait Y! wait Z" {
					t.Errorf("transcript: %s", got)
				}
			})
		})
	}
}

// A turn that waits is shown as pending, alone and in lists, with its place.
func TestSessionTurnThatWaitsIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		gateways := m.gateways()
		id := m.session("slow")
		m.say(http.StatusAccepted, id, "wait A", async...)
		synctest.Wait()
		long := strings.Repeat("long ", 1000)
		enqueue(t, gateways[0], id, "B", "wait")
		turn := enqueue(t, gateways[0], id, long, "wait")
		for i, h := range gateways {
			for _, path := range []string{"/tasks/" + turn.TurnID, "/sessions/" + id + "/turns/" + turn.TurnID} {
				w := call(h, "GET", path, "")
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"status":"pending"`) || !strings.Contains(w.Body.String(), `"waiting":{"reason":"session","position":2}`) {
					t.Errorf("gateway %d, %s = %d %s", i, path, w.Code, w.Body)
				}
			}
			if w := call(h, "GET", "/tasks?session_id="+id+"&status=pending", ""); strings.Count(w.Body.String(), `"turn_id"`) != 2 {
				t.Errorf("list = %s", w.Body)
			}
		}
		if w := m.do("GET", "/tasks/"+turn.TurnID+"/events", "", "Accept", "application/json"); strings.Count(w.Body.String(), `"id"`) != 1 {
			t.Errorf("events = %s", w.Body)
		}
		s.release <- struct{}{}
		if got := m.turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "done "+long || got.Text != long {
			t.Errorf("turn = %+v", got)
		}
	})
}

// At most 32 messages wait. One that is canceled makes room, and the transcript
// keeps the order of acceptance.
func TestSessionQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		m.say(http.StatusAccepted, id, "wait A", async...)
		synctest.Wait()
		var turns []turnView
		want := "wait A"
		for i := range 32 {
			turns = append(turns, enqueue(t, m.g.Handler(), id, fmt.Sprint(i), "wait"))
			if want += fmt.Sprint(" ", i); i == 7 {
				want += "!"
			}
		}
		full := func() {
			t.Helper()
			w := m.do("POST", "/sessions/"+id+"/messages", `{"text":"more","on_busy":"wait"}`, async...)
			if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"session_queue_full"`) || w.Header().Get("Retry-After") != "1" {
				t.Errorf("one too many = %d %v %s", w.Code, w.Header(), w.Body)
			}
		}
		full()
		if w := m.do("POST", "/sessions/"+id+"/turns/"+turns[7].TurnID+"/cancel", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"canceled"`) {
			t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
		enqueue(t, m.g.Handler(), id, "in its place", "wait")
		full()
		s.release <- struct{}{}
		m.idle(id)
		if got := m.turns(id); got != want+" in its place" {
			t.Errorf("transcript: %s", got)
		}
	})
}

// A repeat of a message that waits is the same turn, at whichever gateway, and
// stands in the queue once.
func TestSessionRepeatOfAMessageThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		gateways := m.gateways()
		for _, onBusy := range []string{"wait", "interrupt"} {
			id := m.session("slow")
			m.say(http.StatusAccepted, id, "wait A", async...)
			synctest.Wait()
			key := []string{"Idempotency-Key", "k-" + onBusy}
			first := enqueue(t, gateways[0], id, "wait B", onBusy, key...)
			enqueue(t, gateways[0], id, "C", "wait")
			time.Sleep(3 * time.Minute)
			if again := enqueue(t, gateways[1], id, "wait B", onBusy, key...); again.TurnID != first.TurnID {
				t.Errorf("%s: %+v and %+v", onBusy, first, again)
			}
			want := "wait A! wait B C"
			if onBusy == "wait" {
				want = "wait A wait B C"
				s.release <- struct{}{}
			}
			s.release <- struct{}{}
			m.idle(id)
			if got := m.turns(id); got != want {
				t.Errorf("%s: transcript %s", onBusy, got)
			}
		}
	})
}

// Deleting a session ends what waits in it.
func TestSessionDeleteEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow"}))
		id := m.session("slow")
		turns := []turnView{m.say(http.StatusAccepted, id, "wait A", async...)}
		synctest.Wait()
		tag := m.do("GET", "/sessions/"+id, "").Header().Get("ETag")
		for _, text := range []string{"B", "C"} {
			turns = append(turns, enqueue(t, m.g.Handler(), id, text, "wait"))
		}
		if w := m.do("DELETE", "/sessions/"+id, "", "If-Match", tag); w.Code != http.StatusPreconditionFailed {
			t.Errorf("DELETE of what has changed = %d %s", w.Code, w.Body)
		}
		tag = m.do("GET", "/sessions/"+id, "").Header().Get("ETag")
		if w := m.do("DELETE", "/sessions/"+id, "", "If-Match", tag); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		for _, turn := range turns {
			if got := m.end(turn.TurnID); got.Status != "canceled" {
				t.Errorf("turn = %+v", got)
			}
		}
	})
}

// A turn that waits fails by itself where its session has expired.
func TestSessionThatExpiresEndsWhatWaits(t *testing.T) {
	m := newMesh(t)
	var s slow
	m.work(s.agent(agent.Definition{Name: "slow"}))
	id := m.session("slow")
	m.say(http.StatusAccepted, id, "wait A", async...)
	turn := enqueue(t, m.g.Handler(), id, "B", "wait")
	rec, err := m.st.Session(t.Context(), "default", id)
	if err == nil { // as if it had expired: nobody has ended what waits
		err = m.st.DeleteSession(t.Context(), rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := m.end(turn.TurnID); got.Status != "failed" || got.Error.Code != task.CodeSessionGone {
		t.Errorf("turn = %+v", got)
	}
	close(s.release)
}

// A hundred messages that wait, of clients all over, run one by one, also where
// an agent's window is shorter than what is said.
func TestSessionQueueUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var s slow
		m.work(s.agent(agent.Definition{Name: "slow", History: task.HistoryWindow, MaxTranscript: 32 << 10}))
		gateways := m.gateways()
		id := m.session("slow")
		m.say(http.StatusAccepted, id, "wait A", async...)
		synctest.Wait()
		want := "wait A!"
		for i := range 20 { // 1.2 MB of text, more than a record takes
			text := fmt.Sprint(i, strings.Repeat("-", 60<<10))
			enqueue(t, gateways[i%2], id, text, "wait")
			want += " " + text + "!"
		}
		enqueue(t, gateways[0], id, "last", "interrupt")
		m.idle(id)
		if got := m.turns(id); got != want+" last" {
			t.Errorf("%d bytes of transcript, want %d", len(got), len(want)+5)
		}
	})
}

// Clients all over say things in every way at once. A message that was accepted
// before another one was sent stands before it in the transcript, each once, and
// only those that were interrupted or canceled have no reply.
func TestSessionQueueKeepsTheOrderOfManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		a := agent.Agent{Definition: agent.Definition{Name: "brief", Concurrency: 16}, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
			select {
			case <-time.After(rand.N(4 * time.Millisecond)):
				return "re " + job.Turn.Text(), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}}
		m.work(a)
		gateways := m.gateways()
		time.Sleep(time.Second)
		id := m.session("brief")
		type said struct {
			text, turn     string
			sent, accepted time.Time
		}
		var mu sync.Mutex
		var all []said
		var clients sync.WaitGroup
		for c := range 8 {
			clients.Go(func() {
				for i := range 12 {
					onBusy := []string{"wait", "wait", "wait", "reject", "interrupt"}[rand.IntN(5)]
					one := said{text: fmt.Sprint(c, "-", i), sent: time.Now()}
					w := call(gateways[rand.IntN(2)], "POST", "/sessions/"+id+"/messages", fmt.Sprintf(`{"text":%q,"on_busy":%q}`, one.text, onBusy), async...)
					one.accepted = time.Now()
					if w.Code == http.StatusAccepted || w.Code == http.StatusOK {
						one.turn = decode[turnView](t, w.Body).TurnID
						mu.Lock()
						all = append(all, one)
						mu.Unlock()
					} else if w.Code != http.StatusConflict {
						t.Errorf("%d %s", w.Code, w.Body)
					}
					if rand.IntN(6) == 0 && one.turn != "" {
						call(gateways[rand.IntN(2)], "POST", "/sessions/"+id+"/turns/"+one.turn+"/cancel", "")
					}
					time.Sleep(rand.N(3 * time.Millisecond))
				}
			})
		}
		clients.Wait()
		m.idle(id)
		place := map[string]int{}
		for i, msg := range m.transcript(id) {
			if _, twice := place[msg.Text]; twice {
				t.Errorf("%q is there twice", msg.Text)
			}
			place[msg.Text] = i + 1
			if got := m.turn(id, msg.TurnID).Status; got != map[bool]string{true: "canceled", false: "completed"}[msg.Interrupted] {
				t.Errorf("%q: interrupted %v, its turn is %s", msg.Text, msg.Interrupted, got)
			}
		}
		for _, x := range all {
			if place[x.text] == 0 {
				t.Errorf("%q is lost: %+v", x.text, m.turn(id, x.turn))
			}
			for _, y := range all {
				if x.accepted.Before(y.sent) && place[x.text] > place[y.text] {
					t.Errorf("%q was accepted before %q was sent, and comes after it", x.text, y.text)
				}
			}
		}
		t.Logf("%d accepted", len(all))
	})
}

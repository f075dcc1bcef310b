package gateway_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Messages that wait are answered at once and run in the order in which they were
// accepted, at whichever gateway, whether the client holds or not.
func TestMessagesThatWaitKeepTheirOrder(t *testing.T) {
	for name, held := range map[string]bool{"async": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				var s meshtest.Slow
				m.Work(s.Agent(agent.Definition{Name: "slow", Concurrency: 16}))
				gateways := m.Gateways()
				for round := range 6 {
					id := m.Session("slow")
					open := m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
					synctest.Wait()
					answers := make(chan *httptest.ResponseRecorder, 5)
					for i, text := range []string{"B", "C", "D", "E", "F"} {
						if h := gateways[(i+round)%2]; held {
							body := fmt.Sprintf(`{"text":%q,"on_busy":"wait"}`, text)
							go func() { answers <- meshtest.Call(h, "POST", "/sessions/"+id+"/messages", body) }()
							time.Sleep(time.Second)
							continue
						}
						began := time.Now()
						turn := meshtest.Enqueue(t, gateways[(i+round)%2], id, text, "wait")
						if took := time.Since(began); turn.Status != "pending" || took > time.Second {
							t.Errorf("%s = %+v after %v", text, turn, took)
						}
					}
					view := meshtest.Decode[meshtest.SessionView](t, m.Do("GET", "/sessions/"+id, "").Body)
					if !view.Busy || view.OpenTurn != open.TurnID || len(view.Waiting) != 5 {
						t.Errorf("session = %+v", view)
					}
					s.Release <- struct{}{}
					m.Idle(id)
					if got := m.Turns(id); got != "wait A B C D E F" {
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
func TestTheNewestInterruptWins(t *testing.T) {
	for name, worked := range map[string]bool{"a worker runs the turn": true, "no worker": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				var s meshtest.Slow
				a := s.Agent(agent.Definition{Name: "slow"})
				stop := m.Work(a)
				gateways := m.Gateways()
				if !worked {
					stop()
				}
				id := m.Session("slow")
				turns := []meshtest.TurnView{m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)}
				synctest.Wait()
				turns = append(turns, meshtest.Enqueue(t, gateways[1], id, "B", "wait"))
				for i, text := range []string{"wait X", "wait Y", "wait Z"} {
					turns = append(turns, meshtest.Enqueue(t, gateways[i%2], id, text, "interrupt"))
				}
				last := turns[len(turns)-1]
				for i, turn := range turns[:4] {
					if got := m.Turn(id, turn.TurnID); got.Status != "canceled" {
						t.Errorf("turn %d = %+v", i, got)
					}
				}
				if !worked {
					m.Work(a)
				}
				time.Sleep(time.Second)
				s.Release <- struct{}{}
				if got := m.Turn(id, last.TurnID, "Prefer", "wait=60"); got.Message != "done wait Z" {
					t.Errorf("the last one = %+v", got)
				}
				m.Idle(id)
				if got := m.Turns(id); got != "wait A! B! wait X! wait Y! wait Z" {
					t.Errorf("transcript: %s", got)
				}
			})
		})
	}
}

// A turn that waits is shown as pending, alone and in lists, with its place.
func TestATurnThatWaitsIsShownWithItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		gateways := m.Gateways()
		id := m.Session("slow")
		m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
		synctest.Wait()
		long := strings.Repeat("long ", 1000)
		meshtest.Enqueue(t, gateways[0], id, "B", "wait")
		turn := meshtest.Enqueue(t, gateways[0], id, long, "wait")
		for i, h := range gateways {
			for _, path := range []string{"/tasks/" + turn.TurnID, "/sessions/" + id + "/turns/" + turn.TurnID} {
				w := meshtest.Call(h, "GET", path, "")
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"status":"pending"`) || !strings.Contains(w.Body.String(), `"waiting":{"reason":"session","position":2}`) {
					t.Errorf("gateway %d, %s = %d %s", i, path, w.Code, w.Body)
				}
			}
			if w := meshtest.Call(h, "GET", "/tasks?session_id="+id+"&status=pending", ""); strings.Count(w.Body.String(), `"turn_id"`) != 2 {
				t.Errorf("list = %s", w.Body)
			}
		}
		if w := m.Do("GET", "/tasks/"+turn.TurnID+"/events", "", "Accept", "application/json"); strings.Count(w.Body.String(), `"id"`) != 1 {
			t.Errorf("events = %s", w.Body)
		}
		s.Release <- struct{}{}
		if got := m.Turn(id, turn.TurnID, "Prefer", "wait=60"); got.Message != "done "+long || got.Text != long {
			t.Errorf("turn = %+v", got)
		}
	})
}

// At most 32 messages wait. One that is canceled makes room, and the transcript
// keeps the order of acceptance.
func TestTheQueueOfASessionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
		synctest.Wait()
		var turns []meshtest.TurnView
		want := "wait A"
		for i := range 32 {
			turns = append(turns, meshtest.Enqueue(t, m.Gateway.Handler(), id, fmt.Sprint(i), "wait"))
			if want += fmt.Sprint(" ", i); i == 7 {
				want += "!"
			}
		}
		full := func() {
			t.Helper()
			w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"more","on_busy":"wait"}`, meshtest.Async...)
			if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"session_queue_full"`) || w.Header().Get("Retry-After") != "1" {
				t.Errorf("one too many = %d %v %s", w.Code, w.Header(), w.Body)
			}
		}
		full()
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+turns[7].TurnID+"/cancel", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"canceled"`) {
			t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
		meshtest.Enqueue(t, m.Gateway.Handler(), id, "in its place", "wait")
		full()
		s.Release <- struct{}{}
		m.Idle(id)
		if got := m.Turns(id); got != want+" in its place" {
			t.Errorf("transcript: %s", got)
		}
	})
}

// A repeat of a message that waits is the same turn, at whichever gateway, and
// stands in the queue once.
func TestARepeatOfAMessageThatWaitsIsTheSameTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		gateways := m.Gateways()
		for _, onBusy := range []string{"wait", "interrupt"} {
			id := m.Session("slow")
			m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
			synctest.Wait()
			key := []string{"Idempotency-Key", "k-" + onBusy}
			first := meshtest.Enqueue(t, gateways[0], id, "wait B", onBusy, key...)
			meshtest.Enqueue(t, gateways[0], id, "C", "wait")
			time.Sleep(3 * time.Minute)
			if again := meshtest.Enqueue(t, gateways[1], id, "wait B", onBusy, key...); again.TurnID != first.TurnID {
				t.Errorf("%s: %+v and %+v", onBusy, first, again)
			}
			want := "wait A! wait B C"
			if onBusy == "wait" {
				want = "wait A wait B C"
				s.Release <- struct{}{}
			}
			s.Release <- struct{}{}
			m.Idle(id)
			if got := m.Turns(id); got != want {
				t.Errorf("%s: transcript %s", onBusy, got)
			}
		}
	})
}

// Deleting a session ends what waits in it.
func TestDeletingASessionEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow"}))
		id := m.Session("slow")
		turns := []meshtest.TurnView{m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)}
		synctest.Wait()
		tag := m.Do("GET", "/sessions/"+id, "").Header().Get("ETag")
		for _, text := range []string{"B", "C"} {
			turns = append(turns, meshtest.Enqueue(t, m.Gateway.Handler(), id, text, "wait"))
		}
		if w := m.Do("DELETE", "/sessions/"+id, "", "If-Match", tag); w.Code != http.StatusPreconditionFailed {
			t.Errorf("DELETE of what has changed = %d %s", w.Code, w.Body)
		}
		tag = m.Do("GET", "/sessions/"+id, "").Header().Get("ETag")
		if w := m.Do("DELETE", "/sessions/"+id, "", "If-Match", tag); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		for _, turn := range turns {
			if got := m.End(turn.TurnID); got.Status != "canceled" {
				t.Errorf("turn = %+v", got)
			}
		}
	})
}

// A turn that waits fails by itself where its session has expired.
func TestASessionThatExpiresEndsWhatWaits(t *testing.T) {
	m := meshtest.New(t)
	var s meshtest.Slow
	m.Work(s.Agent(agent.Definition{Name: "slow"}))
	id := m.Session("slow")
	m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
	turn := meshtest.Enqueue(t, m.Gateway.Handler(), id, "B", "wait")
	rec, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
	if err == nil { // as if it had expired: nobody has ended what waits
		err = m.Store.Sessions.Delete(t.Context(), rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := m.End(turn.TurnID); got.Status != "failed" || got.Error.Code != task.CodeSessionGone {
		t.Errorf("turn = %+v", got)
	}
	close(s.Release)
}

// A hundred messages that wait, of clients all over, run one by one, also where
// an agent's window is shorter than what is said.
func TestAHundredMessagesThatWaitRunOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var s meshtest.Slow
		m.Work(s.Agent(agent.Definition{Name: "slow", History: task.HistoryWindow, MaxTranscript: 32 << 10}))
		gateways := m.Gateways()
		id := m.Session("slow")
		m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)
		synctest.Wait()
		want := "wait A!"
		for i := range 20 { // 1.2 MB of text, more than a record takes
			text := fmt.Sprint(i, strings.Repeat("-", 60<<10))
			meshtest.Enqueue(t, gateways[i%2], id, text, "wait")
			want += " " + text + "!"
		}
		meshtest.Enqueue(t, gateways[0], id, "last", "interrupt")
		m.Idle(id)
		if got := m.Turns(id); got != want+" last" {
			t.Errorf("%d bytes of transcript, want %d", len(got), len(want)+5)
		}
	})
}

// Clients all over say things in every way at once. A message that was accepted
// before another one was sent stands before it in the transcript, each once, and
// only those that were interrupted or canceled have no reply.
func TestMessagesOfManyClientsKeepTheOrderOfAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		a := agent.Agent{Definition: agent.Definition{Name: "brief", Concurrency: 16}, Handler: func(ctx context.Context, job *agent.Job) (any, error) {
			select {
			case <-time.After(rand.N(4 * time.Millisecond)):
				return "re " + job.Turn.Text(), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}}
		m.Work(a)
		gateways := m.Gateways()
		time.Sleep(time.Second)
		id := m.Session("brief")
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
					w := meshtest.Call(gateways[rand.IntN(2)], "POST", "/sessions/"+id+"/messages", fmt.Sprintf(`{"text":%q,"on_busy":%q}`, one.text, onBusy), meshtest.Async...)
					one.accepted = time.Now()
					if w.Code == http.StatusAccepted || w.Code == http.StatusOK {
						one.turn = meshtest.Decode[meshtest.TurnView](t, w.Body).TurnID
						mu.Lock()
						all = append(all, one)
						mu.Unlock()
					} else if w.Code != http.StatusConflict {
						t.Errorf("%d %s", w.Code, w.Body)
					}
					if rand.IntN(6) == 0 && one.turn != "" {
						meshtest.Call(gateways[rand.IntN(2)], "POST", "/sessions/"+id+"/turns/"+one.turn+"/cancel", "")
					}
					time.Sleep(rand.N(3 * time.Millisecond))
				}
			})
		}
		clients.Wait()
		m.Idle(id)
		place := map[string]int{}
		for i, msg := range m.Transcript(id) {
			if _, twice := place[msg.Text]; twice {
				t.Errorf("%q is there twice", msg.Text)
			}
			place[msg.Text] = i + 1
			if got := m.Turn(id, string(msg.TurnID)).Status; got != map[bool]string{true: "canceled", false: "completed"}[msg.Interrupted] {
				t.Errorf("%q: interrupted %v, its turn is %s", msg.Text, msg.Interrupted, got)
			}
		}
		for _, x := range all {
			if place[x.text] == 0 {
				t.Errorf("%q is lost: %+v", x.text, m.Turn(id, x.turn))
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

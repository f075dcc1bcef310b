package gateway_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// The stream of a session tells the turns' status, output as it is produced and
// each reply; a reader that resumes gets the replies behind its last one, and a
// session that is deleted ends it.
func TestTheStreamOfASessionTellsItsTurns(t *testing.T) {
	m := meshtest.New(t)
	said := make(chan struct{})
	m.Work(agent.Agent{
		Definition: agent.Definition{Name: "a", Greeting: "Hi", Retry: agent.Retry{MaxAttempts: 1}},
		Handler: func(ctx context.Context, job *agent.Job) (any, error) {
			switch job.Turn.Text() {
			case "fail":
				return nil, agent.Permanent(context.Canceled)
			case "slow":
				job.Output("first ")
				<-said
				job.Output("second")
			}
			return "re " + job.Turn.Text(), nil
		},
	})
	srv, _ := m.Serve()
	id := m.Session("a")
	events, stop := meshtest.FollowSession(t, srv.URL, id, "")
	defer stop()

	turn := m.Say(http.StatusAccepted, id, "slow", "Prefer", "respond-async")
	line, e := meshtest.ReadUntil(t, events, "output first ")
	if !strings.HasPrefix(line, "pending") || e.Data.TurnID != "" && e.Data.TurnID != turn.TurnID {
		t.Errorf("%s: %+v", line, e)
	}
	close(said)
	line, e = meshtest.ReadUntil(t, events, "reply")
	if !strings.Contains(line, "output second") || !strings.HasSuffix(line, "completed, reply") ||
		e.Data.Message != "re slow" || e.Data.TurnID != turn.TurnID || e.Data.SessionID != id || e.ID != "3" {
		t.Errorf("%s: %+v", line, e)
	}
	failed := m.Say(http.StatusOK, id, "fail")
	line, e = meshtest.ReadUntil(t, events, "failed")
	if !strings.HasPrefix(line, "pending") || e.Data.TurnID != failed.TurnID || e.Data.Error == nil {
		t.Errorf("%s: %+v", line, e)
	}
	var quick []string
	for range 3 { // turns that are quicker than the reader
		quick = append(quick, m.PostMessage(http.StatusOK, id, `{"text":"quick","on_busy":"wait"}`).TurnID)
	}
	var replies, turns []string // each turn has its events once, in their order
	for len(turns) < 3 || len(replies) < 3 {
		switch e := <-events; {
		case e.Event == "reply":
			replies = append(replies, e.ID+" "+e.Data.TurnID)
		case e.Event == "status" && e.Data.Status == "completed":
			turns = append(turns, e.Data.TurnID)
		}
	}
	if want := []string{"5 " + quick[0], "7 " + quick[1], "9 " + quick[2]}; !slices.Equal(replies, want) || !slices.Equal(turns, quick) {
		t.Errorf("replies %v, turns %v, want %v", replies, turns, want)
	}

	resumed, stop := meshtest.FollowSession(t, srv.URL, id, "3")
	defer stop()
	for _, want := range []string{"5", "7", "9"} {
		if _, e := meshtest.ReadUntil(t, resumed, "reply"); e.ID != want {
			t.Errorf("resumed with %+v, want %s", e, want)
		}
	}
	future, stop := meshtest.FollowSession(t, srv.URL, id, "99999999999999999999")
	defer stop()
	if w := m.Do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
		t.Fatalf("DELETE = %d", w.Code)
	}
	for name, stream := range map[string]<-chan meshtest.SessionEvent{"first": events, "resumed": resumed, "future": future} {
		if _, e := meshtest.ReadUntil(t, stream, "closed"); e.Data.Reason != "deleted" {
			t.Errorf("%s: %+v", name, e)
		}
		if e, open := <-stream; open {
			t.Errorf("%s: %+v after the end", name, e)
		}
	}
}

// The turns of a queue come one after the other, in their order, those that were
// canceled while they waited too.
func TestTheStreamTellsTurnsThatWaitInTheirOrder(t *testing.T) {
	m := meshtest.New(t)
	var a meshtest.Slow
	m.Work(a.Agent(agent.Definition{Name: "slow"}))
	srv, _ := m.Serve()
	id := m.Session("slow")
	events, stop := meshtest.FollowSession(t, srv.URL, id, "")
	defer stop()
	turns := []meshtest.TurnView{m.Say(http.StatusAccepted, id, "wait A", meshtest.Async...)}
	meshtest.ReadUntil(t, events, "processing")
	for _, text := range []string{"B", "C", "D"} {
		turns = append(turns, meshtest.Enqueue(t, m.Gateway.Handler(), id, text, "wait"))
	}
	for _, canceled := range []int{1, 2} {
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+turns[canceled].TurnID+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
	}
	a.Release <- struct{}{}
	want := []string{"completed " + turns[0].TurnID, "reply " + turns[0].TurnID, "canceled " + turns[1].TurnID, "canceled " + turns[2].TurnID, "completed " + turns[3].TurnID, "reply " + turns[3].TurnID}
	var got []string
	for e := range events {
		switch {
		case e.Event == "reply":
			got = append(got, "reply "+e.Data.TurnID)
		case e.Data.Status == "completed" || e.Data.Status == "canceled":
			got = append(got, e.Data.Status+" "+e.Data.TurnID)
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// sessionEvent is one event of a session's stream as it comes over the wire.
type sessionEvent struct {
	id, event string
	data      struct {
		SessionID string `json:"session_id"`
		TurnID    string `json:"turn_id"`
		Status    string
		Message   string
		Text      string
		Reason    string
		Error     *task.Error
	}
}

// follow reads a session's stream; the channel closes with it.
func follow(t *testing.T, base, id, after string) (<-chan sessionEvent, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/sessions/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET events = %v, %v", resp, err)
	}
	events := make(chan sessionEvent, 1000)
	go func() {
		defer close(events)
		defer func() { _ = resp.Body.Close() }()
		scanEvents(resp.Body, func(id, event, data string) {
			e := sessionEvent{id: id, event: event}
			_ = json.Unmarshal([]byte(data), &e.data)
			events <- e
		})
	}()
	return events, cancel
}

// until reads events up to one of a kind, and returns them as a line.
func until(t *testing.T, events <-chan sessionEvent, last string) (line string, e sessionEvent) {
	t.Helper()
	var kinds []string
	for e := range events {
		kind := e.event
		switch e.event {
		case "status":
			kind = e.data.Status
		case "output":
			kind = "output " + e.data.Text
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
		if e.event == last || kind == last {
			return strings.Join(kinds, ", "), e
		}
	}
	t.Fatalf("the stream ends after %v without %s", kinds, last)
	return "", sessionEvent{}
}

// The stream of a session tells the turns' status, output as it is produced and
// each reply; a reader that resumes gets the replies behind its last one, and a
// session that is deleted ends it.
func TestSessionEvents(t *testing.T) {
	m := newMesh(t)
	said := make(chan struct{})
	m.work(agent.Agent{
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
	srv, _ := m.serve()
	id := m.session("a")
	events, stop := follow(t, srv.URL, id, "")
	defer stop()

	turn := m.say(http.StatusAccepted, id, "slow", "Prefer", "respond-async")
	line, e := until(t, events, "output first ")
	if !strings.HasPrefix(line, "pending") || e.data.TurnID != "" && e.data.TurnID != turn.TurnID {
		t.Errorf("%s: %+v", line, e)
	}
	close(said)
	line, e = until(t, events, "reply")
	if !strings.Contains(line, "output second") || !strings.HasSuffix(line, "completed, reply") ||
		e.data.Message != "re slow" || e.data.TurnID != turn.TurnID || e.data.SessionID != id || e.id != "3" {
		t.Errorf("%s: %+v", line, e)
	}
	failed := m.say(http.StatusOK, id, "fail")
	line, e = until(t, events, "failed")
	if !strings.HasPrefix(line, "pending") || e.data.TurnID != failed.TurnID || e.data.Error == nil {
		t.Errorf("%s: %+v", line, e)
	}
	var quick []string
	for range 3 { // turns that are quicker than the reader
		quick = append(quick, m.post(http.StatusOK, id, `{"text":"quick","on_busy":"wait"}`).TurnID)
	}
	var replies, turns []string // each turn has its events once, in their order
	for len(turns) < 3 || len(replies) < 3 {
		switch e := <-events; {
		case e.event == "reply":
			replies = append(replies, e.id+" "+e.data.TurnID)
		case e.event == "status" && e.data.Status == "completed":
			turns = append(turns, e.data.TurnID)
		}
	}
	if want := []string{"5 " + quick[0], "7 " + quick[1], "9 " + quick[2]}; !slices.Equal(replies, want) || !slices.Equal(turns, quick) {
		t.Errorf("replies %v, turns %v, want %v", replies, turns, want)
	}

	resumed, stop := follow(t, srv.URL, id, "3")
	defer stop()
	for _, want := range []string{"5", "7", "9"} {
		if _, e := until(t, resumed, "reply"); e.id != want {
			t.Errorf("resumed with %+v, want %s", e, want)
		}
	}
	future, stop := follow(t, srv.URL, id, "99999999999999999999")
	defer stop()
	if w := m.do("DELETE", "/sessions/"+id, ""); w.Code != http.StatusNoContent {
		t.Fatalf("DELETE = %d", w.Code)
	}
	for name, stream := range map[string]<-chan sessionEvent{"first": events, "resumed": resumed, "future": future} {
		if _, e := until(t, stream, "closed"); e.data.Reason != "deleted" {
			t.Errorf("%s: %+v", name, e)
		}
		if e, open := <-stream; open {
			t.Errorf("%s: %+v after the end", name, e)
		}
	}
}

// The turns of a queue come one after the other, in their order, those that were
// canceled while they waited too.
func TestSessionEventsOfTurnsThatWait(t *testing.T) {
	m := newMesh(t)
	var a slow
	m.work(a.agent(agent.Definition{Name: "slow"}))
	srv, _ := m.serve()
	id := m.session("slow")
	events, stop := follow(t, srv.URL, id, "")
	defer stop()
	turns := []turnView{m.say(http.StatusAccepted, id, "wait A", async...)}
	until(t, events, "processing")
	for _, text := range []string{"B", "C", "D"} {
		turns = append(turns, enqueue(t, m.g.Handler(), id, text, "wait"))
	}
	for _, canceled := range []int{1, 2} {
		if w := m.do("POST", "/sessions/"+id+"/turns/"+turns[canceled].TurnID+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
	}
	a.release <- struct{}{}
	want := []string{"completed " + turns[0].TurnID, "reply " + turns[0].TurnID, "canceled " + turns[1].TurnID, "canceled " + turns[2].TurnID, "completed " + turns[3].TurnID, "reply " + turns[3].TurnID}
	var got []string
	for e := range events {
		switch {
		case e.event == "reply":
			got = append(got, "reply "+e.data.TurnID)
		case e.data.Status == "completed" || e.data.Status == "canceled":
			got = append(got, e.data.Status+" "+e.data.TurnID)
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

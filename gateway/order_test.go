package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// heard is what a stream of events says, an event a line, and its ids.
type heard struct{ lines, ids []string }

// hear reads a stream of a task's events to its end, and calls begun when it
// has the first.
func hear(m *meshtest.Mesh, url string, begun func()) (got heard) {
	resp, err := http.Get(url)
	if err != nil {
		m.T.Error(err)
		return got
	}
	defer func() { _ = resp.Body.Close() }()
	fields := map[string]string{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if line := lines.Text(); line != "" {
			name, value, _ := strings.Cut(line, ": ")
			fields[name] = value
			continue
		}
		if fields["event"] != "" {
			got.add(fields)
			begun()
			begun = func() {}
		}
		clear(fields)
	}
	return got
}

func (got *heard) add(fields map[string]string) {
	var data struct {
		Status, Name, Text, Progress string
		Attempt                      int
	}
	line := fields["event"]
	if err := json.Unmarshal([]byte(fields["data"]), &data); err != nil {
		line = err.Error()
	}
	switch line {
	case "output":
		line = fmt.Sprintf("output %d %s", data.Attempt, data.Text)
	case "milestone":
		line += " " + data.Name
	case "progress":
		line += " " + data.Progress
	case "status":
		line = data.Status
	}
	got.lines = append(got.lines, line)
	if fields["id"] != "" {
		got.ids = append(got.ids, fields["event"]+" "+fields["id"])
	}
}

// A reader, live or later, hears of everything in the agent's order, the output
// of each attempt with its number, and each event under the same id.
func TestEventsHaveTheAgentsOrderLiveAndLater(t *testing.T) {
	m := meshtest.New(t)
	srv, _ := m.Serve()
	listening := make(chan struct{})
	a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		if job.Attempt == 1 {
			<-listening
		}
		n := job.Attempt
		job.Output(fmt.Sprintf("first %d;", n))
		job.Progress(10*n, "begun")
		if err := job.Milestone(ctx, fmt.Sprintf("m%d", n), "", nil); err != nil {
			return nil, err
		}
		job.Output(fmt.Sprintf("last %d;", n))
		if n == 1 {
			return nil, errors.New("again")
		}
		return "done", nil
	})
	a.Retry.Backoff = 1
	m.Work(a)
	id := m.Create(`{"agent":"a","instruction":"x"}`)
	url := srv.URL + "/tasks/" + id + "/events"
	live := make(chan heard, 1)
	go func() { live <- hear(m, url, func() { close(listening) }) }()
	now, later := <-live, hear(m, url, func() {})
	want := []string{
		"pending", "processing", "output 1 first 1;", "progress 10%", "milestone m1", "output 1 last 1;", "pending",
		"processing", "output 2 first 2;", "progress 20%", "milestone m2", "output 2 last 2;", "completed",
	}
	if !slices.Equal(now.lines, want) {
		t.Errorf("live: %q\nwant  %q", now.lines, want)
	}
	for _, line := range later.lines { // progress is kept as its newest only
		if !slices.Contains(want, line) {
			t.Errorf("later: %q in %q", line, later.lines)
		}
	}
	without := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.HasPrefix(s, "progress") })
	if !slices.Equal(later.lines, without) {
		t.Errorf("later: %q\nwant   %q", later.lines, without)
	}
	for _, id := range later.ids {
		if !slices.Contains(now.ids, id) {
			t.Errorf("later there is the id %q, live there were %q", id, now.ids)
		}
	}
	list := meshtest.Decode[api.EventList](t, m.Do("GET", "/tasks/"+id+"/events", "", "Accept", "application/json").Body)
	for _, e := range list.Events {
		if id := fmt.Sprint(e.Type, " ", e.ID); e.Type != "progress" && e.Type != "milestone" && !slices.Contains(now.ids, id) {
			t.Errorf("the history has the id %q, live there were %q", id, now.ids)
		}
	}
}

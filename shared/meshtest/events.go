package meshtest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/worker/agent"
)

// TaskEvent is one event as it comes over the wire.
type TaskEvent struct {
	ID, Event string
	Data      client.Task
	Raw       string
}

// FollowTask reads a task's stream from after an event; the channel closes with it.
func FollowTask(t *testing.T, base, id, after string) (<-chan TaskEvent, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/tasks/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("content type %q", resp.Header.Get("Content-Type"))
	}
	events := make(chan TaskEvent, 1000)
	go func() {
		defer close(events)
		defer func() { _ = resp.Body.Close() }()
		ScanEvents(resp.Body, func(id, event, data string) {
			e := TaskEvent{ID: id, Event: event, Raw: data}
			_ = json.Unmarshal([]byte(data), &e.Data)
			events <- e
		})
	}()
	return events, cancel
}

// ScanEvents reads server-sent events to the end of r.
func ScanEvents(r io.Reader, f func(id, event, data string)) {
	var id, event, data string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if event != "" {
				f(id, event, data)
			}
			id, event, data = "", "", ""
		}
	}
}

// Steps is an agent that goes on when the test says so.
func Steps(next <-chan string) agent.Agent {
	a := Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
		for {
			var step string
			select {
			case step = <-next:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			switch {
			case strings.HasPrefix(step, "m"):
				if err := job.Milestone(ctx, step, "reached", nil); err != nil {
					return nil, err
				}
			case strings.HasPrefix(step, "p"):
				n, _ := strconv.Atoi(step[1:])
				job.Progress(n, step)
			case strings.HasPrefix(step, "o"):
				job.Output(step + "\n")
			case step == "fail":
				return nil, &agent.Error{Message: "as told"}
			case step == "end":
				return "done", nil
			}
		}
	})
	a.Retry = agent.Retry{MaxAttempts: 3, Backoff: 1, MaxBackoff: 1}
	return a
}

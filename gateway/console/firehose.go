package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"agentmesh/gateway/client"
)

// firehoseScreen is the events of all tasks, as they happen.
var firehoseScreen = screen{name: "firehose", path: "/firehose", title: "Firehose", load: loadFirehose, live: []string{"firehose-rows"}, pours: pourEvents}

// firehosePage is the filter of the events.
type firehosePage struct {
	Type, Agent, Label string
	Types              []string
	Events             []told
}

// told is one event.
type told struct {
	ID, Type string
	At       time.Time
	Data     json.RawMessage
	TaskID   string
	Agent    string
	Status   string
	Says     string
}

func loadFirehose(v *visit) (any, error) {
	return &firehosePage{Type: v.q("type"), Agent: v.q("agent"), Label: v.q("label"), Types: eventTypes}, nil
}

// toldOf reads an event as webhooks get it.
func toldOf(e client.MeshEvent) told {
	var data struct {
		Timestamp  time.Time       `json:"timestamp"`
		TaskID     string          `json:"task_id"`
		ActionID   string          `json:"action_id"`
		ScheduleID string          `json:"schedule_id"`
		Agent      string          `json:"agent"`
		Status     string          `json:"status"`
		Message    json.RawMessage `json:"message"`
		Milestone  json.RawMessage `json:"milestone"`
		Error      struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(e.Data, &data) // what it does not have is not shown
	var says string
	_ = json.Unmarshal(data.Message, &says)
	return told{ID: e.ID, Type: e.Type, At: data.Timestamp, Data: e.Data, TaskID: firstOf(data.TaskID, data.ActionID), Agent: data.Agent, Status: data.Status, Says: firstOf(data.Error.Code, says)}
}

// pourEvents sends the events of the mesh to a browser, those of a moment together. A
// browser that comes again goes on after the last one that it has.
func pourEvents(ctx context.Context, v *visit, out stream) error {
	f := client.MeshFilter{After: firstOf(v.r.Header.Get("Last-Event-ID"), v.q("after"))}
	if t := v.q("type"); t != "" {
		f.Types = strings.Split(t, ",")
	}
	if a := v.q("agent"); a != "" {
		f.Agents = strings.Split(a, ",")
	}
	if k, val, ok := strings.Cut(v.q("label"), "="); ok {
		f.Labels = map[string]string{k: val}
	}
	events := make(chan told)
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() {
		defer close(events)
		for e, err := range v.api.MeshEvents(ctx, f) {
			if err != nil || len(e.Data) == 0 {
				if err != nil {
					return
				}
				continue
			}
			select {
			case events <- toldOf(e):
			case <-ctx.Done():
				return
			}
		}
	})
	return batches(v, ctx, events, out)
}

// batches sends what comes, at most once in the console's pace.
func batches(v *visit, ctx context.Context, events <-chan told, out stream) error {
	var batch []told
	pace := time.NewTicker(v.c.pace)
	defer pace.Stop()
	quiet := time.NewTicker(heartbeat)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil // the browser comes again
			}
			batch = append(batch, e)
		case <-pace.C:
			if len(batch) == 0 {
				continue
			}
			if err := sendBatch(v, batch, out); err != nil {
				return err
			}
			batch = nil
		case <-quiet.C:
			if err := out.write([]byte(": heartbeat\n\n")); err != nil {
				return err
			}
		}
	}
}

func sendBatch(v *visit, batch []told, out stream) error {
	last := ""
	for _, e := range batch {
		last = firstOf(e.ID, last)
	}
	slices.Reverse(batch)
	p := &page{Screen: "firehose", Body: &firehosePage{Events: batch}}
	v.fill(p)
	html, err := v.region(p, "firehose-rows")
	if err != nil {
		return fmt.Errorf("render events: %w", err)
	}
	return out.send("", last, partial("firehose-rows", "afterbegin", bytes.TrimSpace(html)))
}

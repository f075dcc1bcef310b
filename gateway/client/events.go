package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tmaxmax/go-sse"

	"agentmesh/gateway/api"
)

// Event is one thing that happened to a task.
type Event struct {
	ID   string // resumes after it; empty for output, steps and reasoning
	Type string // status, progress, milestone, output, step or reasoning
	Data json.RawMessage

	Task      *Task      // of status and progress events
	Milestone *Milestone // of milestone events
	Output    string     // of output events: text not seen before
	Step      *Step      // of step events, without its value: told once, while it happens
	Reasoning string     // of reasoning events: what a model thinks, told once, while it happens
}

// maxEvent bounds one event: a record at its limits, with room.
const maxEvent = 8 << 20

// errStreamEnded is a stream that ended before the task did.
var errStreamEnded = errors.New("event stream ended early")

// Events follows a task until it has finished. A broken connection is taken up
// again where it was; after some time without any success the error is yielded
// and the sequence ends.
func (c Tasks) Events(ctx context.Context, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := &follower{stream: stream{c: c.wire, path: "/tasks/" + url.PathEscape(id) + "/events"}}
		err := f.read(ctx, func(raw sse.Event) (more bool) {
			e, ok := f.decode(raw)
			return (!ok || yield(e, nil)) && (e.Type != "status" || e.Task == nil || !e.Task.Done)
		})
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// stream is a stream of events, over as many connections as it takes.
type stream struct {
	c     *wire
	path  string
	last  string // id of the event to go on after
	fails int    // since the last event
}

// read gives each event to take until that has enough or nothing more will come.
// After some time without success it returns the error.
func (s *stream) read(ctx context.Context, take func(sse.Event) (more bool)) error {
	for {
		ended, err := s.connect(ctx, take)
		if ended {
			return nil
		}
		pause, again := repeatable(err)
		s.fails++
		if !again && !errors.Is(err, errStreamEnded) || s.fails > 20 || !sleep(ctx, max(pause, min(time.Duration(s.fails)*100*time.Millisecond, 2*time.Second))) {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return err
		}
	}
}

// connect reads one connection.
func (s *stream) connect(ctx context.Context, take func(sse.Event) (more bool)) (ended bool, err error) {
	h := http.Header{"Accept": {"text/event-stream"}}
	if s.last != "" {
		h.Set("Last-Event-ID", s.last)
	}
	resp, err := s.c.do(ctx, http.MethodGet, s.path, h, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		return true, nil
	}
	for raw, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return false, err
		}
		s.fails = 0
		if !take(raw) {
			return true, nil
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return false, errStreamEnded
}

// follower remembers where a reader of a task is.
type follower struct {
	stream
	output int64           // bytes of output seen
	same   map[string]bool // events of the newest id
}

// decode reads an event; ok is false when it brings nothing new.
func (f *follower) decode(raw sse.Event) (e Event, ok bool) {
	e, ok = decodeEvent(raw, &f.output)
	if id, err := strconv.ParseUint(raw.LastEventID, 10, 64); err == nil && e.Type != "output" && e.Type != "step" && e.Type != "reasoning" {
		ok = f.fresh(id, raw) && ok
		e.ID, f.last = raw.LastEventID, strconv.FormatUint(max(id, f.newest()), 10)
	}
	return e, ok
}

// fresh reports whether an event has not come before, over another connection.
func (f *follower) fresh(id uint64, raw sse.Event) bool {
	if id < f.newest() {
		return false
	}
	if id > f.newest() || f.same == nil {
		f.same = map[string]bool{}
	}
	what := raw.Type + " " + raw.Data
	before := f.same[what]
	f.same[what] = true
	return !before
}

// newest is the id of the event that the reader is behind, 0: none.
func (f *follower) newest() uint64 {
	id, _ := strconv.ParseUint(f.last, 10, 64)
	return id
}

// decodeEvent reads an event of a task of which this much output was seen.
func decodeEvent(raw sse.Event, output *int64) (e Event, ok bool) {
	e = Event{Type: raw.Type, Data: json.RawMessage(raw.Data)}
	switch raw.Type {
	case "status", "progress":
		e.Task = &Task{}
		ok = json.Unmarshal(e.Data, e.Task) == nil
	case "milestone":
		e.Milestone = &Milestone{}
		ok = json.Unmarshal(e.Data, e.Milestone) == nil
	case "step":
		e.Step = &Step{}
		ok = json.Unmarshal(e.Data, e.Step) == nil
	case "reasoning":
		var thought api.Reasoning
		ok = json.Unmarshal(e.Data, &thought) == nil
		e.Reasoning = thought.Text
	case "output":
		var chunk api.Output
		if json.Unmarshal(e.Data, &chunk) != nil {
			return e, false
		}
		seen := *output - chunk.Offset
		if seen >= int64(len(chunk.Text)) {
			return e, false
		}
		e.Output = chunk.Text[max(seen, 0):]
		*output = chunk.Offset + int64(len(chunk.Text))
		ok = true
	}
	return e, ok
}

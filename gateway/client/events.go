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
)

// Event is one thing that happened to a task.
type Event struct {
	ID   string // resumes after it; empty for output
	Type string // status, progress, milestone or output
	Data json.RawMessage

	Task      *Task      // of status and progress events
	Milestone *Milestone // of milestone events
	Output    string     // of output events: text not seen before
}

// maxEvent bounds one event: a record at its limits, with room.
const maxEvent = 8 << 20

// errStreamEnded is a stream that ended before the task did.
var errStreamEnded = errors.New("event stream ended early")

// Events follows a task until it has finished. A broken connection is taken up
// again where it was; after some time without any success the error is yielded
// and the sequence ends.
func (c *Client) Events(ctx context.Context, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := &follower{c: c, id: id}
		for {
			err := f.stream(ctx, yield)
			if err == nil || f.stopped {
				return
			}
			pause, again := repeatable(err)
			if errors.Is(err, errStreamEnded) {
				again = true
			}
			f.fails++
			if !again || f.fails > 20 || !sleep(ctx, max(pause, min(time.Duration(f.fails)*100*time.Millisecond, 2*time.Second))) {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(Event{}, err)
				return
			}
		}
	}
}

// follower remembers where a reader is.
type follower struct {
	c       *Client
	id      string
	last    string // id of the last event
	output  int64  // bytes of output seen
	fails   int
	stopped bool // the caller has had enough
}

// stream reads one connection. It returns nil when the task has finished.
func (f *follower) stream(ctx context.Context, yield func(Event, error) bool) error {
	h := http.Header{"Accept": {"text/event-stream"}}
	if f.last != "" {
		h.Set("Last-Event-ID", f.last)
	}
	resp, err := f.c.do(ctx, http.MethodGet, "/tasks/"+url.PathEscape(f.id)+"/events", h, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	for raw, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return err
		}
		f.fails = 0
		e, ok := f.read(raw)
		if ok && !yield(e, nil) {
			f.stopped = true
			return nil
		}
		if e.Type == "status" && e.Task != nil && e.Task.Done {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errStreamEnded
}

// read decodes an event; ok is false when it brings nothing new.
func (f *follower) read(raw sse.Event) (e Event, ok bool) {
	e = Event{Type: raw.Type, Data: json.RawMessage(raw.Data)}
	switch raw.Type {
	case "status", "progress":
		e.Task = &Task{}
		ok = json.Unmarshal(e.Data, e.Task) == nil
	case "milestone":
		e.Milestone = &Milestone{}
		ok = json.Unmarshal(e.Data, e.Milestone) == nil
	case "output":
		var chunk struct {
			Offset int64  `json:"offset"`
			Text   string `json:"text"`
		}
		if json.Unmarshal(e.Data, &chunk) != nil {
			return e, false
		}
		seen := f.output - chunk.Offset
		if seen >= int64(len(chunk.Text)) {
			return e, false
		}
		e.Output = chunk.Text[max(seen, 0):]
		f.output = chunk.Offset + int64(len(chunk.Text))
		return e, true
	}
	if _, err := strconv.ParseUint(raw.LastEventID, 10, 64); err == nil {
		e.ID, f.last = raw.LastEventID, raw.LastEventID
	}
	return e, ok
}

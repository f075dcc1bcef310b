package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/problem"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// allEvents is GET /events: the events of all tasks of the tenant, as webhooks
// get them, in the order in which the records changed. A reader that resumes may
// get an event twice, and misses none that the records still tell. All readers
// share what the gateway reads.
func (g *Gateway) allEvents(w http.ResponseWriter, r *http.Request) error {
	f, err := firehoseFilter(r)
	if err != nil {
		return err
	}
	after := resumeAfter(r)
	changes, err := g.mesh.Tasks.Changes(r.Context(), callerOf(r), after)
	if err != nil {
		return err
	}
	defer changes.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, control: http.NewResponseController(w)}
	// The first id lets a reader that was cut before its first event resume.
	if s.write(fmt.Appendf(nil, "retry: %d\nid: %d\n\n", reconnectAfter.Milliseconds(), changes.Start())) != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.closing, cancel)()
	hose := firehose{filter: f, base: event.Base(g.cfg.PublicURL), start: changes.Start(), seen: map[string]uint64{}}
	for {
		window, done := context.WithTimeout(ctx, heartbeatEvery)
		t, err := changes.Next(window)
		done()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			if s.write([]byte(": heartbeat\n\n")) != nil {
				return nil
			}
			continue
		case errors.Is(err, task.ErrUnavailable):
			return nil // the reader resumes
		case err != nil:
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		events, err := hose.events(t)
		if err != nil {
			g.log.Error("events left out, they do not encode", "task", t.ID, "error", err)
			continue
		}
		for i, e := range events {
			id := ""
			if i == len(events)-1 {
				id = "id: " + strconv.FormatUint(t.Rev, 10) + "\n"
			}
			if s.write(fmt.Appendf(nil, "event: %s\n%sdata: %s\n\n", e.Type, id, e.Body)) != nil {
				return nil
			}
		}
	}
}

// firehose reads events from changes of records. Revisions may be missing where
// the reader was away for long; the records tell what happened in them.
type firehose struct {
	filter event.Filter
	base   event.Base
	start  uint64            // the reader has seen what came up to here
	seen   map[string]uint64 // last revision of each task that has not finished
}

func (h *firehose) events(t *task.Task) ([]event.Event, error) {
	seen, known := h.seen[t.ID]
	if !known && t.Annotation() {
		return nil, nil // the outcome was told by the revision before
	}
	if t.Status.Terminal() {
		delete(h.seen, t.ID)
	} else {
		h.seen[t.ID] = t.Rev
	}
	all, err := h.base.Of(t, seen, func(name event.Type) bool { return h.filter.Match(name, t.Agent) })
	if err != nil {
		return nil, err
	}
	if !known {
		seen = t.Replaces
		if seen > h.start { // revisions between are missing
			seen = 0
			for _, e := range all { // the last event that may have come before, and not those before it
				if e.After <= h.start {
					seen = e.After
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(e event.Event) bool { return e.After < seen }), nil
}

func firehoseFilter(r *http.Request) (f event.Filter, err error) {
	q := r.URL.Query()
	for _, list := range q["type"] {
		for name := range strings.SplitSeq(list, ",") {
			if !event.Type(name).Valid() {
				return f, mesh.Refuse(problem.ErrBadQuery, "type is %q, allowed are %v, several separated by commas.", mesh.Clip(name, 64), event.Types())
			}
			f.Types = append(f.Types, event.Type(name))
		}
	}
	for _, list := range q["agent"] {
		for name := range strings.SplitSeq(list, ",") {
			if !task.ValidAgent(name) {
				return f, mesh.Refuse(problem.ErrBadQuery, "agent is %q, names match [a-z0-9-]{1,40}.", mesh.Clip(name, 64))
			}
			f.Agents = append(f.Agents, name)
		}
	}
	if len(f.Types) == 0 {
		f.Types = event.Types()
	}
	return f, nil
}

// resumeAfter reads where a reader wants to go on; nil: with what is new. Any
// other text than a number is ignored, as a stream of one task does.
func resumeAfter(r *http.Request) *uint64 {
	s := r.Header.Get("Last-Event-ID")
	if s == "" {
		s = r.URL.Query().Get("after")
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return &n
	}
	return nil
}

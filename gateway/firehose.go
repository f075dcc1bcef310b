package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// feed is the events of all tasks.
type feed struct {
	mesh    *mesh.Mesh
	log     *slog.Logger
	links   links
	closing context.Context // done when streams should end
}

func (h feed) routes() []route {
	return []route{
		operation("GET", "/events", auth.EventsRead, "allEvents", "Follow the events of all tasks", h.allEvents),
	}
}

// following asks for the events of all tasks.
type following struct {
	request
	Types  []string          `query:"type,list" doc:"One or more types of events, separated by commas or repeated, such as task.completed."`
	Agents []string          `query:"agent,list" doc:"One or more agents, separated by commas or repeated."`
	Labels map[string]string `query:"label.{key}" doc:"Events of tasks with this value of the label, such as label.team=search."`
	resumed
}

// allEvents is GET /events: the events of all tasks of the tenant, as webhooks
// get them, in the order in which the records changed, and of its schedules. A reader that resumes may
// get an event twice, and misses none that the records still tell. All readers
// share what the gateway reads.
func (h feed) allEvents(ctx context.Context, in following) (out followed, err error) {
	f, err := in.filter()
	if err != nil {
		return out, err
	}
	if err := in.hold(mesh.HeldStream); err != nil {
		return out, err
	}
	rev, since := in.place()
	changes, err := h.mesh.Tasks.Changes(ctx, in.caller(), rev)
	if err != nil {
		return out, err
	}
	return followed{Stream: func(w http.ResponseWriter, _ *http.Request) {
		defer changes.Close()
		s := newStream(w)
		tail := newScheduleTail(h.mesh, in.caller(), f, since)
		if s.beginAt(tail.place(changes.Start())) != nil {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(h.closing, cancel)()
		hose := &firehose{filter: f, links: h.links, start: changes.Start(), seen: map[task.ID]uint64{}}
		h.pour(ctx, changes, hose, tail, s)
	}}, nil
}

// pour sends the events of changes until the reader or the gateway ends.
func (h feed) pour(ctx context.Context, changes *store.Changes, hose *firehose, tail *scheduleTail, s stream) {
	wait, rev, beat := heartbeatEvery, changes.Start(), time.Now()
	if tail != nil {
		wait = tailEvery
	}
	for {
		if tail != nil && time.Since(tail.looked) >= tailEvery {
			found, err := tail.look(ctx)
			if err != nil && ctx.Err() == nil {
				h.log.Debug("schedules not looked at, trying again", "error", err)
			}
			if s.told(tail.place(rev), found) != nil {
				return
			}
		}
		window, done := context.WithTimeout(ctx, wait)
		t, err := changes.Next(window)
		done()
		switch {
		case ctx.Err() != nil, errors.Is(err, task.ErrUnavailable):
			return // the reader resumes
		case errors.Is(err, context.DeadlineExceeded):
			if time.Since(beat) >= heartbeatEvery {
				if beat = time.Now(); s.write([]byte(": heartbeat\n\n")) != nil {
					return
				}
			}
			continue
		case err != nil:
			pause.For(ctx, time.Second)
			continue
		}
		rev = t.Rev
		found, err := hose.events(t)
		if err != nil {
			h.log.Error("events left out, they do not encode", "task", t.ID, "error", err)
			continue
		}
		if s.told(tail.place(rev), found) != nil {
			return
		}
	}
}

// told sends the events of one change. The last one has its id.
func (s stream) told(place string, found []event.Event) error {
	for i, e := range found {
		id := ""
		if i == len(found)-1 {
			id = "id: " + place + "\n"
		}
		if err := s.write(fmt.Appendf(nil, "event: %s\n%sdata: %s\n\n", e.Type, id, e.Body)); err != nil {
			return err
		}
	}
	return nil
}

// firehose reads events from changes of records. Revisions may be missing where
// the reader was away for long; the records tell what happened in them.
type firehose struct {
	filter event.Filter
	links  links
	start  uint64             // the reader has seen what came up to here
	seen   map[task.ID]uint64 // last revision of each task that has not finished
}

func (h *firehose) events(t *task.Task) ([]event.Event, error) {
	if !h.filter.Concerns(t.Labels) {
		return nil, nil
	}
	seen, known := h.seen[t.ID]
	if !known && t.Annotation() {
		return nil, nil // the outcome was told by the revision before
	}
	if t.Status.Terminal() {
		delete(h.seen, t.ID)
	} else {
		h.seen[t.ID] = t.Rev
	}
	all, err := event.Of(t, seen, func(name event.Type) bool { return h.filter.Match(name, t.Agent) }, h.links.result)
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

func (in following) filter() (f event.Filter, err error) {
	for _, name := range in.Types {
		if !event.Type(name).Valid() {
			return f, mesh.Refuse(problem.ErrBadQuery, "type is %q, allowed are %v, several separated by commas.", mesh.Clip(name, 64), event.Types())
		}
		f.Types = append(f.Types, event.Type(name))
	}
	for _, name := range in.Agents {
		if !task.ValidAgent(name) {
			return f, mesh.Refuse(problem.ErrBadQuery, "agent is %q, names match [a-z0-9-]{1,40}.", mesh.Clip(name, 64))
		}
		f.Agents = append(f.Agents, name)
	}
	if f.Labels = in.Labels; len(f.Types) == 0 {
		f.Types = event.Types()
	}
	return f, nil
}

package gateway

import (
	"context"
	"net/http"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// taskFollowing asks for the events of a task.
type taskFollowing struct {
	request
	ofTask
	resumed
	Accept string `header:"Accept" doc:"text/event-stream (default) or application/json for the history."`
}

// taskFollowed is its answer.
type taskFollowed struct {
	History *api.EventList `status:"200"`
	Ended   bool           `status:"204" doc:"The reader has had all events: there is nothing to reconnect for."`
	Stream  events         `status:"200" doc:"The events, as a stream that closes after the terminal status or as a list."`
	_       struct{}       `header:"Vary: Accept"`
}

// taskEvents is GET /tasks/{id}/events: the history as JSON, or a stream of
// server-sent events that goes on until the terminal one.
func (h tasks) taskEvents(ctx context.Context, in taskFollowing) (out taskFollowed, err error) {
	l := in.links()
	if !wantsStream(in.Accept) {
		t, steps, err := h.mesh.Journals.Whole(ctx, in.caller(), task.ID(in.ID))
		if err != nil {
			return out, err
		}
		return taskFollowed{History: &api.EventList{Events: history(l, t, steps)}}, nil
	}
	if err := in.hold(mesh.HeldStream); err != nil {
		return out, err
	}
	watch, t, err := h.mesh.Tasks.Watch(ctx, in.caller(), task.ID(in.ID))
	if err != nil {
		return out, err
	}
	seen, resumed := lastEventID(in.number(), t)
	if t.Status.Terminal() && resumed && len(task.Events(t, seen)) == 0 {
		watch.Close()
		return taskFollowed{Ended: true}, nil // tells an EventSource to stop reconnecting
	}
	return taskFollowed{Stream: func(w http.ResponseWriter, _ *http.Request) {
		defer watch.Close()
		s := newStream(w)
		s.id, s.seen = string(t.ID), seen
		s.run(ctx, h.closing, watch, t, resumed)
	}}, nil
}

func wantsStream(accept string) bool {
	return !strings.Contains(accept, "application/json") || strings.Contains(accept, "text/event-stream")
}

// lastEventID reads where a reader wants to go on: the header, or ?after= where
// headers cannot be set. It is untrusted: any other text than a number is
// ignored, and a number from the future is clamped, since waiting for it would be
// silent for ever.
func lastEventID(after *uint64, t *task.Task) (seen uint64, resumed bool) {
	if after == nil {
		return 0, false
	}
	seen = *after
	if seen > t.Rev {
		if n := len(t.Transitions); t.Status.Terminal() && n > 0 {
			return t.Transitions[n-1].After, true // at least the outcome
		}
		return t.Rev, true
	}
	return seen, true
}

package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strings"

	"github.com/tmaxmax/go-sse"
)

// MeshEvent is an event of any task, with the JSON that webhooks get.
type MeshEvent struct {
	ID   string // resumes after it; empty within the events of one change
	Type string // such as "task.completed"
	Data json.RawMessage
}

// MeshFilter chooses events. Empty fields choose all.
type MeshFilter struct {
	Types  []string
	Agents []string
	Labels map[string]string
	After  string // id of an event to go on after; empty: new events only
}

// Query is the filter as the gateway takes it, without After.
func (f MeshFilter) Query() url.Values {
	q := url.Values{}
	for name, all := range map[string][]string{"type": f.Types, "agent": f.Agents} {
		if len(all) > 0 {
			q.Set(name, strings.Join(all, ","))
		}
	}
	for k, v := range f.Labels {
		q.Set("label."+k, v)
	}
	return q
}

// MeshEvents follows the events of all tasks until ctx ends. A broken
// connection is taken up again where it was: an event may come twice, none is
// missed. After some time without success the error is yielded and the sequence
// ends.
func (c *Client) MeshEvents(ctx context.Context, f MeshFilter) iter.Seq2[MeshEvent, error] {
	return func(yield func(MeshEvent, error) bool) {
		s := &stream{c: c.wire, path: "/events?" + f.Query().Encode(), last: f.After}
		err := s.read(ctx, func(raw sse.Event) (more bool) {
			e := MeshEvent{Type: raw.Type, Data: json.RawMessage(raw.Data)}
			if raw.LastEventID != s.last {
				e.ID, s.last = raw.LastEventID, raw.LastEventID
			}
			return len(raw.Data) == 0 || yield(e, nil)
		})
		if err != nil {
			yield(MeshEvent{}, err)
		}
	}
}

package a2a

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// beatEvery is how often a client that waits is shown that somebody is there.
const beatEvery = 15 * time.Second

// settle waits until a task has ended or asks, and returns it as it is then, or when
// the time is over. A client that goes away changes nothing.
func (x *exchange) settle(ctx context.Context, a *mesh.Acceptance) (*task.Task, error) {
	watch, t, err := a.Follow(ctx, x.mesh.Tasks, x.caller())
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Hold)
	defer cancel()
	x.until(ctx, watch, t, func(u store.Update) bool {
		if u.Task != nil {
			t = u.Task
		}
		return !a2aform.Settled(t)
	})
	return t, nil
}

// until calls see with what happens to t until it returns false, ctx ends, the
// gateway closes or the client is gone.
func (x *exchange) until(ctx context.Context, watch *store.Watch, t *task.Task, see func(store.Update) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.cfg.Closing, cancel)()
	rev := t.Rev
	for open := see(store.Update{Task: t}); open; {
		window, done := context.WithTimeout(ctx, beatEvery)
		err := watch.Updates(window, rev, func(u store.Update) bool {
			if u.Task != nil {
				rev = u.Task.Rev
			}
			open = see(u)
			return open
		})
		done()
		if !open || ctx.Err() != nil || errors.Is(err, task.ErrDeleted) || x.reply.beat() != nil {
			return
		}
		if t.Kind == task.KindTurn && rev == 0 { // one that waits in its session goes on
			_, _ = x.mesh.Tasks.Get(ctx, x.caller(), t.ID)
		}
	}
}

// stream is what one reader of a task has been sent.
type stream struct {
	x      *exchange
	ctx    context.Context
	seen   uint64 // revision whose milestones were sent
	shown  shown
	output int64
	// rewinds is how often the agent had taken output back when it was sent.
	rewinds int
	err     error
}

// shown is what a status update says.
type shown struct {
	state   a2a.TaskState
	asks    string
	message string
	percent int
}

func shownOf(t *task.Task) shown {
	s := shown{state: a2aform.State(t), asks: a2aform.OpenKey(t), percent: -1}
	if t.Status == task.Processing {
		if s.message = t.Message; t.Percent != nil {
			s.percent = *t.Percent
		}
	}
	return s
}

// follow sends a task as it is and what happens to it, until enough says so.
func (x *exchange) follow(ctx context.Context, watch *store.Watch, t *task.Task, newest *int, enough func(*task.Task) bool) error {
	if m := a2aform.Direct(t); m != nil {
		return x.reply.event(a2a.StreamResponse{Event: m})
	}
	v, err := x.view(ctx, t, newest, true)
	if err != nil {
		return err
	}
	if err := x.reply.event(a2a.StreamResponse{Event: v}); err != nil {
		return nil // the reader is gone
	}
	s := stream{x: x, ctx: ctx, seen: t.Rev, shown: shownOf(t), output: t.OutputBytes, rewinds: t.OutputRewinds}
	if enough(t) {
		return nil
	}
	x.until(ctx, watch, t, func(u store.Update) bool {
		if u.Task == nil {
			return s.chunk(t, u.Output)
		}
		t = u.Task
		return s.record(t) && !enough(t)
	})
	return s.err
}

func (s *stream) send(e a2a.Event) bool {
	return s.x.reply.event(a2a.StreamResponse{Event: e}) == nil
}

// record sends what is new in a record: milestones, output, then its state.
func (s *stream) record(t *task.Task) bool {
	for _, e := range task.Events(t, s.seen) {
		if e.Type == task.EventMilestone && !s.milestone(t, e.Milestone) {
			return false
		}
	}
	s.seen = max(s.seen, t.Rev)
	if t.OutputRewinds > s.rewinds && !s.rewind(t) || !s.text(t, t.OutputBytes, tail(t, s.output)) {
		return false
	}
	if t.Status.Terminal() && !s.artifacts(t) {
		return false
	}
	now := shownOf(t)
	if now == s.shown {
		return true
	}
	s.shown = now
	return s.send(&a2a.TaskStatusUpdateEvent{TaskID: a2a.TaskID(t.ID), ContextID: a2aform.Context(t), Status: a2aform.Status(t), Metadata: a2aform.Metadata(t)})
}

func (s *stream) milestone(t *task.Task, m task.Milestone) bool {
	return s.send(a2aform.Milestone(t, m))
}

// artifacts sends the output and the result whole.
func (s *stream) artifacts(t *task.Task) bool {
	all, err := s.x.artifacts(s.ctx, t)
	if err != nil {
		s.err = err
		return false
	}
	if a := a2aform.Output(t); a != nil {
		all = append([]*a2a.Artifact{a}, all...)
	}
	for _, a := range all {
		if !s.send(&a2a.TaskArtifactUpdateEvent{TaskID: a2a.TaskID(t.ID), ContextID: a2aform.Context(t), Artifact: a, LastChunk: true}) {
			return false
		}
	}
	return true
}

// tail is the output text behind an offset that a record still has.
func tail(t *task.Task, from int64) string {
	kept := t.OutputBytes - int64(len(t.Output))
	if from = max(from, kept); from >= t.OutputBytes {
		return ""
	}
	return t.Output[from-kept:]
}

// rewind has the reader replace the output, where the agent has taken back what was
// sent, by what the record has.
func (s *stream) rewind(t *task.Task) bool {
	missed := t.OutputRewinds > s.rewinds+1
	s.rewinds = t.OutputRewinds
	if !missed && t.OutputFrom >= s.output {
		return true
	}
	s.output = t.OutputBytes
	a := a2aform.Output(t)
	if a == nil {
		a = &a2a.Artifact{ID: a2aform.OutputID, Name: a2aform.OutputID, Parts: a2a.ContentParts{a2a.NewTextPart("")}}
	}
	return s.send(&a2a.TaskArtifactUpdateEvent{TaskID: a2a.TaskID(t.ID), ContextID: a2aform.Context(t), Artifact: a})
}

// chunk sends live output that follows what was sent; a record fills any gap, and says
// what is void.
func (s *stream) chunk(t *task.Task, raw []byte) bool {
	var c task.OutputChunk
	if json.Unmarshal(raw, &c) != nil || c.Offset > s.output || c.Attempt != t.Attempt || c.Rewinds != s.rewinds || t.Status != task.Processing {
		return true
	}
	if skip := s.output - c.Offset; skip < int64(len(c.Text)) {
		return s.text(t, c.Offset+int64(len(c.Text)), c.Text[skip:])
	}
	return true
}

func (s *stream) text(t *task.Task, end int64, text string) bool {
	if text == "" {
		return true
	}
	s.output = end
	return s.send(&a2a.TaskArtifactUpdateEvent{
		TaskID: a2a.TaskID(t.ID), ContextID: a2aform.Context(t), Append: true,
		Artifact: &a2a.Artifact{ID: a2aform.OutputID, Name: a2aform.OutputID, Parts: a2a.ContentParts{a2a.NewTextPart(text)}},
	})
}

package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// Acceptance is a task that was accepted, now or by an equal request before.
type Acceptance struct {
	TaskID      task.ID    `json:"task_id"`
	SessionID   session.ID `json:"session_id,omitempty"` // of a turn
	Agent       string     `json:"agent"`
	CreatedAt   time.Time  `json:"created_at"`
	RetriedFrom task.ID    `json:"retried_from,omitempty"`
	TraceID     string     `json:"trace_id,omitempty"`
	Warning     string     `json:"warning,omitempty"` // a hint for the caller

	Replayed bool `json:"-"` // the request had been accepted before
	made     bool // by this request

	watch *store.Watch
	task  *task.Task // as this request has made it; nil: it is read
}

// Close ends the watch of an acceptance that was asked for one.
func (a *Acceptance) Close() {
	if a.watch != nil {
		a.watch.Close()
	}
}

// Accept has a task done: it checks what is asked for and writes it once. A
// refusal comes before anything was accepted. The error is task.ErrUnavailable
// when the outcome is unknown: the same submission with the same key tells.
func (c Tasks) Accept(ctx context.Context, who auth.Caller, s *Submission) (*Acceptance, error) {
	parent, err := c.parent(ctx, who, s.Parent)
	if err != nil {
		return nil, err
	}
	if parent != nil {
		s.Key = s.Key.under(parent.ID)
	}
	t, err := c.prepare(ctx, who, s, parent)
	var push *webhook.Push
	if err == nil {
		push, err = Pushes(c).prepare(who, s.Push, s.PushField)
	}
	if err != nil {
		// A repeat gets its first answer even if the agent has changed since.
		if again, err := answers(c).repeated(ctx, who, s.Key); again != nil || err != nil {
			return again, err
		}
		return nil, err
	}
	r, err := c.room(ctx, t, s.Key)
	if err != nil {
		return nil, err
	}
	defer r.settle(false)
	if parent != nil {
		if err := c.adopt(ctx, t, parent, s); err != nil {
			return nil, err
		}
	}
	telemetry.Annotate(ctx, telemetry.TaskID(t.ID))
	before := func(ctx context.Context, t *task.Task) error { return Pushes(c).keep(ctx, t.ID, push, s.Push) }
	a, err := c.accept(ctx, t, s.Input, before, s, &r)
	c.auditMade(ctx, who, audit.TaskCreate, string(t.ID), a, err)
	return a, err
}

// prepare checks a submission and makes its task. All faults of its fields are
// reported together.
func (c Tasks) prepare(ctx context.Context, who auth.Caller, s *Submission, parent *task.Task) (*task.Task, error) {
	t := s.Task(who.Tenant, time.Now())
	faults := s.Check()
	callback, blocked, err := c.callback(ctx, who, s, &faults)
	switch {
	case err != nil:
		return nil, err
	case len(faults) > 0:
		return nil, RefuseFields(faults...)
	case blocked != nil:
		return nil, blocked
	}
	t.Callback = callback
	a, err := c.agents.resolve(ctx, s.Agent)
	if err != nil {
		return nil, err
	}
	t.Agent = a.Name
	if parent != nil {
		if err := putUnder(t, parent, a); err != nil {
			return nil, err
		}
	}
	if s.Input == nil && s.Instruction == "" {
		return nil, RefuseFields(Field("a task needs an input or an instruction", "/input"))
	}
	return t, a.CheckInput(ctx, s.Input)
}

// accept claims the key and queues t: the one path by which every task but a turn
// comes into the mesh. A caller that goes away must not leave it half done.
// s says under which key, and whether it is waited for; r is the room for the task; before stores what must be durable before somebody can
// run it.
func (c Tasks) accept(ctx context.Context, t *task.Task, input json.RawMessage, before func(context.Context, *task.Task) error, s *Submission, r *room) (*Acceptance, error) {
	origin := ctx
	ctx, span := telemetry.StartPublish(ctx, topology.ReadyTemplate, telemetry.TaskID(t.ID), telemetry.MessageID(t.ID))
	ctx = context.WithoutCancel(ctx)
	if t.TraceParent == "" { // a child is in the trace of its parent
		// The creation context is the request's span, not the publish's: it
		// outlives the queue.
		t.TraceParent, t.TraceState = telemetry.TraceParent(origin), telemetry.TraceState(origin)
	}
	a := &Acceptance{TaskID: t.ID, Agent: t.Agent, CreatedAt: t.CreatedAt, RetriedFrom: t.RetriedFrom, TraceID: telemetry.TraceIDOf(t.TraceParent)}
	a.Warning = c.agents.warning(ctx, t.Agent)
	duplicate := false
	err := answers(c).claim(ctx, t.Tenant, s.Key, a, location{})
	if err == nil && !a.Replayed {
		err = r.refusal()
	}
	if err == nil && !a.Replayed {
		t.ID, t.CreatedAt = a.TaskID, a.CreatedAt
		if s.Watch { // before the task exists, so that no outcome is missed
			a.watch, err = c.store.Tasks.Watch(t.Tenant, t.ID, s.Live)
		}
		if err == nil && before != nil {
			err = before(ctx, t)
		}
		if err == nil {
			duplicate, err = c.enqueue(ctx, t, input)
		}
	}
	telemetry.End(span, err)
	if err != nil {
		a.Close()
		return nil, err
	}
	if a.made = !a.Replayed && !duplicate; a.made {
		a.task = t
		r.settle(time.Until(t.NotBefore) <= 0) // one that is scheduled counts when it is due
		telemetry.TasksAccepted.Add(1, t.Agent, string(t.Kind))
	}
	return a, nil
}

// enqueue stores a large input and publishes the task. Each request stores its
// own copy of a large input, so that a repeat in flight cannot tear one that a
// worker reads.
func (c Tasks) enqueue(ctx context.Context, t *task.Task, input json.RawMessage) (duplicate bool, err error) {
	var stored bool
	if input != nil {
		t.Input, err = c.store.Artifacts.Put(ctx, t.Tenant, t.ID, "input-"+uuid.NewString(), input)
		if err != nil {
			return false, err
		}
		stored = t.Input.Object != ""
	}
	t.Bulk = c.crowds.bulk(ctx, t)
	enqueue := c.store.Tasks.Enqueue
	if c.blind {
		enqueue = c.store.Tasks.EnqueueOnce
	}
	duplicate, err = enqueue(ctx, t)
	if stored && (duplicate || errors.Is(err, task.ErrFull)) {
		if drop := c.store.Artifacts.Drop(ctx, t.Input); drop != nil {
			c.log.Debug("spare input not dropped, it expires by itself", "task", t.ID, "error", drop)
		}
	}
	return duplicate, err
}

// Retry runs a failed or canceled task again, as a new one.
func (c Tasks) Retry(ctx context.Context, who auth.Caller, id task.ID, s *Submission) (*Acceptance, error) {
	a, err := c.retry(ctx, who, id, s)
	if err != nil || a.made {
		c.audit(ctx, who, audit.TaskRetry, string(id), err)
	}
	return a, err
}

func (c Tasks) retry(ctx context.Context, who auth.Caller, id task.ID, s *Submission) (*Acceptance, error) {
	old, fork, err := retryable(ctx, c, who, id, s.From)
	if err != nil {
		// A repeat gets its first answer even if the task or its agent has gone since.
		if again, err := answers(c).repeated(ctx, who, s.Key); again != nil || err != nil {
			return again, err
		}
		return nil, err
	}
	t := &task.Task{
		ID: newID(old.Kind), Tenant: who.Tenant, Kind: old.Kind, Agent: old.Agent, Status: task.Pending, Callback: old.Callback,
		Instruction: old.Instruction, Input: old.Input, Labels: old.Labels, Metadata: old.Metadata,
		MaxAttempts: old.MaxAttempts, Timeout: old.Timeout, CreatedAt: task.Stamp(time.Now()), RetriedFrom: old.ID,
		EventDepth: max(old.EventDepth, s.EventDepth),
	}
	r, err := c.room(ctx, t, s.Key)
	if err != nil {
		return nil, err
	}
	defer r.settle(false)
	if err := c.readopt(ctx, who, t, old, s); err != nil {
		return nil, err
	}
	telemetry.Annotate(ctx, telemetry.TaskID(t.ID))
	before := func(ctx context.Context, t *task.Task) error {
		if len(fork) == 0 {
			return nil
		}
		t.Steps = &task.Steps{}
		return Journals(c).copyTo(ctx, t, fork)
	}
	a, err := c.accept(ctx, t, nil, before, s, &r)
	c.auditMade(ctx, who, audit.TaskCreate, string(t.ID), a, err)
	return a, err
}

// retryable is a task that may be run again, and what its new run takes over.
func retryable(ctx context.Context, c Tasks, who auth.Caller, id task.ID, from string) (old *task.Task, fork []*task.Entry, err error) {
	if old, err = c.store.Tasks.Find(ctx, who.Tenant, id); err != nil {
		return nil, nil, err
	}
	switch {
	case old.Kind == task.KindTurn:
		return nil, nil, Refuse(ErrTaskNotRetryable, "It is a turn of session %s: send its message there again.", old.SessionID)
	case old.Status != task.Failed && old.Status != task.Canceled:
		return nil, nil, Refuse(ErrTaskNotRetryable, "The task is %s.", old.Status)
	}
	if _, err = c.agents.resolve(ctx, old.Agent); err != nil {
		return nil, nil, err
	}
	fork, err = c.fork(ctx, old, from)
	return old, fork, err
}

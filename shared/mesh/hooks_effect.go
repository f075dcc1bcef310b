package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/task"
)

// start starts the task of a delivery, or finds it where it was started before: its
// id follows from the hook and the delivery. An empty id is that of a new delivery.
func (c *reception) start(ctx context.Context, d *hook.Delivery, id string) (a HookAnswer, err error) {
	input, ok, err := c.h.InputOf(d)
	if err != nil {
		return a, err
	}
	if !ok {
		return a, RefuseFields(Field("the hook takes its input from there, and the body has nothing", c.h.Task.Input.From))
	}
	s, err := c.submissionOf(c.h.Tenant, &c.h.Task.Work)
	if err != nil {
		return a, err
	}
	s.Input, s.HookID, s.HookBody, s.EventDepth = input, string(c.h.ID), digest(string(c.r.Body)), c.r.EventDepth
	if id != "" {
		s.ID = task.DerivedID(task.KindTask, c.h.CreatedAt, string(c.h.ID)+"."+id)
		old, err := c.store.Tasks.Find(ctx, c.h.Tenant, s.ID)
		if err == nil {
			return c.repeated(s.ID, old.HookBody != s.HookBody), nil
		}
		if !errors.Is(err, task.ErrNotFound) {
			return a, err
		}
	}
	made, err := Tasks{c.core}.Accept(ctx, c.who, s)
	if err != nil {
		return a, err
	}
	made.Close()
	if !made.made { // another gateway was quicker
		return c.repeated(made.TaskID, false), nil
	}
	return HookAnswer{Outcome: hook.Accepted, TaskID: made.TaskID}, nil
}

// repeated is the answer to a delivery that is known. The first one stands, whatever
// the other says.
func (c *reception) repeated(id task.ID, differs bool) HookAnswer {
	if c.receipt.Differs = differs; differs {
		c.receipt.Cause = "the delivery came before with another body, which stands"
	}
	return HookAnswer{Outcome: hook.Repeated, TaskID: id}
}

// maxSessionKey bounds the key of a session, which is hashed.
const maxSessionKey = 1024

// say says the text of a delivery in the session of its key. The idempotency key has
// a repeat find the first turn.
func (c *reception) say(ctx context.Context, d *hook.Delivery, id string) (a HookAnswer, err error) {
	talk := c.h.Session
	key, hasKey := d.Text(talk.Key)
	text, hasText := d.Text(talk.Text)
	switch {
	case !hasKey || key == "" || len(key) > maxSessionKey:
		return a, RefuseFields(Field("the hook takes the key of the session from there, and the body has none of 1 to 1024 bytes", talk.Key))
	case !hasText || text == "":
		return a, RefuseFields(Field("the hook says what stands there, and the body has nothing", talk.Text))
	}
	m := &Message{Text: text, OnBusy: Wait, EventDepth: c.r.EventDepth, Until: time.Now().Add(5 * time.Second)}
	if id != "" {
		m.Key = NewKey(c.who, id, []string{"hook", string(c.h.ID)}, string(c.r.Body))
		if old, differs, err := c.saidBefore(ctx, m.Key); err != nil || old != "" {
			return c.repeated(old, differs), err
		}
	}
	for range 3 {
		at, err := Contexts{c.core}.ofKey(ctx, c.who, talk.Agent, string(c.h.ID), digest(key))
		if err != nil {
			return a, err
		}
		said, _, err := Sessions{c.core}.Say(ctx, c.who, at, m)
		if gone(err) || errors.Is(err, ErrSessionNotFound) { // it ended in between
			continue
		}
		if err != nil {
			return a, err
		}
		said.Close()
		if said.Replayed {
			return c.repeated(said.TaskID, false), nil
		}
		return HookAnswer{Outcome: hook.Accepted, TaskID: said.TaskID}, nil
	}
	return a, Refuse(ErrConflict, "The session of the key ends again and again.")
}

// saidBefore is the turn of a delivery that came before, if it is there.
func (c *reception) saidBefore(ctx context.Context, key *Key) (id task.ID, differs bool, err error) {
	stored, ok, err := c.store.Idempotency.Lookup(ctx, c.h.Tenant, key.hash)
	if err != nil || !ok {
		return "", false, err
	}
	differs = stored.Fingerprint != key.fingerprint
	key.fingerprint = stored.Fingerprint // the first body stands
	return c.turnOf(ctx, key), differs, nil
}

// turnOf is the turn that a key stands for, empty where it never came to be.
func (c *reception) turnOf(ctx context.Context, key *Key) task.ID {
	a, err := answers{c.core}.recall(ctx, c.who, key)
	if err != nil || a == nil {
		return ""
	}
	if t, err := c.find(ctx, c.h.Tenant, a.TaskID, location{a.Agent, a.SessionID}); err == nil {
		return t.ID
	}
	return ""
}

// signal answers the waiting task that a delivery names: the body is the answer. One
// that names no task which could take it is left out: to repeat it would not help.
func (c *reception) signal(ctx context.Context, d *hook.Delivery, id string) (a HookAnswer, err error) {
	named, _ := d.Text(c.h.Signal.Task)
	to := task.ID(named)
	if !to.Valid() {
		return c.left("the body has no id of a task at " + c.h.Signal.Task), nil
	}
	r := AnswerRequest{Name: c.h.Signal.Name, Value: d.Body}
	if id != "" {
		r.Key = NewKey(c.who, id, []string{"hook", string(c.h.ID)}, string(c.r.Body))
		t, err := c.find(ctx, c.h.Tenant, to, location{})
		if err == nil && r.Key.answered(t) {
			stored, ok, err := c.store.Idempotency.Lookup(ctx, c.h.Tenant, r.Key.hash)
			return c.repeated(to, err == nil && ok && r.Key.matches(stored) != nil), nil
		}
	}
	given, err := Tasks{c.core}.Answer(ctx, c.who, to, r)
	switch {
	case errors.Is(err, task.ErrNotFound), errors.Is(err, ErrTaskNotFound):
		return c.left("there is no task " + named), nil
	case errors.Is(err, ErrTaskFinished), errors.Is(err, ErrAlreadyAnswered):
		return c.left(RefusalOf(err).Refusal.Code + ": " + RefusalOf(err).Detail), nil
	case errors.Is(err, ErrIdempotencyKeyReused):
		return c.repeated(to, true), nil
	case err != nil:
		return a, err
	case given.Replayed: // it came twice at once
		return c.repeated(to, false), nil
	}
	return HookAnswer{Outcome: hook.Accepted, TaskID: to}, nil
}

// left is the answer to a delivery that is not for anything here.
func (c *reception) left(why string) HookAnswer {
	c.receipt.Cause = Clip(why, 256)
	return HookAnswer{Outcome: hook.Ignored}
}

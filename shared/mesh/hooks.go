package mesh

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/task"
)

// Hooks keeps what starts because somebody else's webhook comes in.
type Hooks struct{ *core }

// maxHooks is how many a tenant may have.
const maxHooks = 1000

// Create makes a hook. Its secrets are those of the sender: they are sealed, and
// shown never.
func (c Hooks) Create(ctx context.Context, who auth.Caller, spec hook.Spec, secrets []string, faults ...Invalid) (made *hook.Hook, err error) {
	id := hook.NewID()
	defer func() { c.audit(ctx, who, audit.HookCreate, string(id), err) }()
	now := task.Stamp(time.Now())
	h := &hook.Hook{Spec: spec.WithDefaults(), ID: id, Tenant: who.Tenant, CreatedAt: now, UpdatedAt: now}
	if err := c.setSecrets(h, secrets, &faults); err != nil {
		return nil, err
	}
	if err := c.check(ctx, who, h, faults); err != nil {
		return nil, err
	}
	err = c.store.Hooks.Add(context.WithoutCancel(ctx), h, maxHooks)
	switch {
	case errors.Is(err, hook.ErrTooMany):
		return nil, Refuse(ErrTooManyHooks, "There are %d, which is the limit. Delete one that is not needed.", maxHooks)
	case errors.Is(err, task.ErrConflict):
		return nil, hooksChanged()
	case err != nil:
		return nil, err
	}
	return h, nil
}

func hooksChanged() error {
	return Refuse(ErrConflict, "Hooks are being changed by others. Try again.")
}

// setSecrets gives a hook its secrets, in the place of all before. Faults of them go
// to faults.
func (c Hooks) setSecrets(h *hook.Hook, secrets []string, faults *[]Invalid) error {
	if c.keys == nil {
		return Refuse(ErrCallbacksOff, "Nothing here can seal the secrets of a hook. Send the request to a gateway that takes callbacks.")
	}
	for _, f := range h.Verify.CheckSecrets(secrets) {
		*faults = append(*faults, Field(f.Detail, f.Pointer))
	}
	h.Keys = nil
	for range secrets {
		h.Keys = append(h.Keys, hook.Key{CreatedAt: task.Stamp(time.Now())})
	}
	return c.keys.SealHook(h, secrets)
}

// Get reads a hook.
func (c Hooks) Get(ctx context.Context, who auth.Caller, id hook.ID) (*hook.Hook, error) {
	if !id.Valid() {
		return nil, hook.ErrNotFound
	}
	return c.store.Hooks.Get(ctx, who.Tenant, id)
}

// List lists the hooks of a tenant in the order of their creation.
func (c Hooks) List(ctx context.Context, who auth.Caller) ([]*hook.Hook, error) {
	return c.store.Hooks.List(ctx, who.Tenant)
}

// Update changes what the owner of a hook has said. change returns new secrets, or
// nil: they stay.
func (c Hooks) Update(ctx context.Context, who auth.Caller, id hook.ID, expect func(rev uint64) error, change func(*hook.Spec) (secrets []string, faults []Invalid)) (h *hook.Hook, err error) {
	defer func() { c.audit(ctx, who, audit.HookUpdate, string(id), err) }()
	return c.change(ctx, who, id, expect, func(h *hook.Hook) error {
		secrets, faults := change(&h.Spec)
		h.Spec = h.Spec.WithDefaults()
		if secrets == nil {
			kept, err := c.secrets(h)
			if err != nil {
				return err
			}
			for _, f := range h.Verify.CheckSecrets(kept) { // of another style
				faults = append(faults, Field(f.Detail+"; send the secrets that go with it", "/verify/secrets"))
			}
		} else if err := c.setSecrets(h, secrets, &faults); err != nil {
			return err
		}
		return c.check(ctx, who, h, faults)
	})
}

// secrets opens those of a hook.
func (c Hooks) secrets(h *hook.Hook) ([]string, error) {
	if c.keys == nil {
		return nil, Refuse(ErrCallbacksOff, "Nothing here can open the secrets of a hook. Send the request to a gateway that takes callbacks.")
	}
	secrets, err := c.keys.OpenHook(h)
	if err != nil {
		e := Refuse(ErrHookUnserved, "The secrets of the hook do not open: the mesh has another secret key. Send them again with PATCH /hooks/{id}, or start the gateway with the key of before.")
		e.Cause = err
		return nil, e
	}
	return secrets, nil
}

// Rotate gives a hook a new secret. The one before is believed beside it for a
// while, a day where overlap is nil.
func (c Hooks) Rotate(ctx context.Context, who auth.Caller, id hook.ID, secret string, overlap *time.Duration) (h *hook.Hook, err error) {
	defer func() { c.audit(ctx, who, audit.HookRotate, string(id), err) }()
	both := defaultOverlap
	if overlap != nil {
		both = *overlap
	}
	if both < 0 || both > maxOverlap {
		return nil, RefuseFields(Field(`it must be a duration such as "24h", 0s to 720h`, "/overlap"))
	}
	return c.change(ctx, who, id, nil, func(h *hook.Hook) error {
		old, err := c.secrets(h)
		if err != nil {
			return err
		}
		now := task.Stamp(time.Now())
		live := h.Live(old, now)
		until := now.Add(both)
		if len(live) > 0 && !h.Keys[0].ExpiresAt.IsZero() && h.Keys[0].ExpiresAt.Before(until) {
			until = h.Keys[0].ExpiresAt
		}
		secrets, keys := []string{secret}, []hook.Key{{CreatedAt: now}}
		if len(live) > 0 && both > 0 {
			secrets, keys = append(secrets, live[0]), append(keys, hook.Key{CreatedAt: h.Keys[0].CreatedAt, ExpiresAt: until})
		}
		if faults := h.Verify.CheckSecrets(secrets[:1]); len(faults) > 0 {
			return RefuseFields(Field(faults[0].Detail, "/secret"))
		}
		h.Keys = keys
		return c.keys.SealHook(h, secrets)
	})
}

// Pause has a hook take nothing until it is resumed: senders are told to repeat.
func (c Hooks) Pause(ctx context.Context, who auth.Caller, id hook.ID, note string) (h *hook.Hook, err error) {
	defer func() { c.audit(ctx, who, audit.HookPause, string(id), err) }()
	const most = 256
	if len(note) > most {
		return nil, RefuseFields(Field("it has at most 256 bytes", "/note"))
	}
	return c.change(ctx, who, id, nil, func(h *hook.Hook) error {
		h.Paused, h.Note = true, note
		return nil
	})
}

// Resume has a hook go on.
func (c Hooks) Resume(ctx context.Context, who auth.Caller, id hook.ID) (h *hook.Hook, err error) {
	defer func() { c.audit(ctx, who, audit.HookResume, string(id), err) }()
	return c.change(ctx, who, id, nil, func(h *hook.Hook) error {
		h.Paused, h.Note = false, ""
		return nil
	})
}

// change changes a hook by compare-and-set.
func (c Hooks) change(ctx context.Context, who auth.Caller, id hook.ID, expect func(rev uint64) error, change func(*hook.Hook) error) (*hook.Hook, error) {
	ctx = context.WithoutCancel(ctx)
	var h *hook.Hook
	err := besideOthers(ctx, hooksChanged, func() (err error) {
		if h, err = c.Get(ctx, who, id); err != nil {
			return err
		}
		if expect != nil {
			if err := expect(h.Rev); err != nil {
				return err
			}
		}
		if err := change(h); err != nil {
			return err
		}
		h.UpdatedAt = task.Stamp(time.Now())
		return c.store.Hooks.Save(ctx, h)
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Delete deletes a hook. What it has started goes on.
func (c Hooks) Delete(ctx context.Context, who auth.Caller, id hook.ID, expect func(rev uint64) error) (err error) {
	defer func() { c.audit(ctx, who, audit.HookDelete, string(id), err) }()
	ctx = context.WithoutCancel(ctx)
	return besideOthers(ctx, hooksChanged, func() error {
		h, err := c.Get(ctx, who, id)
		if err != nil {
			return err
		}
		if expect != nil {
			if err := expect(h.Rev); err != nil {
				return err
			}
		}
		return c.store.Hooks.Delete(ctx, h)
	})
}

// Recent reads the newest requests to a hook, the newest first, and how many had
// which outcome.
func (c Hooks) Recent(ctx context.Context, who auth.Caller, id hook.ID) (*hook.Recent, error) {
	h, err := c.Get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	r, err := c.doors.log.read(ctx, h)
	if err != nil {
		return nil, err
	}
	slices.Reverse(r.Receipts)
	return r, nil
}

// check refuses a specification with any fault, and one whose work the mesh would
// not accept.
func (c Hooks) check(ctx context.Context, who auth.Caller, h *hook.Hook, faults []Invalid) error {
	for _, f := range h.Spec.Check() {
		faults = append(faults, Field(f.Detail, f.Pointer))
	}
	if len(faults) > 0 {
		return RefuseFields(faults...)
	}
	if err := mayDo(who, &h.Spec); err != nil {
		return err
	}
	if h.Session != nil {
		_, err := c.agents.resolve(ctx, h.Session.Agent)
		return err
	}
	if h.Task == nil {
		return nil
	}
	return c.checkWork(ctx, who, &h.Task.Work, nil, true)
}

// underTask is a refusal of a task that is a member of something.
func underTask(err error) error {
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	under := *refused
	under.Faults = nil
	for _, f := range refused.Faults {
		under.Faults = append(under.Faults, Invalid{f.Detail, "/task" + strings.TrimSuffix(f.Pointer, "/")})
	}
	return &under
}

// mayDo refuses a caller who may not do itself what a hook does for it.
func mayDo(who auth.Caller, s *hook.Spec) error {
	need, what := auth.TasksWrite, "starts or answers tasks"
	if s.Session != nil {
		need, what = auth.SessionsWrite, "speaks in sessions"
	}
	if who.May(need) {
		return nil
	}
	return Refuse(ErrForbidden, "The hook %s, which needs the scope %s, too, and these credentials have %v.", what, need, who.Scopes)
}

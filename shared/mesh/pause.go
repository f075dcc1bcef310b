package mesh

import (
	"context"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/store"
)

// maxPause is the longest pause that has an end.
const maxPause = 365 * 24 * time.Hour

// Pause has no worker begin a task or a turn of an agent until somebody resumes it, or
// until d has passed (0: there is no end). What runs goes on, and what is accepted
// waits.
func (a *Agents) Pause(ctx context.Context, who auth.Caller, name string, d time.Duration) (s Served, err error) {
	defer func() { a.trail.note(ctx, who, audit.AgentPause, name, err) }()
	if d < 0 || d > maxPause {
		return s, RefuseFields(Field(`it must be a duration such as "1h", at most 8760h; leave it out to pause until somebody resumes it`, "/for"))
	}
	until := time.Time{}
	if d > 0 {
		until = time.Now().Add(d)
	}
	return a.switched(ctx, who, name, func(ctx context.Context) (bool, error) {
		return a.store.Consumers.Pause(ctx, name, until)
	})
}

// Resume has workers take the tasks of an agent again.
func (a *Agents) Resume(ctx context.Context, who auth.Caller, name string) (s Served, err error) {
	defer func() { a.trail.note(ctx, who, audit.AgentResume, name, err) }()
	return a.switched(ctx, who, name, func(ctx context.Context) (bool, error) {
		return a.store.Consumers.Resume(ctx, name)
	})
}

func (a *Agents) switched(ctx context.Context, who auth.Caller, name string, change func(context.Context) (found bool, err error)) (s Served, err error) {
	if err := validAgent(name); err != nil {
		return s, err
	}
	if _, err := a.resolve(ctx, name); err != nil {
		return s, err
	}
	ctx = context.WithoutCancel(ctx)
	found, err := change(ctx)
	a.lines.forget(name)
	if err != nil {
		return s, err
	}
	if !found {
		return s, Refuse(ErrConflict, "The agent has no queue yet: its first worker makes one within seconds. Try again then.")
	}
	return a.Get(ctx, who, name)
}

// pauseOf is what is known of an agent's pause.
func (a *Agents) pauseOf(ctx context.Context, name string) (p Pause, err error) {
	l, err := a.lines.of(ctx, store.TaskQueue, name)
	if err != nil || !l.Paused {
		return p, err
	}
	return Pause{Paused: true, Until: l.Until}, nil
}

// Pause says whether no worker begins a task of an agent.
type Pause struct {
	Paused bool
	Until  time.Time // zero: until somebody resumes it
}

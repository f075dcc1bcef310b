package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Contexts are sessions by the names that others give them.
type Contexts struct{ *core }

// contextKeys is the owner of the keys by which clients of A2A name their sessions.
const contextKeys = "a2a"

// Session is the session with an agent that a client calls by a name of its own. It
// is opened where there is none.
func (c Contexts) Session(ctx context.Context, who auth.Caller, agent, name string) (session.ID, error) {
	return c.ofKey(ctx, who, agent, contextKeys, digest("context", agent, name))
}

// ofKey is the session of a key, which is opened with the agent where there is none.
// Which it is stands beside the sessions and is written again before it would expire.
// owner is who gives the keys: a hook, or contextKeys.
func (c Contexts) ofKey(ctx context.Context, who auth.Caller, agent, owner, key string) (session.ID, error) {
	idle := c.store.Sessions.Idle()
	for range 5 {
		found, err := c.store.Sessions.Keyed(ctx, who.Tenant, owner, key)
		if err != nil {
			return "", err
		}
		now := time.Now()
		if found.ID != "" {
			_, err := Sessions(c).Get(ctx, who, found.ID)
			if err == nil {
				if now.Sub(found.At) > min(time.Minute, idle/8) {
					found.At = now
					err = c.store.Sessions.SetKeyed(ctx, who.Tenant, owner, key, &found)
				}
				if err == nil || errors.Is(err, task.ErrConflict) {
					return found.ID, nil
				}
			}
			if err != nil && !gone(err) {
				return "", err
			}
		}
		if err := c.open(ctx, who, agent, owner, key, found, now); err != nil && !errors.Is(err, task.ErrConflict) {
			return "", err
		}
	}
	return "", Refuse(ErrConflict, "The session of the key is being changed by others.")
}

// open opens a session and makes it that of a key, if nobody else has.
func (c Contexts) open(ctx context.Context, who auth.Caller, agent, owner, key string, found store.KeyedSession, now time.Time) error {
	ctx = context.WithoutCancel(ctx)
	o, err := Sessions(c).Open(ctx, who, agent, nil)
	if err != nil {
		return err
	}
	found.ID, found.At = o.SessionID, now
	err = c.store.Sessions.SetKeyed(ctx, who.Tenant, owner, key, &found)
	if errors.Is(err, task.ErrConflict) { // somebody else was quicker
		_ = Sessions(c).forget(ctx, who, o.SessionID, nil)
	}
	return err
}

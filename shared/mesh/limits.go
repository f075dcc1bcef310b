package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/tenant"
)

// limits holds every tenant to what it may ask for. Rates, waits and streams are
// those of this process; tasks, sessions and webhooks those of the whole mesh.
type limits struct {
	*watched
	store    *store.Store
	defaults tenant.Limits
	tallies  tallies
	checks   *paces // of signatures of one webhook
	hosts    *paces // of the requests that a caller has sent to a host at once

	mu  sync.RWMutex
	own map[string]*tenant.Tenant // also those that were deleted, without limits
	use map[string]*usage
}

// usage is what a tenant has taken of this process.
type usage struct {
	pace           pace
	waits, streams atomic.Int64
}

// usagesKept is how many tenants are remembered before those go that ask for
// nothing.
const usagesKept = 10_000

// The pace of test events to one host, whoever's webhooks lead there.
const (
	pingEvery = time.Second
	pingBurst = 10
)

func newLimits(st *store.Store, o Options) *limits {
	l := &limits{
		watched: newWatched("tenants", "changed limits are not seen", o.Log), store: st, defaults: tenant.Default(),
		checks: newPaces(verifyEvery, verifyBurst),
		hosts:  newPaces(pingEvery, pingBurst), own: map[string]*tenant.Tenant{}, use: map[string]*usage{},
	}
	if o.Limits != nil {
		l.defaults = *o.Limits
	}
	return l
}

// follow keeps the limits of tenants up to date until ctx ends.
func (l *limits) follow(ctx context.Context) {
	for _, r := range []*Refusal{ErrRateLimited, ErrTooManyPending, ErrTooManyWaits, ErrTooManySessions, ErrTooManyWebhooks, ErrQuotaExceeded} {
		telemetry.Limited.Add(0, r.Code) // so that the first one is seen
	}
	l.watched.follow(ctx, func(ctx context.Context, ready func()) error {
		return l.store.Tenants.Watch(ctx, l.learn, l.forget, ready)
	})
}

func (l *limits) learn(t *tenant.Tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.own[t.Name]; old == nil || old.Rev < t.Rev {
		l.own[t.Name] = t
	}
}

// forget notes that a tenant's record was deleted. A reading that began before does
// not bring it back.
func (l *limits) forget(name string, rev uint64) {
	l.learn(&tenant.Tenant{Name: name, Rev: rev})
}

// of are the limits that hold for a tenant now.
func (l *limits) of(name string) tenant.Limits {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if t := l.own[name]; t != nil {
		return t.Limits.Over(l.defaults)
	}
	return l.defaults
}

// usage finds what a tenant has taken.
func (l *limits) usage(name string) *usage {
	l.mu.RLock()
	u := l.use[name]
	l.mu.RUnlock()
	if u != nil {
		return u
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if u = l.use[name]; u != nil {
		return u
	}
	if len(l.use) >= usagesKept {
		for old, u := range l.use {
			if u.pace.idle() && u.waits.Load() == 0 && u.streams.Load() == 0 {
				delete(l.use, old)
			}
		}
	}
	u = &usage{}
	l.use[name] = u
	return u
}

// Allowance is what a tenant has left of its rate.
type Allowance struct {
	Limited bool
	Quota   int           // requests that may come at once
	Window  time.Duration // in which as many come again
	Left    int           // that may come now
	Reset   time.Duration // until Left is Quota; of a request that is refused: until the next one may come
}

// limited refuses a request for a limit, and counts it.
func limited(r *Refusal, wait time.Duration, format string, args ...any) error {
	telemetry.Limited.Add(1, r.Code)
	e := Refuse(r, format, args...)
	e.RetryAfter = wait
	return e
}

// closed is how long a tenant is told to wait that may ask for nothing.
const closed = time.Minute

// Allow takes a request of a caller into account, or refuses it for the rate of its
// tenant: ask before anything else of it is done.
func (c Tenants) Allow(who auth.Caller) (a Allowance, err error) {
	lim := c.limits.of(who.Tenant)
	switch lim.Rate {
	case tenant.Unlimited:
		return a, nil
	case 0:
		return Allowance{Limited: true, Window: closed, Reset: closed}, limited(ErrRateLimited, closed, "The tenant may send no requests now.")
	}
	every := max(time.Duration(float64(time.Second)/lim.Rate), 1)
	a = Allowance{Limited: true, Quota: lim.AtOnce(), Window: every * time.Duration(lim.AtOnce())}
	p := c.limits.usage(who.Tenant).pace.take(every, a.Quota)
	if a.Left, a.Reset = p.left, p.full; p.ok {
		return a, nil
	}
	a.Reset = p.wait
	return a, limited(ErrRateLimited, p.wait, "The tenant may send %v requests a second, and %d at once. Send fewer, and wait as Retry-After says.", lim.Rate, a.Quota)
}

// Held is a reason to keep a request.
type Held int

// Reasons.
const (
	HeldWait   Held = iota // for an outcome or a change
	HeldStream             // events are sent as they come
)

// Hold takes one of the requests that a tenant may have kept at a time, or refuses
// it. Give it back with release, once.
func (c Tenants) Hold(who auth.Caller, why Held) (release func(), err error) {
	lim, u := c.limits.of(who.Tenant), c.limits.usage(who.Tenant)
	taken, most := &u.waits, lim.Waits
	if why == HeldStream {
		taken, most = &u.streams, lim.Streams
	}
	if n := taken.Add(1); most != tenant.Unlimited && n > int64(most) {
		taken.Add(-1)
		if why == HeldStream {
			return nil, limited(ErrTooManyWaits, 0, "The tenant has %d streams of events open at this gateway, which is its limit. Close one that is not needed.", most)
		}
		return nil, limited(ErrTooManyWaits, 0, "%d requests of the tenant are held at this gateway, which is its limit. Send it without Prefer: wait, and ask for the outcome later.", most)
	}
	return func() { taken.Add(-1) }, nil
}

// room is the room that a task has been promised among those that wait or run.
type room struct {
	taken   [2]*tally
	refused error // there is none: the task may be there already, and nothing else
}

// room takes the room for a task, or refuses it. A request that may be the repeat of
// one that was accepted finds that out first: it gets its first answer.
func (c Tasks) room(ctx context.Context, t *task.Task, key *Key) (r room, err error) {
	lim := c.limits.of(t.Tenant)
	for i, one := range [...]struct {
		agent string
		most  int
	}{{"", lim.Pending}, {t.Agent, lim.PendingPerAgent}} {
		if one.most == tenant.Unlimited {
			continue
		}
		n := c.waiting(t.Tenant, one.agent)
		ok, err := c.limits.tallies.take(ctx, n, one.most)
		if err != nil {
			r.settle(false)
			return r, err
		}
		if ok {
			r.taken[i] = n
			continue
		}
		r.settle(false)
		of := "The tenant"
		if one.agent != "" {
			of = "For the agent " + one.agent + " the tenant"
		}
		r.refused = limited(ErrTooManyPending, 0, "%s has %d tasks that wait or run, which is the limit. Try again when some have ended.", of, one.most)
		if known, err := answers(c).accepted(ctx, t.Tenant, key); err != nil || !known {
			return r, r.refused
		}
		return r, nil
	}
	if r.refused, err = Budgets(c).admit(ctx, t.Tenant, t.Agent, key); r.refused != nil || err != nil {
		r.settle(false)
	}
	return r, err
}

// refusal is the refusal of a task that turned out to be a new one.
func (r *room) refusal() error { return r.refused }

// settle ends the promise: the task has taken its room, or gives it back.
func (r *room) settle(taken bool) {
	for i, n := range r.taken {
		if n != nil {
			n.settle(taken)
			r.taken[i] = nil
		}
	}
}

// waiting is the tally of a tenant's tasks that wait or run, for one agent unless
// that is empty. Scheduled ones are not among them until they are due.
func (c *core) waiting(of, agent string) *tally {
	return c.limits.tallies.of(tallyOf{"tasks", of, agent}, func(ctx context.Context, _ int) (int, error) {
		return c.store.Tasks.Waiting(ctx, of, agent)
	})
}

// sessionRoom takes the room for a session, or refuses it; nil: there is no limit.
func (c *core) sessionRoom(ctx context.Context, of string, key *Key) (*tally, error) {
	most := c.limits.of(of).Sessions
	if most == tenant.Unlimited {
		return nil, nil
	}
	n := c.limits.tallies.of(tallyOf{what: "sessions", tenant: of}, func(ctx context.Context, enough int) (int, error) {
		return c.store.Sessions.Count(ctx, of, enough)
	})
	switch ok, err := c.limits.tallies.take(ctx, n, most); {
	case err != nil:
		return nil, err
	case ok:
		return n, nil
	}
	if known, err := (answers{c}).accepted(ctx, of, key); err == nil && known {
		return nil, nil
	}
	return nil, limited(ErrTooManySessions, 0, "The tenant has %d sessions, which is its limit. Delete one that is not needed: DELETE /sessions/{id}.", most)
}

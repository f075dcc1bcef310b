package mesh

import (
	"context"
	"sync"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Fair service: a task waits among the ready ones of its agent, or in bulk, where
// it is put when others wait already and its tenant has many. Workers take the ready
// ones first and do not forget those in bulk, so that the first task of a tenant waits
// for a few of another one, however many that has.

const (
	// crowd is how many ready tasks of an agent may wait before it matters whose they
	// are, or as many as there are slots: those are worked off in one go.
	crowd = 4
	// countFresh bounds how often something is counted that a decision hangs on, and
	// countKept is how long a count is good otherwise. Tasks that other processes
	// accept meanwhile are not in it.
	countFresh = 2 * time.Millisecond
	countKept  = 200 * time.Millisecond
	// countCost is how much longer a count of a tenant's tasks is good for each of them:
	// counting costs the server 0.4 µs each.
	countCost = 20 * time.Microsecond
	// workersKept is how long it is taken for granted that workers take tasks in bulk,
	// and how many slots they have.
	workersKept = 5 * time.Second
	// tenantsKept bounds the tenants of an agent that are remembered.
	tenantsKept = 4096
)

// crowds decides where tasks wait. It is safe for concurrent use.
type crowds struct {
	store *store.Store

	mu sync.Mutex
	by map[string]*crowded // as many as there are agents
}

func newCrowds(st *store.Store) *crowds { return &crowds{store: st, by: map[string]*crowded{}} }

// bulk reports whether a task that is about to be accepted waits in bulk. Where that
// cannot be found out it does not.
func (c *crowds) bulk(ctx context.Context, t *task.Task) bool {
	// A parent waits for its child, in a place that it keeps from others.
	if t.Kind == task.KindTurn || t.ParentID != "" || time.Until(t.NotBefore) > 0 {
		return false
	}
	c.mu.Lock()
	of := c.by[t.Agent]
	if of == nil {
		of = &crowded{store: c.store, agent: t.Agent, shares: map[string]*share{}}
		c.by[t.Agent] = of
	}
	c.mu.Unlock()
	crowded := of.one(ctx, time.Now())
	s := of.share(t.Tenant, crowded)
	return s != nil && s.bulk(ctx, of, crowded)
}

// crowded is what is known of the ready tasks of one agent.
type crowded struct {
	store *store.Store
	agent string

	mu      sync.Mutex
	last    store.Places
	rate    float64 // tasks that workers took in a second, between the last two counts
	added   int     // by this process, since
	reading bool    // somebody counts; for others what is known is good meanwhile
	takes   bool    // workers take tasks in bulk, by the look at the time looked
	slots   int     // of all workers, by the same look
	looked  time.Time
	shares  map[string]*share
}

// one notes that one more task comes, and reports whether a crowd waits.
func (c *crowded) one(ctx context.Context, now time.Time) bool {
	c.mu.Lock()
	c.added++
	age, waiting := now.Sub(c.last.At), c.waiting(now)
	if !c.reading && (age > countFresh && waiting > c.crowd() || age > countKept && c.added >= 4*crowd) {
		c.reading = true
		c.mu.Unlock()
		p, err := c.store.Consumers.Places(ctx, store.TaskQueue, c.agent)
		c.mu.Lock()
		if c.reading = false; err == nil { // otherwise what is known is good
			c.learn(p)
		}
		waiting = c.waiting(time.Now())
	}
	many := waiting > c.crowd()
	c.mu.Unlock()
	if !many || !c.served(ctx) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return waiting > c.crowd()
}

// crowd is how many ready tasks may wait.
func (c *crowded) crowd() float64 { return float64(max(crowd, c.slots)) }

// many is how many tasks of a tenant are not many yet: so many may wait while as many
// run as may.
func (c *crowded) many() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(crowd, c.slots) + c.slots
}

// waiting is about how many ready tasks wait now.
func (c *crowded) waiting(now time.Time) float64 {
	return max(float64(c.last.Waiting+c.added)-c.rate*now.Sub(c.last.At).Seconds(), 0)
}

func (c *crowded) learn(p store.Places) {
	c.rate = 0
	if took := p.At.Sub(c.last.At); p.Delivered > c.last.Delivered && took > 0 {
		c.rate = float64(p.Delivered-c.last.Delivered) / took.Seconds()
	}
	c.last, c.added = p, 1
}

// served reports whether a live worker takes tasks in bulk, and learns how many slots
// there are.
func (c *crowded) served(ctx context.Context) bool {
	c.mu.Lock()
	takes, old := c.takes, time.Since(c.looked) > workersKept
	if old {
		c.looked = time.Now()
	}
	c.mu.Unlock()
	if !old {
		return takes
	}
	workers, err := c.store.Registry.Workers(ctx)
	takes = err == nil && store.TakesBulk(workers, c.agent)
	slots := 0
	for _, w := range Serving(workers, c.agent) {
		slots += w.Slots
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takes, c.slots = takes, min(slots, max(c.last.Limit, 1))
	return takes
}

// share is what a tenant has of an agent's tasks; nil: not known, unless it is to be.
func (c *crowded) share(tenant string, known bool) *share {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shares[tenant]
	if s == nil && known {
		if len(c.shares) >= tenantsKept {
			clear(c.shares) // each is counted again
		}
		s = &share{tenant: tenant}
		c.shares[tenant] = s
	}
	return s
}

// share is how many tasks a tenant has with an agent.
type share struct {
	tenant string

	mu      sync.Mutex
	at      time.Time
	n       int // waiting or running, by the last count
	added   int // by this process, since
	reading bool
	behind  bool // the last one was put in bulk, and some wait there: the next goes behind it
}

// bulk notes one more, and reports whether it waits in bulk: its tenant has many, and
// there is a crowd or those before it wait there. Who finds a count too old counts
// again; for others the one before is good meanwhile.
func (s *share) bulk(ctx context.Context, of *crowded, crowded bool) bool {
	many := of.many()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added++
	good := countKept
	if s.n+s.added > many {
		good = countFresh
	}
	if !s.reading && time.Since(s.at) > good+time.Duration(s.n)*countCost {
		s.reading, s.added = true, 1
		s.mu.Unlock()
		n, err := of.store.Tasks.Waiting(ctx, s.tenant, of.agent)
		var p store.Places
		if err == nil {
			p, err = of.store.Consumers.Places(ctx, store.BulkQueue, of.agent)
		}
		s.mu.Lock()
		if s.reading = false; err == nil {
			s.at, s.n, s.behind = time.Now(), n, s.behind && p.Waiting > 0
		}
	}
	s.behind = s.n+s.added > many && (crowded || s.behind)
	return s.behind
}

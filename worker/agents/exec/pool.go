package exec

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// DefaultMaxJobs is how many jobs a copy of a pool does where nothing else is said.
const DefaultMaxJobs = 1000

const (
	// obeyWithin is how long a copy that is told of a cancel may take to be done with
	// the job. Then it is stopped as any program.
	obeyWithin = time.Second
	// leaveWithin is how long one whose input has ended may take to end.
	leaveWithin = time.Second
)

// pool keeps copies of a program that take one job after the other. A line to them and
// a line from them has the id of the job:
//
//	{"type":"job","id":"7","job":{...}}        to a copy; job is the object that agents receive
//	{"type":"result","id":"7","result":1}      from it, as of any agent
//	{"type":"done","id":"7"}                   from it: it takes the next one
//	{"type":"cancel","id":"7"}                 to it: the job is not wanted any more
//
// A copy has one job at a time. It is replaced after MaxJobs of them, and when it has
// ended; one that ends before its first job is done is not, until there is a job. More
// jobs than copies, which there are when an attempt has lent its slot, get a copy of
// their own.
type pool struct {
	*program
	size, maxJobs int

	mu    sync.Mutex
	idle  []*copied // the last one is the one used last
	live  int       // copies that are not retired
	warm  bool      // copies are kept ready
	shut  bool
	alive sync.WaitGroup
}

// NewPool makes the handler of a program of which copies are kept. open starts them;
// shut ends them when no attempt runs. Without open they are started when they are
// needed.
func NewPool(cfg Config, o Options) (handler agent.Handler, open func() (shut func())) {
	if cfg.MaxJobs == 0 {
		cfg.MaxJobs = DefaultMaxJobs
	}
	p := newProgram(cfg, o)
	pl := &pool{program: p, size: cfg.Pool, maxJobs: cfg.MaxJobs}
	p.once = pl.once
	return p.run, pl.open
}

func (pl *pool) open() (shut func()) {
	pl.mu.Lock()
	pl.warm = true
	pl.mu.Unlock()
	pl.fill()
	return pl.end
}

// end ends all copies and waits for them.
func (pl *pool) end() {
	pl.mu.Lock()
	pl.shut = true
	idle := pl.idle
	pl.idle = nil
	pl.mu.Unlock()
	for _, c := range idle {
		c.leave()
	}
	pl.alive.Wait()
}

// fill starts copies until there are as many as there should be. What a copy that
// cannot be started has to say, the next job hears.
func (pl *pool) fill() {
	pl.mu.Lock()
	missing := pl.size - pl.live
	if !pl.warm || pl.shut {
		missing = 0
	}
	pl.live += max(missing, 0)
	pl.mu.Unlock()
	for range missing {
		c, err := pl.begin()
		if err != nil {
			pl.log.Warn("a copy of a pool was not started", "program", pl.cfg.Command[0], "error", errors.Unwrap(err))
			continue
		}
		pl.give(c, false)
	}
}

// begin starts a copy that has been counted.
func (pl *pool) begin() (*copied, error) {
	child, err := pl.start("MESH_POOL=1")
	if err != nil {
		pl.mu.Lock()
		defer pl.mu.Unlock()
		pl.live--
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	c := &copied{child: child, stop: stop, gone: make(chan struct{})}
	c.heard.logTo(pl.log)
	go c.feed([]byte{}, true)
	go c.listen()
	go c.follow()
	pl.alive.Go(func() {
		defer stop()
		c.state, c.err = c.wait(life)
		close(c.gone)
		pl.lost(c)
	})
	return c, nil
}

// take is a copy for a job; fresh: one that has done nothing yet.
func (pl *pool) take(fresh bool) (*copied, error) {
	pl.mu.Lock()
	for n := len(pl.idle); n > 0 && !fresh; n = len(pl.idle) {
		c := pl.idle[n-1]
		if pl.idle = pl.idle[:n-1]; !c.isGone() {
			pl.mu.Unlock()
			return c, nil
		}
	}
	pl.live++
	pl.mu.Unlock()
	return pl.begin()
}

// give takes a copy back, or lets it go when it has done enough or there are too many.
// done says that it has done a job.
func (pl *pool) give(c *copied, done bool) {
	pl.mu.Lock()
	if done {
		c.jobs++
	}
	if !c.isGone() && !pl.shut && pl.live <= pl.size && c.jobs < pl.maxJobs {
		pl.idle = append(pl.idle, c)
		pl.mu.Unlock()
		return
	}
	worn := !c.retired && !c.isGone()
	if worn {
		c.retired = true
		pl.live--
	}
	pl.mu.Unlock()
	c.leave()
	if worn {
		pl.fill()
	}
}

// lost forgets a copy that has ended.
func (pl *pool) lost(c *copied) {
	pl.mu.Lock()
	pl.idle = slices.DeleteFunc(pl.idle, func(other *copied) bool { return other == c })
	useful := c.jobs > 0
	if !c.retired {
		c.retired = true
		pl.live--
	}
	pl.mu.Unlock()
	if useful {
		pl.fill()
	}
}

// once has a copy do a job one time.
func (pl *pool) once(ctx context.Context, job *agent.Job, input []byte, book *protocol.Book) (*protocol.Outcome, error) {
	o, left, err := pl.try(ctx, job, input, book, false)
	if left {
		o, _, err = pl.try(ctx, job, input, book, true)
	}
	return o, err
}

// try has a copy do a job; left says that it had ended of itself before it took it.
func (pl *pool) try(ctx context.Context, job *agent.Job, input []byte, book *protocol.Book, fresh bool) (o *protocol.Outcome, left bool, err error) {
	c, err := pl.take(fresh)
	if err != nil {
		return nil, false, err
	}
	t := c.begin(ctx, job, book, pl.logOf(job))
	key := ""
	if !pl.ownKey {
		key = job.Key.Reveal()
	}
	c.words.add(t.order(input, key))
	done := c.finish(ctx, t)
	c.stderr.catchUp()
	detail := c.heard.last()
	c.heard.logTo(pl.log)
	if !done {
		c.stop()
		<-c.gone
	}
	left = !done && c.jobs > 0 && !t.said && t.err == nil && ctx.Err() == nil && c.state != nil && c.state.Success()
	o, err = t.outcome(ctx, c, done)
	pl.give(c, done)
	if fault := (*agent.Error)(nil); errors.As(err, &fault) {
		told := *fault
		told.Detail = detail
		return nil, left, &told
	}
	return o, left, err
}

// outcome is what a job came to: done says that the copy is done with it, else it is
// gone.
func (t *taken) outcome(ctx context.Context, c *copied, done bool) (*protocol.Outcome, error) {
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		return nil, &agent.Error{Message: cause.Error(), Err: cause}
	}
	if t.err != nil {
		return nil, t.err
	}
	o, err := t.lines.End()
	switch {
	case err != nil:
		return nil, err
	case o.Err != nil:
		return nil, o.Err
	case !done && c.err != nil:
		return nil, c.err
	case !done:
		return nil, &agent.Error{Code: task.CodeAgentCrashed, Message: died(c.state) + " before it was done with the task"}
	}
	return o, nil
}

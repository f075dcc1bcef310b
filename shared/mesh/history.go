package mesh

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// History is what became of tasks in the last minutes, counted by this process while
// somebody looks: it begins with the first who asks, reads the records of the minutes
// before, then follows their changes, and ends a while after the last has asked. A mesh
// that nobody watches pays nothing. Two processes agree but for the time when each of
// them began.
type History struct{ *core }

// Bounds of the history.
const (
	HistoryStep = 10 * time.Second // of one bucket
	MaxHistory  = 30 * time.Minute
	historyKept = MaxHistory + time.Minute

	backfill       = 15 * time.Minute
	backfillMost   = 20_000 // revisions
	backfillWithin = 10 * time.Second
	unwatchedFor   = 10 * time.Minute
	filledWithin   = 3 * time.Second // of one answer
	maxSeries      = 256             // agents, or edges, that are told apart in one bucket
)

// otherAgents stands for the agents beyond maxSeries.
const otherAgents = "_other"

// Counts are what became of tasks of an agent, or of all.
type Counts struct {
	Accepted, Completed, Failed, Canceled int
	P50, P95                              time.Duration // of the runs that ended, from the start of the first attempt; 0: none did
}

// Point is one step of a history.
type Point struct {
	At time.Time // its beginning
	Counts
	Queued int    // messages that the queues were given, retries too
	Now    *Gauge // at the end of the step; nil: nobody has looked then
}

// Gauge is what waited and ran at one moment.
type Gauge struct {
	Waiting, InFlight int
	Oldest            time.Duration // how long the one waits that waits longest
}

// AgentCounts are the counts of one agent over all steps.
type AgentCounts struct {
	Agent string
	Counts
}

// Calls counts the tasks of one agent that another one has called.
type Calls struct {
	Caller, Callee string
	Count, Failed  int
}

// Past is a history as it was asked for.
type Past struct {
	From, To time.Time
	Whole    time.Time // the counts are whole from here on
	Filling  bool      // the records of before are still being read
	Points   []Point
	Agents   []AgentCounts // by name
	Calls    []Calls       // the most frequent first
}

// Read reads the last minutes in steps, of one agent unless that is empty.
func (c History) Read(ctx context.Context, _ auth.Caller, since, step time.Duration, agent string) (Past, error) {
	var faults []Invalid
	if since < time.Minute || since > MaxHistory {
		faults = append(faults, Field("it must be 1m to 30m", "since"))
	}
	if step < HistoryStep || step > since || step%HistoryStep != 0 {
		faults = append(faults, Field("it must be a multiple of 10s, and at most since", "step"))
	}
	if agent != "" && !task.ValidAgent(agent) {
		faults = append(faults, Field("agent names match [a-z0-9-]{1,40}", "agent"))
	}
	if len(faults) > 0 {
		return Past{}, RefuseFields(faults...)
	}
	filled := c.past.watch(c.core)
	patient, cancel := context.WithTimeout(ctx, filledWithin)
	defer cancel()
	select {
	case <-filled:
	case <-patient.Done():
	}
	return c.past.read(since, step, agent), ctx.Err()
}

// past keeps the buckets.
type past struct {
	mu      sync.Mutex
	running bool
	asked   time.Time
	filled  chan struct{} // closed when the records of before are read
	whole   time.Time
	slots   map[int64]*slot // by number of the step since 1970
	queued  uint64          // messages that the queues had been given at the last look
}

// slot is what happened in one step.
type slot struct {
	by     map[string]*series
	calls  map[edge]*Calls
	queued int
	gauges map[string]Gauge
}

// series counts the tasks of one agent in one step.
type series struct {
	Counts
	runs spread
}

type edge struct{ caller, callee string }

// spread counts durations, in classes a fifth apart: so it is small, can be added to
// others, and tells a percentile to about a tenth.
type spread map[int16]int

const spreadBase = 1.2

func (s spread) add(d time.Duration) {
	s[int16(math.Round(math.Log(max(float64(d.Microseconds()), 1))/math.Log(spreadBase)))]++
}

// at is the duration that a share of all is not longer than; 0: there are none.
func (s spread) at(share float64) time.Duration {
	n := 0
	for _, c := range s {
		n += c
	}
	left := int(math.Ceil(share * float64(n)))
	for _, class := range slices.Sorted(maps.Keys(s)) {
		if left -= s[class]; left <= 0 {
			return time.Duration(math.Pow(spreadBase, float64(class))) * time.Microsecond
		}
	}
	return 0
}

// watch notes that somebody looks, and has the counting begin where it does not go on.
func (p *past) watch(c *core) (filled <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked = time.Now(); !p.running {
		p.running, p.filled, p.slots, p.queued = true, make(chan struct{}), map[int64]*slot{}, 0
		p.whole = time.Now()
		go p.run(c, p.filled)
	}
	return p.filled
}

// run counts until nobody looks any more, or the core ends.
func (p *past) run(c *core, filled chan struct{}) {
	ctx := c.closing
	defer p.stop()
	changes, err := c.store.Tasks.Changes(ctx, store.EveryTenant, nil)
	for err != nil && pause.For(ctx, time.Second) {
		changes, err = c.store.Tasks.Changes(ctx, store.EveryTenant, nil)
	}
	if err != nil {
		close(filled)
		return
	}
	defer changes.Close()
	p.sample(ctx, c)
	go func() { // beside what follows: neither counts what the other does
		defer close(filled)
		whole, err := c.store.Records.Recent(ctx, changes.Start(), time.Now().Add(-backfill), backfillMost, backfillWithin, func(t *task.Task) { p.note(t, true) })
		if err != nil {
			c.log.Debug("history begins now, the minutes before cannot be read", "error", err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.whole = whole
	}()
	for !p.unwatched() && ctx.Err() == nil {
		if !p.follow(ctx, c, changes) {
			return
		}
		p.sample(ctx, c)
	}
}

func (p *past) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
}

func (p *past) unwatched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.asked) > unwatchedFor
}

// follow counts changes until the step ends; false: nothing more comes.
func (p *past) follow(ctx context.Context, c *core, changes *store.Changes) bool {
	end := time.Now().Truncate(HistoryStep).Add(HistoryStep)
	window, done := context.WithDeadline(ctx, end)
	defer done()
	for {
		t, err := changes.Next(window)
		switch {
		case err == nil:
			p.note(t, t.Replaces == 0)
		case window.Err() != nil:
			return ctx.Err() == nil
		case errors.Is(err, task.ErrUnavailable) && !c.store.Connected():
			return false
		default:
			pause.For(window, time.Second)
		}
	}
}

// sample looks at what waits.
func (p *past) sample(ctx context.Context, c *core) {
	queued, err := c.store.Records.Published(ctx)
	var census store.Census
	if err == nil {
		census, err = c.store.Census(ctx)
	}
	if err != nil {
		c.log.Debug("history without what waits now", "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slot(census.At.Add(-HistoryStep / 2)) // the step that ends now
	if p.queued > 0 {
		s.queued = int(queued - p.queued)
	}
	p.queued, s.gauges = queued, map[string]Gauge{}
	for _, q := range census.Agents {
		g := Gauge{Waiting: q.Waiting, InFlight: q.InFlight}
		if !q.Oldest.IsZero() {
			g.Oldest = max(census.At.Sub(q.Oldest), 0)
		}
		s.gauges[q.Agent] = g
	}
}

// note counts a version of a record. first says that no version before it was counted.
func (p *past) note(t *task.Task, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first {
		if s := p.slot(t.CreatedAt); s != nil {
			s.of(t.Agent).Accepted++
			if n := len(t.Callers); n > 0 {
				s.call(t.Callers[n-1], t.Agent).Count++
			}
		}
	}
	if !t.Status.Terminal() || t.Annotation() && !first {
		return
	}
	s := p.slot(t.FinishedAt)
	if s == nil {
		return
	}
	of := s.of(t.Agent)
	switch t.Status {
	case task.Completed:
		of.Completed++
	case task.Failed:
		of.Failed++
		if n := len(t.Callers); n > 0 {
			s.call(t.Callers[n-1], t.Agent).Failed++
		}
	default:
		of.Canceled++
	}
	if !t.StartedAt.IsZero() {
		of.runs.add(max(t.FinishedAt.Sub(t.StartedAt), 0))
	}
}

func numberOf(at time.Time) int64 { return at.UnixNano() / int64(HistoryStep) }

// slot is the one of a time, nil when that is too long ago. Old ones go when a new one
// comes.
func (p *past) slot(at time.Time) *slot {
	n, oldest := numberOf(at), numberOf(time.Now().Add(-historyKept))
	if n < oldest {
		return nil
	}
	s := p.slots[n]
	if s == nil {
		s = &slot{by: map[string]*series{}, calls: map[edge]*Calls{}}
		p.slots[n] = s
		maps.DeleteFunc(p.slots, func(n int64, _ *slot) bool { return n < oldest })
	}
	return s
}

func (s *slot) of(agent string) *series {
	if s.by[agent] == nil {
		if len(s.by) >= maxSeries {
			agent = otherAgents
		}
		if s.by[agent] == nil {
			s.by[agent] = &series{runs: spread{}}
		}
	}
	return s.by[agent]
}

func (s *slot) call(caller, callee string) *Calls {
	e := edge{caller, callee}
	if s.calls[e] == nil {
		if len(s.calls) >= maxSeries {
			e = edge{otherAgents, otherAgents}
		}
		if s.calls[e] == nil {
			s.calls[e] = &Calls{Caller: e.caller, Callee: e.callee}
		}
	}
	return s.calls[e]
}

// add adds what another one has counted.
func (s *series) add(o *series) {
	s.Accepted, s.Completed, s.Failed, s.Canceled = s.Accepted+o.Accepted, s.Completed+o.Completed, s.Failed+o.Failed, s.Canceled+o.Canceled
	for class, n := range o.runs {
		s.runs[class] += n
	}
}

func (s *series) counts() Counts {
	c := s.Counts
	c.P50, c.P95 = s.runs.at(0.5), s.runs.at(0.95)
	return c
}

// read adds up the slots of each step.
func (p *past) read(since, step time.Duration, agent string) Past {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := time.Now().Truncate(HistoryStep).Add(HistoryStep)
	out := Past{From: to.Add(-since.Truncate(step)), To: to, Whole: p.whole}
	select {
	case <-p.filled:
	default:
		out.Filling = true
	}
	agents, calls := map[string]*series{}, map[edge]*Calls{}
	for at := out.From; at.Before(to); at = at.Add(step) {
		out.Points = append(out.Points, p.point(at, step, agent, agents, calls))
	}
	for _, name := range slices.Sorted(maps.Keys(agents)) {
		out.Agents = append(out.Agents, AgentCounts{name, agents[name].counts()})
	}
	for _, c := range calls {
		out.Calls = append(out.Calls, *c)
	}
	slices.SortFunc(out.Calls, func(a, b Calls) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Callee, b.Callee))
	})
	return out
}

// point adds up one step, and adds it to the counts of all steps.
func (p *past) point(at time.Time, step time.Duration, agent string, agents map[string]*series, calls map[edge]*Calls) Point {
	point, all := Point{At: at}, &series{runs: spread{}}
	for n := numberOf(at); n < numberOf(at.Add(step)); n++ {
		s := p.slots[n]
		if s == nil {
			continue
		}
		point.Queued += s.queued
		point.Now = cmp.Or(s.gauge(agent), point.Now)
		for name, one := range s.by {
			if agent != "" && name != agent {
				continue
			}
			if agents[name] == nil {
				agents[name] = &series{runs: spread{}}
			}
			agents[name].add(one)
			all.add(one)
		}
		for e, c := range s.calls {
			if agent != "" && e.caller != agent && e.callee != agent {
				continue
			}
			if calls[e] == nil {
				calls[e] = &Calls{Caller: e.caller, Callee: e.callee}
			}
			calls[e].Count, calls[e].Failed = calls[e].Count+c.Count, calls[e].Failed+c.Failed
		}
	}
	point.Counts = all.counts()
	return point
}

// gauge is what waited of an agent, or of all; nil: nobody has looked.
func (s *slot) gauge(agent string) *Gauge {
	if s.gauges == nil {
		return nil
	}
	sum := &Gauge{}
	for name, g := range s.gauges {
		if agent == "" || name == agent {
			sum.Waiting, sum.InFlight, sum.Oldest = sum.Waiting+g.Waiting, sum.InFlight+g.InFlight, max(sum.Oldest, g.Oldest)
		}
	}
	return sum
}

package store

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Changes reads the records of all tasks of a tenant as they change, in order,
// each revision once: it is for readers that want everything. Watch is for a
// reader of one task. A Changes is for one goroutine.
//
// All readers of a store share one consumer, the feed. One that begins in the
// past, or falls behind what the feed keeps, reads the stream until it is there.
type Changes struct {
	s      *core
	tenant string
	start  uint64
	at     uint64       // the last revision that was looked at
	behind []*task.Task // read, and not yet given out
}

// EveryTenant stands for all tenants, for who counts the whole mesh.
const EveryTenant = ""

// Changes begins after revision after, or with what is new when after is nil. A
// revision from the future is taken for the newest. Close it.
func (s Tasks) Changes(ctx context.Context, tenant string, after *uint64) (*Changes, error) {
	last, err := s.lastRevision(ctx)
	if err != nil {
		return nil, fmt.Errorf("follow tasks: %w", err)
	}
	start := last
	if after != nil {
		start = min(*after, last)
	}
	s.feed.join(s.core, last)
	return &Changes{s: s.core, tenant: tenant, start: start, at: start}, nil
}

func (s Tasks) lastRevision(ctx context.Context) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.TasksBucket)
	defer cancel()
	info, err := s.records.Info(ctx)
	if err != nil {
		return 0, classify(err)
	}
	return info.State.LastSeq, nil
}

// Start is the revision that the reader begins after.
func (c *Changes) Start() uint64 { return c.start }

// Close ends the reading.
func (c *Changes) Close() { c.s.feed.leave() }

// Next returns the next change, or ctx's error when its time is over first. The
// task is shared by all readers: do not change it; its input and output are left
// out. A change that is no readable record is, too.
func (c *Changes) Next(ctx context.Context) (*task.Task, error) {
	for {
		if len(c.behind) > 0 {
			t := c.behind[0]
			c.behind = c.behind[1:]
			return t, nil
		}
		t, floor, moved, err := c.s.feed.after(&c.at, c.tenant)
		if t != nil || err != nil {
			return t, err
		}
		if floor > c.at {
			if err := c.catchUp(ctx, floor); err != nil && len(c.behind) == 0 {
				return nil, c.broken(ctx, err)
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Changes) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("follow tasks: %w", err)
}

// catchUp reads what is between the reader and the feed, as much at a time as one
// pull holds.
func (c *Changes) catchUp(ctx context.Context, to uint64) error {
	size := 0
	subject := topology.RecordsAll
	if c.tenant != EveryTenant {
		subject = topology.TaskRecordsOf(c.tenant)
	}
	read := c.s.readers(c.s.records, subject, c.s.feed.catching)
	err := read(ctx, c.at+1, to, func(m message) error {
		if size += len(m.data); size > catchBytes && len(c.behind) > 0 {
			return errEnough
		}
		if t := c.s.record(m); t != nil {
			c.behind = append(c.behind, t)
		}
		c.at = m.seq
		return nil
	})
	if err == nil {
		c.at = to
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a reading that may go on later.
var errEnough = errors.New("enough for now")

// record decodes a change; nil is a marker, or cannot be read.
func (s *core) record(m message) *task.Task {
	t, err := RecordOf(m.data, m.seq)
	if err != nil {
		s.damaged.note(m, err)
	}
	if t != nil {
		slim(t)
	}
	return t
}

// feed reads the newest changes once for all readers, and keeps some of them for
// those that are a little behind. It runs while there are readers.
type feed struct {
	catching lane // of the readers that catch up

	mu      sync.Mutex
	readers int
	running bool
	closed  bool     // the connection is gone for good
	recent  []change // all that changed after floor
	size    int
	floor   uint64
	last    uint64
	moved   chan struct{} // closed when there is more
}

type change struct {
	rev  uint64
	task *task.Task
	size int
}

// Bounds of the feed.
const (
	catchBytes = 512 << 10 // that a reader holds which catches up
	feedKept   = 4096      // changes
	feedBytes  = 8 << 20
	feedWait   = 2 * time.Second // of one pull, and so how long the feed outlives its readers
	feedPause  = 100 * time.Millisecond
	catchingUp = 2 // readers at a time
)

func newFeed() *feed {
	return &feed{catching: newLane(catchingUp, catchBytes), moved: make(chan struct{})}
}

// join counts a reader in, and has the feed begin after revision last if it does
// not run.
func (f *feed) join(s *core, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers++
	if f.running {
		return
	}
	f.running, f.closed, f.recent, f.size, f.floor, f.last = true, false, nil, 0, last, last
	go f.run(s)
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
}

// after looks for the first change of a tenant behind *at, and moves *at to it or
// to the end. Where floor is higher than *at, the feed does not know.
func (f *feed) after(at *uint64, tenant string) (t *task.Task, floor uint64, moved <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 0, nil, fmt.Errorf("follow tasks: %w", task.ErrUnavailable)
	}
	if *at < f.floor {
		return nil, f.floor, nil, nil
	}
	first := sort.Search(len(f.recent), func(i int) bool { return f.recent[i].rev > *at })
	for _, c := range f.recent[first:] {
		*at = c.rev
		if tenant == EveryTenant || c.task.Tenant == tenant {
			return c.task, f.floor, nil, nil
		}
	}
	*at = max(*at, f.last)
	return nil, f.floor, f.moved, nil
}

// add keeps a change and tells the readers.
func (f *feed) add(s *core, m message) {
	t := s.record(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.seq <= f.last {
		return // a new consumer may begin a little early
	}
	f.last = m.seq
	if t == nil {
		return
	}
	f.recent, f.size = append(f.recent, change{m.seq, t, len(m.data)}), f.size+len(m.data)
	for len(f.recent) > feedKept || f.size > feedBytes {
		f.floor, f.size = f.recent[0].rev, f.size-f.recent[0].size
		f.recent[0] = change{}
		f.recent = f.recent[1:]
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

// run reads until there is no reader, or no connection. A consumer that is gone
// is made again behind what was read.
func (f *feed) run(s *core) {
	for {
		err := f.follow(s)
		if f.over(s.nc.IsClosed()) {
			return
		}
		if err != nil {
			<-time.After(feedPause)
		}
	}
}

// over reports whether the feed ends, and with it that it runs.
func (f *feed) over(closed bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers > 0 && !closed {
		return false
	}
	f.running, f.closed = false, closed
	close(f.moved) // readers that wait learn that nothing more comes
	f.moved = make(chan struct{})
	return true
}

func (f *feed) follow(s *core) error {
	ctx := context.Background() // the readers' own: it outlives each of them
	f.mu.Lock()
	from := f.last + 1
	f.mu.Unlock()
	r, err := s.newReader(ctx, s.records, topology.RecordsAll, from, pullBytes)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		f.mu.Lock()
		idle := f.readers == 0
		f.mu.Unlock()
		if idle {
			return nil
		}
		if _, err := r.next(ctx, feedWait, func(m message) error {
			f.add(s, m)
			return nil
		}); err != nil {
			return err
		}
	}
}

package mesh

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"agentmesh/shared/audit"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// How entries are stored that nobody waits for: those of one tenant and action
// together, once a second, so that a tenant costs one write a second however much
// it does. A process that is killed loses those of its last second; their log
// lines are written.
const (
	trailEvery    = time.Second
	trailAgain    = 5 * time.Second // after the store has not taken some
	trailTogether = 1000            // entries of one message
	trailWaiting  = 1 << 16         // entries that may wait; later ones are dropped and counted
	trailWriters  = 8
)

// refusedLines is how many refused attempts are logged in a second; all are
// counted.
const refusedLines = 10

// The ends of entries, as their metric names them.
const (
	entryWritten = "written"
	entryDropped = "dropped"
)

// trail stores the entries of the audit trail.
type trail struct {
	store *store.Store
	log   *slog.Logger

	mu      sync.Mutex
	open    map[batchKey]*batch // that entries are added to
	closed  []*batch            // that are full, or were not taken: no more are added
	waiting int                 // entries of both
	armed   bool                // a timer runs

	flushing sync.Mutex

	lines lineRate
}

type batchKey struct {
	tenant string
	action audit.Action
}

// batch is one message. Its id stays the same when it is written again, so that it
// is kept once.
type batch struct {
	id      string
	entries []audit.Entry
}

func newTrail(st *store.Store, log *slog.Logger) *trail {
	telemetry.AuditEntries.Add(0, entryWritten)
	telemetry.AuditEntries.Add(0, entryDropped)
	return &trail{store: st, log: log, open: map[batchKey]*batch{}}
}

func newBatch(entries ...audit.Entry) *batch {
	return &batch{id: "audit-" + uuid.NewString(), entries: entries}
}

// now stores one entry, or has it stored later.
func (t *trail) now(ctx context.Context, e audit.Entry) {
	b := newBatch(e)
	if err := t.write(ctx, b); err != nil {
		t.log.ErrorContext(ctx, "entry of the audit trail not stored, it is tried again", "action", e.Action, "object", e.Object, "error", err)
		t.keep(b)
	}
}

func (t *trail) write(ctx context.Context, b *batch) error {
	err := t.store.Audit.Write(ctx, b.id, b.entries)
	if err == nil {
		telemetry.AuditEntries.Add(int64(len(b.entries)), entryWritten)
	}
	return err
}

// later has an entry stored with others.
func (t *trail) later(e audit.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.room(1) {
		return
	}
	key := batchKey{e.Tenant, e.Action}
	b := t.open[key]
	if b == nil {
		b = newBatch()
		t.open[key] = b
	}
	if b.entries = append(b.entries, e); len(b.entries) == trailTogether {
		delete(t.open, key)
		t.closed = append(t.closed, b)
	}
	t.arm(trailEvery)
}

// keep has a batch written again.
func (t *trail) keep(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.room(len(b.entries)) {
		t.closed = append(t.closed, b)
		t.arm(trailAgain)
	}
}

// room takes the room of n entries, or counts them as dropped.
func (t *trail) room(n int) bool {
	if t.waiting+n > trailWaiting {
		telemetry.AuditEntries.Add(int64(n), entryDropped)
		return false
	}
	t.waiting += n
	return true
}

// arm has what waits written soon. There is no goroutine while nothing waits.
func (t *trail) arm(in time.Duration) {
	if t.armed || t.store.Closed() {
		return
	}
	t.armed = true
	time.AfterFunc(in, func() { t.flush(context.Background()) })
}

// flush writes what waits. What the store does not take is kept.
func (t *trail) flush(ctx context.Context) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	all := t.closed
	for _, b := range t.open {
		all = append(all, b)
	}
	clear(t.open)
	t.closed, t.waiting, t.armed = nil, 0, false
	t.mu.Unlock()
	var writers errgroup.Group
	writers.SetLimit(trailWriters)
	for _, b := range all {
		writers.Go(func() error {
			err := t.write(ctx, b)
			if err != nil {
				t.keep(b)
			}
			return err
		})
	}
	if err := writers.Wait(); err != nil {
		t.log.Warn("entries of the audit trail not stored, they are tried again", "error", err)
	}
}

// Flush stores the entries of the audit trail and of the logs of hooks that wait.
// Call it when no more calls come.
func (m *Mesh) Flush(ctx context.Context) {
	m.Hooks.doors.log.flush(ctx)
	m.Audit.trail.flush(ctx)
}

// refused counts what was refused, and logs some of it: with a reason, if there is
// one.
func (t *trail) refused(ctx context.Context, e audit.Entry, reason slog.Attr) {
	telemetry.AuditRefused.Add(1, e.Outcome)
	if quiet, ok := t.lines.take(time.Now()); ok {
		line := append(auditLine(e), reason)
		if quiet > 0 {
			line = append(line, slog.Int("not_logged", quiet))
		}
		t.log.LogAttrs(ctx, slog.LevelInfo, "refused", line...)
	}
}

// lineRate bounds how often something is logged.
type lineRate struct {
	mu     sync.Mutex
	second int64
	lines  int
	quiet  int
}

// take reports whether a line may be written, and how many were not before it.
func (r *lineRate) take(now time.Time) (quiet int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		r.second, r.lines = s, 0
	}
	if r.lines == refusedLines {
		r.quiet++
		return 0, false
	}
	r.lines++
	quiet, r.quiet = r.quiet, 0
	return quiet, true
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Position is where a listing goes on: the highest revision, and the highest
// sequence in the queues of tasks and of turns, that it has not looked at yet. A
// part that is done has 0.
type Position struct {
	Record uint64
	Queue  uint64
	Turns  uint64
}

// Start is the position of a first page.
var Start = Position{Record: ^uint64(0), Queue: ^uint64(0), Turns: ^uint64(0)}

// Done reports whether there is nothing left to list.
func (p Position) Done() bool { return p == Position{} }

// Bounds of one page: a listing that filters hard ends when its time is over,
// one of large tasks when it has enough to show, each with a position to go on
// from.
const (
	listTime     = 1500 * time.Millisecond   // of looking; an answer comes within 2 s
	listLimit    = requestTimeout + listTime // of it all, while the store does not answer
	listShare    = time.Second               // of it for the records, if the queues may match too
	newsTime     = listShare / 4             // longer, for what came meanwhile
	pageBytes    = 16 << 20                  // of the tasks of a page, inputs left out
	stepMessages = 256                       // of a window of a queue: each is a request
)

// Listing is what a listing of tasks asks for.
type Listing struct {
	Tenant string
	From   Position
	Limit  int
	Match  func(*task.Task) bool
	// Holds are members that the record of a task that matches has: the others are
	// passed over before they are decoded.
	Holds []Member
	// Since says that no task matches that was created before it; zero: any may.
	Since time.Time
	// Queued says that tasks may match that no worker has met: they are pending.
	Queued bool
}

// clockSkew is how much earlier than its message a clock of ours may have said
// that a task was created, and be right.
const clockSkew = 2 * time.Second

// tooOld reports whether what was stored at a time, and what came before, was
// created before l.Since.
func (l Listing) tooOld(stored time.Time) bool { return stored.Add(clockSkew).Before(l.Since) }

// Listed is a page of tasks. Their inputs and outputs are left out.
type Listed struct {
	Tasks   []*task.Task
	Next    Position
	Scanned int // records and queue messages that were looked at
}

// List returns up to limit tasks of a tenant that match, newest change first,
// and where the next page starts. There is no index: it reads the records'
// stream backwards, and in the queues the tasks that have no record yet. A short
// page is not the end; a Done position is.
func (s Tasks) List(ctx context.Context, l Listing) (Listed, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	began := time.Now()
	out := Listed{Next: l.From}
	if !l.Queued {
		out.Next.Queue, out.Next.Turns = 0, 0
	}
	// The order is the way of a task, so that one that is claimed meanwhile is met at
	// its next place.
	var queued []*task.Task
	for _, q := range lister(s).queues(out.Next, l.Tenant) {
		found, err := lister(s).listQueue(ctx, l, q, &out, began.Add(listTime-listShare))
		if err != nil {
			return Listed{}, fmt.Errorf("list queue: %w", err)
		}
		queued = append(queued, found...)
	}
	page, err := lister(s).listRecords(ctx, l, &out, began.Add(listTime))
	if err != nil {
		return Listed{}, fmt.Errorf("list records: %w", err)
	}
	recorded := map[task.ID]bool{}
	for _, t := range page {
		recorded[t.ID] = true
	}
	for _, t := range queued {
		if !recorded[t.ID] {
			page = append(page, t)
		}
	}
	slices.SortStableFunc(page, func(a, b *task.Task) int { return changed(b).Compare(changed(a)) })
	out.Tasks = page
	if n := fits(page, l.Limit, weight); n < len(page) {
		for _, t := range page[n:] { // met again on the next page
			out.Next.back(t)
		}
		out.Tasks = page[:n]
	}
	return out, nil
}

// back has a listing meet a task again.
func (p *Position) back(t *task.Task) {
	switch {
	case t.Rev > 0:
		p.Record = max(p.Record, t.Rev)
	case t.Kind == task.KindTurn:
		p.Turns = max(p.Turns, t.QueueSeq)
	default:
		p.Queue = max(p.Queue, t.QueueSeq)
	}
}

// weight is about how much of a task is shown.
func weight(t *task.Task) int {
	size := 2048 + len(t.Result.Inline) + len(t.Metadata)
	for _, m := range t.Milestones {
		size += 100 + len(m.Message) + len(m.Data)
	}
	return size
}

// slim leaves out what no list shows.
func slim(t *task.Task) *task.Task {
	t.Input.Inline, t.Output = nil, ""
	return t
}

func changed(t *task.Task) time.Time {
	if t.UpdatedAt.After(t.CreatedAt) {
		return t.UpdatedAt
	}
	return t.CreatedAt
}

// lister reads what tasks there are, page by page.
type lister struct{ *core }

// listRecords reads the records' stream backwards from l.From.
func (s lister) listRecords(ctx context.Context, l Listing, out *Listed, until time.Time) ([]*task.Task, error) {
	if l.From.Record == 0 {
		return nil, nil
	}
	scan, err := s.backwardsOf(ctx, s.records, topology.TaskRecordsOf(l.Tenant), l.From.Record, holdingOf(l.Holds))
	if err != nil {
		return nil, err
	}
	seen := map[task.ID]uint64{} // the newest revision that was met
	page, next, err := gather(ctx, scan, until, l.Limit, func(m message) (*task.Task, int, bool, error) {
		if l.tooOld(m.at) {
			return nil, 0, false, errPast
		}
		id := task.ID(topology.SubjectID(m.subject))
		if seen[id] > m.seq || len(m.data) == 0 && !m.passed {
			return nil, 0, false, nil // an older revision, or a marker
		}
		if seen[id] = m.seq; m.passed {
			return nil, 0, false, nil
		}
		t, err := decodeRecord(m.data, m.seq)
		if err == nil && (t.ID != id || t.Tenant != l.Tenant) {
			err = fmt.Errorf("it is the record of %s of tenant %s: %w", t.ID, t.Tenant, task.ErrBadRecord)
		}
		if err != nil {
			s.damaged.note(m, err)
			return nil, 0, false, nil
		}
		if !l.Match(t) {
			return nil, 0, false, nil
		}
		// A page that is not the first meets older revisions of tasks that were
		// listed before, or that have changed since.
		if l.From.Record != Start.Record {
			newest, err := s.newest(ctx, m.subject)
			if err != nil || newest != m.seq {
				return nil, 0, false, err
			}
		}
		return slim(t), weight(t), true, nil
	})
	out.Next.Record = next
	out.Scanned += scan.looked
	return values(page), err
}

// newest is the last revision of a subject of the records' stream, 0: none.
func (s lister) newest(ctx context.Context, subject string) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.TasksBucket)
	defer cancel()
	msg, err := s.records.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, classify(err)
	}
	return msg.Sequence, nil
}

// queue is one of those in which tasks without a record wait.
type queue struct {
	stream   jetstream.Stream
	subjects []string
	at       func(*Position) *uint64
}

// queues are those that a listing has to look into.
func (s lister) queues(from Position, tenant string) []queue {
	return slices.DeleteFunc([]queue{
		{s.tasks, []string{topology.TasksQueuedOf(tenant), topology.TasksLater}, func(p *Position) *uint64 { return &p.Queue }},
		{s.turns, []string{topology.TurnsOf(tenant)}, func(p *Position) *uint64 { return &p.Turns }},
	}, func(q queue) bool { return *q.at(&from) == 0 })
}

// listQueue reads a queue backwards.
func (s lister) listQueue(ctx context.Context, l Listing, q queue, out *Listed, until time.Time) ([]*task.Task, error) {
	at := q.at(&out.Next)
	scan, err := s.newBackwards(ctx, q.stream, s.steps(q, l.Tenant), *at, stepMessages)
	if err != nil {
		return nil, err
	}
	page, next, err := gather(ctx, scan, until, l.Limit, func(m message) (*task.Task, int, bool, error) {
		if l.tooOld(m.at) {
			return nil, 0, false, errPast
		}
		t, err := s.unrecorded(ctx, l.Tenant, m)
		if t == nil || err != nil || !l.Match(t) {
			return nil, 0, false, err
		}
		return slim(t), weight(t), true, nil
	})
	*at = next
	out.Scanned += scan.looked
	return values(page), err
}

// unrecorded reads a message of a queue: the task, where it has no record yet.
func (s lister) unrecorded(ctx context.Context, tenant string, m message) (*task.Task, error) {
	if m.others {
		return nil, nil
	}
	t, err := decodeQueued(m.data, m.seq)
	if err != nil {
		s.damaged.note(m, err)
		return nil, nil
	}
	if t.Tenant != tenant || t.Attempt > 0 { // a retry has a record
		return nil, nil
	}
	rev, err := s.newest(ctx, topology.TaskRecord(tenant, t.ID))
	if err != nil || rev > 0 {
		return nil, err
	}
	return t, nil
}

// allOf are the values that a stream holds of a subject, the oldest change first. One
// that is replaced meanwhile is read twice: it is what it is now. What decode does not
// show is left out, and what it cannot read is noted.
func allOf[T any](ctx context.Context, s *core, stream jetstream.Stream, subject string, decode func(m message) (v T, shown bool, err error)) ([]T, error) {
	read := map[string]gathered[T]{}
	err := s.readers(stream, subject, s.scans)(ctx, 1, ^uint64(0), func(m message) error {
		delete(read, m.subject)
		if len(m.data) == 0 {
			return nil // a marker
		}
		v, shown, err := decode(m)
		if err != nil {
			s.damaged.note(m, err)
		} else if shown {
			read[m.subject] = gathered[T]{seq: m.seq, v: v}
		}
		return nil
	})
	return values(slices.SortedFunc(maps.Values(read), func(a, b gathered[T]) int { return cmp.Compare(a.seq, b.seq) })), err
}

// recorded are the records that a stream holds of a subject, as allOf.
func recorded[T any](ctx context.Context, s *core, stream jetstream.Stream, subject string, decode func(data []byte, rev uint64) (T, error)) ([]T, error) {
	return allOf(ctx, s, stream, subject, func(m message) (T, bool, error) {
		v, err := decode(m.data, m.seq)
		return v, true, err
	})
}

// lastOfEach calls f with what a stream has of each subject of a pattern, in no order.
// It is for the few that no consumer may be made for: each is a request.
func lastOfEach(ctx context.Context, stream jetstream.Stream, pattern string, f func(m message)) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(pattern))
	if err != nil {
		return classify(err)
	}
	var mu sync.Mutex
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(recordsAtOnce)
	for subject := range info.State.Subjects {
		reads.Go(func() error {
			msg, err := stream.GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil // it has expired
			}
			if err != nil {
				return classify(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(msg.Data) > 0 {
				f(message{subject: subject, data: msg.Data, seq: msg.Sequence, at: msg.Time})
			}
			return nil
		})
	}
	return reads.Wait()
}

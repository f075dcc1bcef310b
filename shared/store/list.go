package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Position is where a listing goes on: the highest revision and the highest
// queue sequence that it has not looked at yet. A done half has 0.
type Position struct {
	Record uint64
	Queue  uint64
}

// Start is the position of a first page.
var Start = Position{Record: ^uint64(0), Queue: ^uint64(0)}

// Done reports whether there is nothing left to list.
func (p Position) Done() bool { return p.Record == 0 && p.Queue == 0 }

// Bounds of one page's work: a listing that filters hard ends short, with a
// position to go on from.
const (
	listWindow = 256
	listBudget = 8192 // messages looked at
)

// List returns up to limit tasks of a tenant that match, newest change first,
// and where the next page starts. There is no index: it reads the records'
// stream backwards, and in the queue the tasks that have no record yet. A short
// page is not the end; a Done position is.
func (s *Store) List(ctx context.Context, tenant string, from Position, limit int, match func(*task.Task) bool) ([]*task.Task, Position, error) {
	next := from
	records, err := s.scanRecords(ctx, tenant, &next.Record, limit, match)
	if err != nil {
		return nil, from, fmt.Errorf("list records: %w", err)
	}
	queued, err := s.scanQueue(ctx, tenant, &next.Queue, limit, match)
	if err != nil {
		return nil, from, fmt.Errorf("list queue: %w", err)
	}
	page := append(records, queued...)
	slices.SortStableFunc(page, func(a, b *task.Task) int { return changed(b).Compare(changed(a)) })
	if len(page) > limit {
		// What the page has no room for is met again on the next one.
		for _, t := range page[limit:] {
			if t.Rev > 0 {
				next.Record = max(next.Record, t.Rev)
			} else {
				next.Queue = max(next.Queue, t.QueueSeq)
			}
		}
		page = page[:limit]
	}
	return page, next, nil
}

func changed(t *task.Task) time.Time {
	if t.UpdatedAt.After(t.CreatedAt) {
		return t.UpdatedAt
	}
	return t.CreatedAt
}

// scanRecords reads the records' stream backwards from *at in windows and
// leaves in *at where it stopped.
func (s *Store) scanRecords(ctx context.Context, tenant string, at *uint64, limit int, match func(*task.Task) bool) ([]*task.Task, error) {
	if *at == 0 {
		return nil, nil
	}
	info, err := s.records.Info(ctx)
	if err != nil {
		return nil, classify(err)
	}
	first, last := info.State.FirstSeq, info.State.LastSeq
	*at = min(*at, last)
	var page []*task.Task
	seen := map[string]bool{}
	for looked := 0; *at >= first && *at > 0 && looked < listBudget && len(page) < limit; {
		low := max(first, *at-min(*at-1, listWindow-1))
		window, err := s.window(ctx, tenant, low, *at)
		if err != nil {
			return nil, err
		}
		for i := len(window) - 1; i >= 0; i-- {
			if len(page) == limit {
				*at = window[i].Rev
				return page, nil
			}
			t := window[i]
			if seen[t.ID] || !match(t) {
				seen[t.ID] = true
				continue
			}
			seen[t.ID] = true
			// An older revision of a task that was listed, or has changed, above.
			if newest, err := s.records.GetLastMsgForSubject(ctx, topology.TaskRecord(tenant, t.ID)); err != nil || newest.Sequence != t.Rev {
				continue
			}
			page = append(page, t)
		}
		looked += int(*at - low + 1)
		*at = low - 1
	}
	if *at < first {
		*at = 0
	}
	return page, nil
}

// window reads a tenant's records with revisions low to high, in order, through
// a consumer in memory that lives as long.
func (s *Store) window(ctx context.Context, tenant string, low, high uint64) (tasks []*task.Task, err error) {
	err = window(ctx, s.records, topology.TaskRecordsOf(tenant), low, high, func(data []byte, rev uint64) {
		if t, err := decodeRecord(data, rev); err == nil {
			tasks = append(tasks, t)
		}
	})
	return tasks, err
}

// window calls f with the messages of a stream with sequences low to high.
func window(ctx context.Context, stream jetstream.Stream, subject string, low, high uint64, f func(data []byte, seq uint64)) error {
	c, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: low,
		FilterSubject: subject, MemoryStorage: true, Replicas: 1, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return classify(err)
	}
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) }()
	n := int(min(c.CachedInfo().NumPending, high-low+1))
	if n == 0 {
		return nil
	}
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(requestTimeout))
	if err != nil {
		return classify(err)
	}
	for msg := range batch.Messages() {
		if meta, err := msg.Metadata(); err == nil && meta.Sequence.Stream <= high {
			f(msg.Data(), meta.Sequence.Stream)
		}
	}
	return classify(batch.Error())
}

// scanQueue lists the queued tasks that have no record yet, newest first.
func (s *Store) scanQueue(ctx context.Context, tenant string, at *uint64, limit int, match func(*task.Task) bool) ([]*task.Task, error) {
	if *at == 0 {
		return nil, nil
	}
	info, err := s.tasks.Info(ctx)
	if err != nil {
		return nil, classify(err)
	}
	*at = min(*at, info.State.LastSeq)
	var page []*task.Task
	consider := func(msg *jetstream.RawStreamMsg) error {
		t, err := decodeQueued(msg.Data, msg.Sequence)
		if err != nil || t.Tenant != tenant || t.Attempt > 0 || !match(t) {
			return nil // a retry has a record
		}
		_, err = s.Get(ctx, tenant, t.ID)
		if errors.Is(err, task.ErrNotFound) {
			page = append(page, t)
			return nil
		}
		return err
	}
	if info.State.Msgs <= listWindow {
		return s.scanShortQueue(ctx, at, limit, &page, consider)
	}
	looked := 0
	for ; *at >= info.State.FirstSeq && *at > 0 && looked < listBudget/4 && len(page) < limit; *at-- {
		looked++
		msg, err := s.tasks.GetMsg(ctx, *at)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, classify(err)
		}
		if err := consider(msg); err != nil {
			return nil, err
		}
	}
	if *at < info.State.FirstSeq {
		*at = 0
	}
	return page, nil
}

// scanShortQueue reads a queue of few messages forwards, from one to the next
// over the gaps that acked messages left.
func (s *Store) scanShortQueue(ctx context.Context, at *uint64, limit int, page *[]*task.Task, consider func(*jetstream.RawStreamMsg) error) ([]*task.Task, error) {
	for seq := uint64(1); seq <= *at; {
		msg, err := s.tasks.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, classify(err)
		}
		if msg.Sequence > *at {
			break
		}
		if err := consider(msg); err != nil {
			return nil, err
		}
		seq = msg.Sequence + 1
	}
	slices.SortFunc(*page, func(a, b *task.Task) int { return cmp.Compare(b.QueueSeq, a.QueueSeq) })
	*at = 0
	if len(*page) > limit {
		*at = (*page)[limit].QueueSeq
		*page = (*page)[:limit]
	}
	return *page, nil
}

// backwards reads up to limit values from a bucket that keeps one revision of
// each key: newest change first, from revision from (0: the newest) on, width
// messages at a time. next is where to go on, 0 the end; a short page is not.
func backwards[T any](ctx context.Context, stream jetstream.Stream, subject string, from, width uint64, limit int, decode func(data []byte, rev uint64) (T, bool)) (page []T, next uint64, err error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, from, classify(err)
	}
	at, first := info.State.LastSeq, info.State.FirstSeq
	if from > 0 {
		at = min(at, from)
	}
	for looked := 0; at >= first && at > 0 && looked < listBudget; {
		low := max(first, at-min(at-1, width-1))
		var found []T
		var revs []uint64
		err := window(ctx, stream, subject, low, at, func(data []byte, rev uint64) {
			if v, ok := decode(data, rev); ok {
				found, revs = append(found, v), append(revs, rev)
			}
		})
		if err != nil {
			return nil, from, err
		}
		for i := len(found) - 1; i >= 0; i-- {
			if len(page) == limit {
				return page, revs[i], nil
			}
			page = append(page, found[i])
		}
		looked += int(at - low + 1)
		at = low - 1
	}
	if at < first {
		at = 0
	}
	return page, at, nil
}

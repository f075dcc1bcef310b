package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// gathered is what a page shows of one key: of a task, a session or a delivery.
type gathered[T any] struct {
	key  string // what its subject ends with
	seq  uint64
	size int
	v    T
}

func (g gathered[T]) bytes() int { return g.size }

// take says of a message what a page shows of it, and how large that is; not shown:
// nothing. errPast ends the page in front of it.
type take[T any] func(m message) (v T, size int, shown bool, err error)

// gather reads a page backwards: up to limit of what is shown, the newest first, each
// once, and the sequence that the next page goes on at; 0: there is none.
//
// What changes while a page is read leaves its place for one behind the end, where a
// page that begins at the end looks at last.
func gather[T any](ctx context.Context, b *backwards, until time.Time, limit int, f take[T]) (page []gathered[T], next uint64, err error) {
	past, size, has := false, 0, map[string]bool{}
	err = b.each(ctx, until, func(m message) (bool, error) {
		if len(page) >= limit || size > pageBytes {
			return false, nil
		}
		v, n, shown, err := f(m)
		if past = errors.Is(err, errPast); past || err != nil {
			return false, ignored(err, errPast)
		}
		// A task that is promoted, or made ready, is in its queue twice for a moment.
		if key := topology.SubjectID(m.subject); shown && !has[key] {
			has[key] = true
			page, size = append(page, gathered[T]{key, m.seq, n, v}), size+n
		}
		return true, nil
	})
	if next = b.at; past {
		next = 0
	}
	if err == nil && b.newest {
		page, next, err = withNews(ctx, b, page, next, until.Add(newsTime), limit, f)
	}
	if n := fits(page, limit, gathered[T].bytes); n < len(page) { // the rest is met again on the next page
		page, next = page[:n], page[n].seq
	}
	return page, next, err
}

// withNews is a page with what came since the scan began, and where the next page goes
// on. Where that is more than there is time for, it is the page, as far as it was read.
func withNews[T any](ctx context.Context, b *backwards, page []gathered[T], next uint64, until time.Time, limit int, f take[T]) ([]gathered[T], uint64, error) {
	changed, shown := map[string]uint64{}, map[string]gathered[T]{}
	left, err := b.news(ctx, until, func(m message) (bool, error) {
		key := topology.SubjectID(m.subject)
		if changed[key] > m.seq {
			return true, nil
		}
		if b.whole == nil && len(shown) >= limit {
			return false, nil
		}
		changed[key] = m.seq
		delete(shown, key)
		v, n, ok, err := f(m)
		if ok && err == nil {
			shown[key] = gathered[T]{key, m.seq, n, v}
		}
		return true, ignored(err, errPast)
	})
	if err != nil {
		return nil, 0, err
	}
	if left > 0 {
		page, next = nil, left
	}
	page = slices.DeleteFunc(page, func(g gathered[T]) bool { return changed[g.key] > 0 })
	for _, g := range shown {
		page = append(page, g)
	}
	slices.SortFunc(page, func(a, b gathered[T]) int { return cmp.Compare(b.seq, a.seq) })
	return page, next, nil
}

// fits is how much of a page one answer holds: at least one.
func fits[T any](page []T, limit int, sizeOf func(T) int) int {
	size := 0
	for i, v := range page {
		if size += sizeOf(v); i == limit || i > 0 && size > pageBytes {
			return i
		}
	}
	return len(page)
}

// ignored is err, unless it is one that says nothing.
func ignored(err, nothing error) error {
	if errors.Is(err, nothing) {
		return nil
	}
	return err
}

// values are those of a page.
func values[T any](page []gathered[T]) []T {
	all := make([]T, len(page))
	for i, g := range page {
		all[i] = g.v
	}
	return all
}

// Found is a page of what a bucket holds.
type Found[T any] struct {
	Items   []T
	Next    uint64 // revision that the next page starts at, 0: there is none
	Scanned int
}

// Search is what a listing of a bucket looks for.
type Search[T any] struct {
	From  uint64 // revision that the page starts at, and goes down from; 0: the newest
	Limit int
	Match func(T) bool
	Holds []Member // that the record of what matches has
}

// newestFirst reads a page of a bucket that keeps one revision of each key: the
// values that are looked for, newest change first. A short page is not the end.
func newestFirst[T any](ctx context.Context, s *core, stream jetstream.Stream, subject string, q Search[T], decode func(data []byte, rev uint64) (T, error)) (out Found[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	from := q.From
	if from == 0 {
		from = ^uint64(0)
	}
	scan, err := s.backwardsOf(ctx, stream, subject, from, holdingOf(q.Holds))
	if err != nil {
		return out, err
	}
	page, next, err := gather(ctx, scan, time.Now().Add(listTime), q.Limit, func(m message) (v T, size int, shown bool, _ error) {
		if len(m.data) == 0 {
			return v, 0, false, nil // a marker, or passed over
		}
		v, err := decode(m.data, m.seq)
		if err != nil {
			s.damaged.note(m, err)
			return v, 0, false, nil
		}
		return v, len(m.data), q.Match(v), nil
	})
	return Found[T]{values(page), next, scan.looked}, err
}

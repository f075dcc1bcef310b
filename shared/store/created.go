package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Place is where a task stands in the order of creation. The zero Place is before
// the newest.
type Place struct {
	Created int64 // unix milliseconds
	ID      task.ID
}

func placeOf(t *task.Task) Place { return Place{t.CreatedAt.UnixMilli(), t.ID} }

// compare is negative where p is listed before q: it is newer.
func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(q.Created, p.Created), cmp.Compare(q.ID, p.ID))
}

// ListedCreated is a page in the order of creation.
type ListedCreated struct {
	Listed
	After Place  // where the next page goes on
	View  string // names what makes a next page cheaper, if that is soon and of a store that read one before
	Done  bool   // there is no next page
}

// ListCreated lists as List does, in the order of creation, newest first, from
// behind a place on. A reader that goes page after page meets each task that
// matches once, however the tasks change meanwhile.
//
// There is no index of creation either. But a task is not created after its
// newest change: after a look at all changes since some time, all tasks created
// since then are known. A view keeps the changes that one page has looked at, so
// that the next page does not begin at the newest change again.
func (s Tasks) ListCreated(ctx context.Context, l Listing, after Place, view string) (ListedCreated, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	until := time.Now().Add(listTime)
	v := s.views.take(view, l.Tenant, after)
	if v == nil {
		var err error
		if v, err = lister(s).newView(ctx, l); err != nil {
			return ListedCreated{}, fmt.Errorf("list tasks by creation: %w", err)
		}
		if uuid.Validate(view) == nil { // each store that the pages are asked of has one of its own
			v.id = view
		}
	}
	v.forget(after)
	out := ListedCreated{After: after}
	page := &collector{limit: l.Limit}
	for more := true; more; {
		more = !v.complete()
		if err := v.extend(ctx, l); err != nil {
			return ListedCreated{}, fmt.Errorf("list tasks by creation: %w", err)
		}
		caughtUp, err := v.news(ctx, l, until)
		if err == nil && caughtUp {
			err = v.emit(ctx, lister(s), l, page, &out, until)
		}
		if err != nil {
			return ListedCreated{}, fmt.Errorf("list tasks by creation: %w", err)
		}
		more = more && !page.full() && time.Now().Before(until)
	}
	out.Tasks, out.Scanned = page.page, v.looked()
	if out.Done = v.complete() && v.behind(out.After) == len(v.found); !out.Done {
		out.View = s.views.keep(v)
	}
	return out, nil
}

// collector gathers a page until it is full.
type collector struct {
	limit, size int
	page        []*task.Task
}

func (c *collector) full() bool { return len(c.page) >= c.limit || c.size > pageBytes }

func (c *collector) add(t *task.Task) {
	c.page = append(c.page, slim(t))
	c.size += weight(t)
}

// candidate is a task that matched when it was looked at.
type candidate struct {
	Place
	from *half  // the queue that it is in, nil: it has a record
	seq  uint64 // of its message there
}

// createdView is what is known of a listing in the order of creation.
type createdView struct {
	id     string
	tenant string
	used   time.Time
	begun  Place // candidates before it are forgotten
	found  []candidate
	halves []*half
}

// half is one of the streams that tasks are in: the records, or a queue.
type half struct {
	stream jetstream.Stream
	read   span
	scan   *backwards
	oldest time.Time // when the newest of what was not looked at may have been stored
	top    uint64    // later changes are news
	queue  bool
}

func (s lister) newView(ctx context.Context, l Listing) (*createdView, error) {
	v := &createdView{id: uuid.NewString(), tenant: l.Tenant}
	records := &half{stream: s.records, read: s.readers(s.records, topology.TaskRecordsOf(l.Tenant), s.scans)}
	var err error
	if records.scan, err = s.backwardsOf(ctx, s.records, topology.TaskRecordsOf(l.Tenant), ^uint64(0), holdingOf(l.Holds)); err != nil {
		return nil, err
	}
	halves := []*half{records}
	if l.Queued {
		for _, q := range s.queues(Start, l.Tenant) {
			h := &half{stream: q.stream, read: s.steps(q, l.Tenant), queue: true}
			if h.scan, err = s.newBackwards(ctx, h.stream, h.read, ^uint64(0), stepMessages); err != nil {
				return nil, err
			}
			halves = append(halves, h)
		}
	}
	for _, h := range halves {
		h.top, h.oldest = h.scan.at, time.Now()
	}
	v.halves = halves
	return v, nil
}

// forget drops what was listed on pages before. This page is kept: it may be asked
// for again.
func (v *createdView) forget(after Place) {
	if after != (Place{}) {
		v.begun = after
		v.found = slices.DeleteFunc(v.found, func(c candidate) bool { return c.compare(after) <= 0 })
	}
}

// behind is the index of the first candidate behind a place.
func (v *createdView) behind(after Place) int {
	if after == (Place{}) {
		return 0
	}
	i, found := slices.BinarySearchFunc(v.found, after, func(c candidate, p Place) int { return c.compare(p) })
	if found {
		i++
	}
	return i
}

// complete reports whether everything was looked at.
func (v *createdView) complete() bool {
	return !slices.ContainsFunc(v.halves, func(h *half) bool { return h.scan.at > 0 })
}

// known is since when all that was created is known.
func (v *createdView) known() (since time.Time) {
	for _, h := range v.halves {
		if h.scan.at > 0 && h.oldest.After(since) {
			since = h.oldest
		}
	}
	if since.IsZero() {
		return since
	}
	return since.Add(clockSkew)
}

func (v *createdView) looked() (n int) {
	for _, h := range v.halves {
		n += h.scan.looked
		h.scan.looked = 0
	}
	return n
}

// extend looks at one more window of the half that is behind.
func (v *createdView) extend(ctx context.Context, l Listing) error {
	var behind *half
	for _, h := range v.halves {
		if h.scan.at > 0 && (behind == nil || h.oldest.After(behind.oldest)) {
			behind = h
		}
	}
	if behind == nil {
		return nil
	}
	seen := map[string]bool{}
	err := behind.scan.each(ctx, time.Time{}, func(m message) (bool, error) {
		behind.oldest = m.at
		v.consider(behind, l, m, seen)
		return true, nil
	})
	if err == nil && l.tooOld(behind.oldest) {
		behind.scan.at = 0
	}
	return err
}

// news looks at what came since the view began. It reports whether that is all.
func (v *createdView) news(ctx context.Context, l Listing, until time.Time) (all bool, err error) {
	for _, h := range v.halves {
		info, err := h.scan.s.info(ctx, h.stream)
		if err != nil {
			return false, classify(err)
		}
		last := info.State.LastSeq
		if last <= h.top {
			continue
		}
		err = h.read(ctx, h.top+1, last, func(m message) error {
			v.consider(h, l, m, nil)
			h.top = m.seq
			if !m.others {
				h.scan.looked++
			}
			if !time.Now().Before(until) {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) && h.top < last {
			return false, nil
		}
		if err != nil && !errors.Is(err, errEnough) {
			return false, err
		}
		h.top = last
	}
	return true, nil
}

// consider notes the task of a message, if it matches as it is there.
func (v *createdView) consider(h *half, l Listing, m message, seen map[string]bool) {
	if len(m.data) == 0 && !m.passed || m.others || !h.queue && seen[m.subject] {
		return // a marker, another tenant's, or an older revision
	}
	if seen != nil && !h.queue {
		seen[m.subject] = true
	}
	if m.passed {
		return
	}
	t, err := decode(m.data)
	if err != nil {
		h.scan.s.damaged.note(m, err)
		return
	}
	if t.Tenant != l.Tenant || h.queue && t.Attempt > 0 || !l.Match(t) {
		return
	}
	c := candidate{Place: placeOf(t)}
	if h.queue {
		c.from, c.seq = h, m.seq
	}
	if v.begun == (Place{}) || c.compare(v.begun) > 0 {
		v.found = append(v.found, c)
	}
}

// emit puts the candidates that no unknown task can come before on the page, as
// they are now.
func (v *createdView) emit(ctx context.Context, s lister, l Listing, page *collector, out *ListedCreated, until time.Time) error {
	slices.SortFunc(v.found, func(a, b candidate) int { return cmp.Or(a.compare(b.Place), cmp.Compare(b.seq, a.seq)) })
	v.found = slices.CompactFunc(v.found, func(a, b candidate) bool { return a.Place == b.Place })
	known, first := v.known(), v.behind(out.After)
	for n := first; n < len(v.found) && !page.full(); n++ {
		c := v.found[n]
		if !known.IsZero() && c.Created <= known.UnixMilli() || n > first && !time.Now().Before(until) {
			return nil
		}
		t, err := s.candidate(ctx, l.Tenant, c)
		if err != nil {
			return err
		}
		if t != nil && l.Match(t) {
			page.add(t)
		}
		out.After = c.Place
	}
	return nil
}

// candidate reads a task that a view has found, nil where it is gone.
func (s lister) candidate(ctx context.Context, tenant string, c candidate) (*task.Task, error) {
	t, err := Tasks(s).Get(ctx, tenant, c.ID)
	if errors.Is(err, task.ErrNotFound) && c.from != nil {
		err = c.from.read(ctx, c.seq, c.seq, func(m message) (err error) {
			t, err = decodeQueued(m.data, m.seq)
			return err
		})
		if err == nil && t == nil { // claimed meanwhile
			t, err = Tasks(s).Get(ctx, tenant, c.ID)
		}
	}
	if errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrBadRecord) || t != nil && t.Tenant != tenant {
		return nil, nil
	}
	return t, err
}

// views keeps the views of listings that may go on.
type views struct {
	mu  sync.Mutex
	all []*createdView // least recently used first
}

// Bounds of what is kept for listings that may go on.
const (
	viewsKept      = 256
	candidatesKept = 500_000 // of all views
	viewIdle       = 2 * time.Minute
)

// take takes a tenant's view out, if it is kept and knows what comes after a place.
func (k *views) take(id, tenant string, after Place) *createdView {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.all, func(v *createdView) bool { return v.id == id && v.tenant == tenant && time.Since(v.used) < viewIdle })
	if i < 0 {
		return nil
	}
	v := k.all[i]
	k.all = slices.Delete(k.all, i, i+1)
	if v.begun != (Place{}) && v.begun.compare(after) > 0 {
		return nil // that page was left behind
	}
	return v
}

func (k *views) keep(v *createdView) (id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v.used = time.Now()
	k.all = append(k.all, v)
	held := 0
	for i := len(k.all) - 1; i >= 0; i-- {
		held += len(k.all[i].found)
		if len(k.all)-i > viewsKept || held > candidatesKept || time.Since(k.all[i].used) >= viewIdle {
			k.all = slices.Delete(k.all, 0, i+1)
			break
		}
	}
	return v.id
}

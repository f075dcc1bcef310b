package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Bulk does one thing to all that a filter finds. It is a loop over the operation on
// one, so that each decides for itself, and leaves its own entry in the audit trail.
type Bulk struct{ *core }

// BulkAction is what is done.
type BulkAction string

// The actions on tasks, and that on deliveries.
const (
	BulkCancel    BulkAction = "cancel"
	BulkRetry     BulkAction = "retry"
	BulkRedeliver BulkAction = "redeliver"
)

// bulkStates are the states of the tasks that an action is for.
var bulkStates = map[BulkAction][]task.State{
	BulkCancel: {task.Pending, task.Processing, task.InputRequired},
	BulkRetry:  {task.Failed, task.Canceled},
}

// BulkRequest says how far one request goes.
type BulkRequest struct {
	Limit  int    // how many are found at most; 0: DefaultBulk
	DryRun bool   // count them, and do nothing
	Cursor string // of the answer before, to go on
}

// Bounds of one request; the next one goes on.
const (
	DefaultBulk = 1000
	MaxBulk     = 10_000
	bulkPage    = 100
	bulkAtOnce  = 8
	bulkTime    = 20 * time.Second
)

// BulkDone is what a request came to.
type BulkDone struct {
	Matched int // that the filter found
	Done    int
	Skipped int // that this was done to before, within a day
	Failed  []BulkFailure
	Next    string // cursor where there may be more; empty: that was all
}

// BulkFailure counts those that were refused for one reason.
type BulkFailure struct {
	Code    string
	Detail  string // of the first one
	Example string // its id
	Count   int
}

// Tasks cancels or retries the tasks that a filter finds, newest first; those that are
// made meanwhile are left alone. A task is retried once within a day by this, so that
// a request whose answer was lost may be sent again.
func (c Bulk) Tasks(ctx context.Context, who auth.Caller, action BulkAction, f Filter, r BulkRequest) (done BulkDone, err error) {
	defer func() { c.note(ctx, who, audit.TaskBulk, action, r, done, err) }()
	faults := r.check()
	states, known := bulkStates[action]
	if !known {
		faults = append(faults, Field("it is "+strconv.Quote(Clip(string(action), 32))+", allowed are cancel and retry", "/action"))
	}
	for i, s := range f.Statuses {
		if known && !slices.Contains(states, s) {
			faults = append(faults, Field(string(action)+" is not for tasks that are "+string(s), "/filter/status/"+strconv.Itoa(i)))
		}
	}
	if len(faults) > 0 {
		return done, RefuseFields(faults...)
	}
	if len(f.Statuses) == 0 {
		f.Statuses = states
	}
	at, err := decodeBulk(r.Cursor)
	if err != nil {
		return done, err
	}
	if f.Created = true; f.CreatedBefore.IsZero() || f.CreatedBefore.After(at.Before) {
		f.CreatedBefore = at.Before
	}
	do := func(ctx context.Context, t *task.Task) (bool, error) { return c.doTask(ctx, who, action, t) }
	loop := sweeping[*task.Task]{
		request: r, at: at, id: func(t *task.Task) string { return string(t.ID) }, do: do,
		list: func(ctx context.Context, n int, cursor string) ([]*task.Task, string, error) {
			l, err := Tasks(c).List(ctx, who, f, n, cursor)
			return slices.DeleteFunc(l.Tasks, func(t *task.Task) bool { return action == BulkRetry && t.Kind == task.KindTurn }), l.Next, err
		},
	}
	return loop.run(ctx)
}

func (c Bulk) doTask(ctx context.Context, who auth.Caller, action BulkAction, t *task.Task) (skipped bool, err error) {
	if action == BulkCancel {
		_, err = Tasks(c).Cancel(ctx, who, t.ID)
		return false, err
	}
	a, err := Tasks(c).Retry(ctx, who, t.ID, &Submission{Key: NewKey(who, string(t.ID), []string{"bulk", string(action)})})
	if err != nil {
		return false, err
	}
	return a.Replayed, nil
}

// Deliveries sends the deliveries again that a filter finds, newest change first; of
// all statuses those that are dead or parked.
func (c Bulk) Deliveries(ctx context.Context, who auth.Caller, f DeliveryFilter, r BulkRequest) (done BulkDone, err error) {
	defer func() { c.note(ctx, who, audit.DeliveryBulk, BulkRedeliver, r, done, err) }()
	if faults := r.check(); len(faults) > 0 {
		return done, RefuseFields(faults...)
	}
	if len(f.Statuses) == 0 {
		f.Statuses = []webhook.Status{webhook.Dead, webhook.Parked}
	}
	at, err := decodeBulk(r.Cursor)
	if err != nil {
		return done, err
	}
	loop := sweeping[*webhook.Delivery]{
		request: r, at: at, id: func(d *webhook.Delivery) string { return string(d.ID) },
		do: func(ctx context.Context, d *webhook.Delivery) (bool, error) {
			_, err := Deliveries(c).Redeliver(ctx, who, d.ID)
			return false, err
		},
		list: func(ctx context.Context, n int, cursor string) ([]*webhook.Delivery, string, error) {
			l, err := Deliveries(c).List(ctx, who, f, n, cursor)
			return slices.DeleteFunc(l.Deliveries, func(d *webhook.Delivery) bool { return d.Test || d.UpdatedAt.After(at.Before) }), l.Next, err
		},
	}
	return loop.run(ctx)
}

// note leaves an entry for the request itself, unless it has changed nothing.
func (c Bulk) note(ctx context.Context, who auth.Caller, action audit.Action, what BulkAction, r BulkRequest, done BulkDone, err error) {
	if !r.DryRun {
		c.audit(ctx, who, action, string(what)+" "+strconv.Itoa(done.Done), err)
	}
}

func (r *BulkRequest) check() (faults []Invalid) {
	if r.Limit = cmp.Or(r.Limit, DefaultBulk); r.Limit < 1 || r.Limit > MaxBulk {
		return []Invalid{Field("it must be 1 to "+strconv.Itoa(MaxBulk)+"; the next request goes on", "/limit")}
	}
	return nil
}

// bulkPlace is where a request goes on: at a cursor of the listing, among what was
// there when the first one came.
type bulkPlace struct {
	Before time.Time `json:"before"`
	Cursor string    `json:"cursor"`
}

func decodeBulk(s string) (p bulkPlace, err error) {
	if s == "" {
		return bulkPlace{Before: task.Stamp(time.Now().Add(time.Millisecond))}, nil
	}
	b, err := cursorEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.Before.IsZero() {
		return p, malformedCursor()
	}
	return p, nil
}

func (p bulkPlace) encode() string {
	b, _ := json.Marshal(p)
	return cursorEncoding.EncodeToString(b)
}

// sweeping is one request at work.
type sweeping[T any] struct {
	request BulkRequest
	at      bulkPlace
	list    func(ctx context.Context, limit int, cursor string) (items []T, next string, err error)
	id      func(T) string
	do      func(context.Context, T) (skipped bool, err error)

	mu       sync.Mutex
	done     BulkDone
	failures map[string]*BulkFailure
	halted   bool // the next one would fail as well
}

// run goes from page to page until there are no more, or it has done or taken enough.
// One that is halted within a page goes on from the beginning of that page: what was
// done there is done no second time.
func (s *sweeping[T]) run(ctx context.Context) (BulkDone, error) {
	until := time.Now().Add(bulkTime)
	s.failures = map[string]*BulkFailure{}
	more := true
	for more && s.done.Matched < s.request.Limit && time.Now().Before(until) && ctx.Err() == nil {
		items, next, err := s.list(ctx, min(bulkPage, s.request.Limit-s.done.Matched), s.at.Cursor)
		if err != nil {
			return s.done, err
		}
		if s.done.Matched += len(items); !s.request.DryRun {
			s.all(ctx, items, until)
		}
		if s.halted {
			break
		}
		s.at.Cursor, more = next, next != ""
	}
	if more || s.halted {
		s.done.Next = s.at.encode()
	}
	s.done.Failed = s.counted()
	return s.done, nil
}

// all does the items of a page, some at a time.
func (s *sweeping[T]) all(ctx context.Context, items []T, until time.Time) {
	var some errgroup.Group
	some.SetLimit(bulkAtOnce)
	for _, item := range items {
		some.Go(func() error {
			if s.over(ctx, until) {
				return nil
			}
			skipped, err := s.do(ctx, item)
			s.note(item, skipped, err)
			return nil
		})
	}
	_ = some.Wait()
}

func (s *sweeping[T]) over(ctx context.Context, until time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = s.halted || ctx.Err() != nil || time.Now().After(until)
	return s.halted
}

// halting are the refusals that the next one would meet as well.
var halting = []error{ErrStoreUnavailable, ErrStoreFull, ErrTooManyPending, ErrInternal}

func (s *sweeping[T]) note(item T, skipped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && skipped:
		s.done.Skipped++
		return
	case err == nil:
		s.done.Done++
		return
	}
	why := RefusalOf(err)
	f := s.failures[why.Refusal.Code]
	if f == nil {
		f = &BulkFailure{Code: why.Refusal.Code, Detail: why.Detail, Example: s.id(item)}
		s.failures[f.Code] = f
	}
	f.Count++
	s.halted = s.halted || slices.ContainsFunc(halting, func(r error) bool { return errors.Is(why, r) })
}

// counted are the failures, the most frequent first.
func (s *sweeping[T]) counted() (all []BulkFailure) {
	for f := range maps.Values(s.failures) {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b BulkFailure) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Code, b.Code)) })
	return all
}

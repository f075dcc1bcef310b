package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// link is what a parent knows of a child: which attempt called it last, in which
// run, and on which worker, since an attempt that a draining worker hands back is
// begun again under the same number.
type link struct {
	Attempt int    `json:"attempt"`
	Run     int    `json:"run,omitempty"`
	Worker  string `json:"worker,omitempty"`
}

// later reports whether l is of a later attempt or run than o.
func (l link) later(o link) bool {
	return l.Attempt > o.Attempt || l.Attempt == o.Attempt && l.Run > o.Run
}

func linkOf(parent *task.Task) link {
	l := link{Attempt: parent.Attempt, Run: parent.Run}
	if parent.Lease != nil {
		l.Worker = parent.Lease.Worker
	}
	return l
}

// maxEqualCalls bounds the children of one parent that are called with the same
// input.
const maxEqualCalls = 1000

// Adopt finds the id for a call of the parent's running attempt. The n-th equal
// call (by key, see task.CallKey) of an attempt gets the id that the n-th equal
// call of the attempt before got; known reports that there was one. It returns
// task.ErrConflict when a later attempt has called already.
func (s Children) Adopt(ctx context.Context, parent *task.Task, key string) (id task.ID, known bool, err error) {
	mine := linkOf(parent)
	call := equalCall{parent: parent.ID, link: mine, key: key}
	for {
		n, rev, err := s.nextCall(ctx, parent, key, mine, s.calls.made(call))
		if err != nil {
			return "", false, fmt.Errorf("adopt a child of %s: %w", parent.ID, err)
		}
		if n >= maxEqualCalls {
			return "", false, fmt.Errorf("adopt a child of %s: over %d equal calls: %w", parent.ID, maxEqualCalls, task.ErrTooLarge)
		}
		id := task.ChildID(parent.ID, key, n)
		err = s.putLink(ctx, parent.Tenant, parent.ID, id, mine, rev)
		if errors.Is(err, task.ErrConflict) {
			continue // look again
		}
		if err == nil {
			s.calls.note(call, n+1)
		}
		return id, rev > 0, err
	}
}

// Known reports whether the next equal call of the parent's running attempt would get
// the id of one that the attempt before it made.
func (s Children) Known(ctx context.Context, parent *task.Task, key string) (bool, error) {
	mine := linkOf(parent)
	_, rev, err := s.nextCall(ctx, parent, key, mine, s.calls.made(equalCall{parent: parent.ID, link: mine, key: key}))
	if err != nil {
		return false, fmt.Errorf("look for a child of %s: %w", parent.ID, err)
	}
	return rev > 0, nil
}

// nextCall is the number of the first equal call that this attempt has not made,
// and the revision of its link. The attempt's calls have the numbers below it
// without a gap, from of which it is known: so it is looked for in steps that
// double and then by halves, instead of one after the other.
func (s Children) nextCall(ctx context.Context, parent *task.Task, key string, mine link, from int) (n int, rev uint64, err error) {
	made := func(n int) (bool, uint64, error) {
		last, rev, err := s.link(ctx, parent.Tenant, parent.ID, task.ChildID(parent.ID, key, n))
		if err == nil && rev > 0 && last.later(mine) {
			err = fmt.Errorf("attempt %d has called: %w", last.Attempt, task.ErrConflict)
		}
		return rev > 0 && last == mine, rev, err
	}
	low, high, highRev := from, -1, uint64(0) // below low all are made, high is not
	for probe, step := from, 1; high < 0; probe, step = min(probe+step, maxEqualCalls), 2*step {
		if probe >= maxEqualCalls {
			high = maxEqualCalls
			break
		}
		yes, rev, err := made(probe)
		if err != nil {
			return 0, 0, err
		}
		if yes {
			low = probe + 1
		} else {
			high, highRev = probe, rev
		}
	}
	for low < high {
		middle := (low + high) / 2
		yes, rev, err := made(middle)
		if err != nil {
			return 0, 0, err
		}
		if yes {
			low = middle + 1
		} else {
			high, highRev = middle, rev
		}
	}
	return high, highRev, nil
}

// equalCall names the equal calls of one attempt.
type equalCall struct {
	parent task.ID
	link   link
	key    string
}

// madeCalls remembers how many equal calls of an attempt this process has seen
// made. It is where the search begins, and may forget.
type madeCalls struct {
	mu  sync.Mutex
	all map[equalCall]int
}

const madeCallsKept = 4096

func (m *madeCalls) made(c equalCall) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[c]
}

func (m *madeCalls) note(c equalCall, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil || len(m.all) >= madeCallsKept {
		m.all = map[equalCall]int{}
	}
	m.all[c] = max(m.all[c], n)
}

// Link notes that child was started by parent.
func (s Children) Link(ctx context.Context, parent *task.Task, child task.ID) error {
	_, rev, err := s.link(ctx, parent.Tenant, parent.ID, child)
	if err == nil && rev == 0 {
		err = s.putLink(ctx, parent.Tenant, parent.ID, child, linkOf(parent), 0)
	}
	if errors.Is(err, task.ErrConflict) {
		err = nil // somebody else did
	}
	return err
}

func (s Children) link(ctx context.Context, tenant string, parent, child task.ID) (l link, rev uint64, err error) {
	ctx, cancel := s.bound(ctx, topology.TasksBucket)
	defer cancel()
	msg, err := s.records.GetLastMsgForSubject(ctx, topology.TaskChild(tenant, parent, child))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l, 0, nil
	}
	if err != nil {
		return l, 0, classify(err)
	}
	return l, msg.Sequence, unmarshal(msg.Data, &l)
}

func (s Children) putLink(ctx context.Context, tenant string, parent, child task.ID, l link, rev uint64) error {
	data, err := marshal(l)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: topology.TaskChild(tenant, parent, child), Data: data}
	if _, err = s.replace(ctx, s.records, msg, rev); err != nil {
		return fmt.Errorf("link task %s to %s: %w", child, parent, err)
	}
	return nil
}

// Of lists the ids of the tasks that a task has started, in the order of
// their ids.
func (s Children) Of(ctx context.Context, tenant string, id task.ID) ([]task.ID, error) {
	ctx, cancel := s.bound(ctx, topology.TasksBucket)
	defer cancel()
	info, err := s.records.Info(ctx, jetstream.WithSubjectFilter(topology.TaskChildren(tenant, id)))
	if err != nil {
		return nil, fmt.Errorf("list children of %s: %w", id, classify(err))
	}
	var ids []task.ID
	for subject := range info.State.Subjects {
		ids = append(ids, task.ID(topology.SubjectID(subject)))
	}
	slices.Sort(ids)
	return ids, nil
}

// Signal tells the worker of a task that its agent has started another.
func (s Children) Signal(parent task.ID) error { return s.nc.Publish(topology.Child(parent), nil) }

// OnStart calls f with the id of each task whose agent starts another one.
func (s Children) OnStart(f func(parent task.ID)) (stop func(), err error) {
	return s.listen(topology.ChildAny, func(m *nats.Msg) { f(task.ID(topology.SubjectID(m.Subject))) })
}

package store

import (
	"context"
	"fmt"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Recent calls f with the newest version of each record of all tenants that was written
// since a time and up to a revision, newest first, until it has looked at most
// revisions or the time is over. whole is since when it has seen all.
func (s Records) Recent(ctx context.Context, upTo uint64, since time.Time, most int, within time.Duration, f func(*task.Task)) (whole time.Time, err error) {
	until := time.Now().Add(within)
	ctx, cancel := context.WithTimeout(ctx, within+requestTimeout)
	defer cancel()
	scan, err := s.backwardsOf(ctx, s.records, topology.RecordsAll, upTo, nil)
	if err != nil {
		return whole, fmt.Errorf("read recent tasks: %w", err)
	}
	seen := map[string]bool{}
	whole = since
	err = scan.each(ctx, until, func(m message) (bool, error) {
		if m.at.Before(since) {
			return false, nil
		}
		if scan.looked >= most {
			whole = m.at
			return false, nil
		}
		if !seen[m.subject] {
			seen[m.subject] = true
			if t := s.record(m); t != nil {
				f(t)
			}
		}
		whole = m.at
		return true, nil
	})
	if scan.at == 0 || err == nil && whole.Before(since) {
		whole = since
	}
	if err != nil {
		return whole, fmt.Errorf("read recent tasks: %w", err)
	}
	return whole, nil
}

// Published is how many messages the queues of tasks and of turns were ever given:
// what is accepted, and what is queued again.
func (s Records) Published(ctx context.Context) (uint64, error) {
	tasks, err := s.info(ctx, s.tasks)
	if err != nil {
		return 0, fmt.Errorf("count queue: %w", classify(err))
	}
	turns, err := s.info(ctx, s.turns)
	if err != nil {
		return 0, fmt.Errorf("count queue: %w", classify(err))
	}
	return tasks.State.LastSeq + turns.State.LastSeq, nil
}

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// Waiting counts the tasks of a tenant, for one agent unless that is empty, that
// wait for a worker or that one has: those that are not settled. Scheduled ones are
// not among them. The server walks over them, 0.4 µs each: keep the answer for a
// while.
func (s Tasks) Waiting(ctx context.Context, tenant, agent string) (int, error) {
	n, err := s.countSubjects(ctx, topology.Tasks, topology.TasksWaiting(tenant, agent))
	if err != nil {
		return 0, fmt.Errorf("count waiting tasks: %w", err)
	}
	return n, nil
}

// countSubjects counts the subjects of a stream that match. A page behind the last
// of them has their number and none of their names: a twentieth of the cost.
func (s *core) countSubjects(ctx context.Context, stream, filter string) (int, error) {
	body, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": math.MaxInt32})
	if err != nil {
		return 0, err
	}
	ctx, cancel := s.bound(ctx, stream)
	defer cancel()
	var info struct {
		Total int                 `json:"total"`
		Error *jetstream.APIError `json:"error"`
	}
	err = patiently(ctx, func(ctx context.Context) error {
		msg, err := s.nc.RequestWithContext(ctx, topology.StreamInfo(stream), body)
		if err != nil {
			return err
		}
		info.Error = nil
		if err := json.Unmarshal(msg.Data, &info); err != nil {
			return fmt.Errorf("read state of %s: %w", stream, err)
		}
		if info.Error != nil {
			return info.Error
		}
		return nil
	})
	return info.Total, classify(err)
}

// Count counts the sessions of a tenant, and stops at limit. It reads the header of
// each: those that were deleted or have expired have left a mark.
func (s Sessions) Count(ctx context.Context, tenant string, limit int) (n int, err error) {
	marked, err := s.countSubjects(ctx, topology.BucketStream(topology.SessionsBucket), topology.SessionsOf(tenant))
	if err != nil || marked < limit {
		return marked, wrapped("count sessions", err)
	}
	r, err := s.openReader(ctx, s.sessions, jetstream.ConsumerConfig{FilterSubject: topology.SessionsOf(tenant), OptStartSeq: 1, HeadersOnly: true}, pullBytes)
	if err != nil {
		return 0, wrapped("count sessions", err)
	}
	defer r.close()
	live := map[string]bool{} // one that is replaced meanwhile is met twice
	for end := false; !end; {
		end, err = r.next(ctx, 0, func(m message) error {
			if live[m.subject] = true; m.size == 0 {
				delete(live, m.subject)
			}
			if len(live) == limit {
				return errPast
			}
			return nil
		})
		if errors.Is(err, errPast) {
			break
		}
		if err != nil {
			return 0, wrapped("count sessions", err)
		}
	}
	return len(live), nil
}

// wrapped says of an error what was being done.
func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

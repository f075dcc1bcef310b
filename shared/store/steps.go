package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Steps are the journals of tasks.
type Steps struct {
	*core

	stream jetstream.Stream
}

// Append writes an entry of a task's journal if the newest one is still that with
// sequence last (0: there is none), and returns its sequence. It returns
// task.ErrConflict when somebody else has written since, and task.ErrUnavailable when
// the outcome stayed unknown: the same entry may be appended again then.
func (s Steps) Append(ctx context.Context, tenant string, id task.ID, e *task.Entry, last uint64) (seq uint64, err error) {
	data, err := marshal(e)
	if err != nil {
		return 0, fmt.Errorf("write journal of %s: %w", id, err)
	}
	msg := &nats.Msg{Subject: topology.Step(tenant, id, e.Slot()), Data: data}
	ack, err := s.publish(ctx, msg, ifLast(last), among(topology.StepsOf(tenant, id)))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, task.ErrConflict), errors.Is(err, task.ErrUnavailable):
		// Either may hide our own write, whose acknowledgement was lost on the way. The
		// bytes tell: they name the run, its attempt and the time.
		if seq, ok := s.wrote(ctx, s.stream, msg, last, true); ok {
			return seq, nil
		}
	}
	if errors.Is(err, task.ErrConflict) {
		telemetry.StoreConflicts.Add(1)
	}
	return 0, fmt.Errorf("write journal of %s: %w", id, err)
}

func (s Steps) newest(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, topology.Steps)
	defer cancel()
	return s.stream.GetLastMsgForSubject(ctx, subject)
}

// Last is the newest entry of a task's journal and its sequence; nil and 0: there is
// none.
func (s Steps) Last(ctx context.Context, tenant string, id task.ID) (*task.Entry, uint64, error) {
	msg, err := s.newest(ctx, topology.StepsOf(tenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read journal of %s: %w", id, classify(err))
	}
	e, err := decodeEntry(msg)
	return e, msg.Sequence, err
}

// Read reads the journal of a task in the order in which it was written, from the
// stream's leader. It is complete when it has the entry with sequence through, which
// its caller has written: a server that does not have that yet is asked again.
// through 0 takes what is there.
func (s Steps) Read(ctx context.Context, tenant string, id task.ID, through uint64) ([]*task.Entry, error) {
	bySeq, slots, last := map[uint64]*task.Entry{}, map[string]uint64{}, uint64(0)
	for wait := 2 * time.Millisecond; ; {
		msg, err := s.after(ctx, tenant, id, last)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound) && last >= through:
			return slices.Collect(func(yield func(*task.Entry) bool) {
				for _, seq := range slices.Sorted(maps.Keys(bySeq)) {
					if !yield(bySeq[seq]) {
						return
					}
				}
			}), nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if !pause.For(ctx, wait) {
				return nil, fmt.Errorf("read journal of %s: %w", id, ctx.Err())
			}
			wait = min(2*wait, 100*time.Millisecond)
			continue
		case err != nil:
			return nil, fmt.Errorf("read journal of %s: %w", id, classify(err))
		}
		last = msg.Sequence
		e, err := decodeEntry(msg)
		if err != nil {
			return nil, err
		}
		delete(bySeq, slots[e.Slot()]) // a server that is behind has both
		slots[e.Slot()], bySeq[last] = last, e
	}
}

// after is the first message of a journal behind a sequence.
func (s Steps) after(ctx context.Context, tenant string, id task.ID, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, topology.Steps)
	defer cancel()
	return s.stream.GetMsg(ctx, seq+1, jetstream.WithGetMsgSubject(topology.StepsOf(tenant, id)))
}

// Written is the time at which the newest entry of a task's journal was stored, and
// its sequence; 0: there is none.
func (s Steps) Written(ctx context.Context, tenant string, id task.ID) (seq uint64, at time.Time, err error) {
	msg, err := s.newest(ctx, topology.StepsOf(tenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, at, nil
	}
	if err != nil {
		return 0, at, fmt.Errorf("read journal of %s: %w", id, classify(err))
	}
	return msg.Sequence, msg.Time, nil
}

func decodeEntry(msg *jetstream.RawStreamMsg) (*task.Entry, error) {
	e, err := DecodeEntry(msg.Data)
	if err != nil {
		return nil, fmt.Errorf("at %d: %w", msg.Sequence, err)
	}
	return e, nil
}

// DecodeEntry reads an entry of a journal.
func DecodeEntry(data []byte) (*task.Entry, error) {
	e := &task.Entry{}
	if err := unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("decode entry of a journal: %w: %w", task.ErrBadRecord, err)
	}
	return e, nil
}

// Purge drops the entries of a task's journal before a sequence; 0: all of them.
func (s Steps) Purge(ctx context.Context, tenant string, id task.ID, before uint64) error {
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(topology.StepsOf(tenant, id))}
	if before > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(before))
	}
	ctx, cancel := s.bound(ctx, writes+topology.Steps)
	defer cancel()
	err := patiently(ctx, func(ctx context.Context) error { return s.stream.Purge(ctx, opts...) })
	if err != nil {
		return fmt.Errorf("end journal of %s: %w", id, classify(err))
	}
	return nil
}

// Journal is whose journal there is.
type Journal struct {
	Tenant string
	ID     task.ID
}

// Journals are the tasks that have a journal.
func (s Steps) Journals(ctx context.Context) ([]Journal, error) {
	ctx, cancel := s.bound(ctx, topology.Steps)
	defer cancel()
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(topology.StepsAll))
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", classify(err))
	}
	all := map[Journal]bool{}
	for subject := range info.State.Subjects {
		if tenant, id, ok := topology.StepTask(subject); ok && id.Valid() {
			all[Journal{tenant, id}] = true
		}
	}
	return slices.Collect(maps.Keys(all)), nil
}

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Schedules are the records of schedules, and their alarms.
type Schedules struct {
	*core

	records jetstream.Stream // behind the bucket
	alarms  jetstream.Stream
}

// SchedulerDurable is the consumer of the alarms that went off.
func SchedulerDurable(ackWait time.Duration) Durable {
	return Durable{topology.Schedules, topology.SchedulerConsumer(ackWait)}
}

// headerVersion is that of an alarm: the version of the schedule that it is for.
const (
	headerVersion = "Mesh-Revision"
	headerSlot    = "Mesh-Slot" // when it was to go off
)

// Add records a new schedule of a tenant that has fewer than limit and none of the
// same name, or returns schedule.ErrTooMany or schedule.ErrExists.
func (s Schedules) Add(ctx context.Context, e *schedule.Schedule, limit int) error {
	data, err := marshal(e)
	if err == nil {
		e.Rev, err = s.addWhere(ctx, topology.SchedulesBucket, s.records, &nats.Msg{Subject: topology.Schedule(e.Tenant, e.ID), Data: data}, func() error {
			all, err := s.List(ctx, e.Tenant)
			switch {
			case err != nil:
				return err
			case len(all) >= limit:
				return schedule.ErrTooMany
			case e.Name != "" && slices.ContainsFunc(all, func(other *schedule.Schedule) bool { return other.Name == e.Name }):
				return schedule.ErrExists
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("record schedule %s: %w", e.ID, err)
	}
	return nil
}

// Save writes a schedule's record if its revision is still e.Rev, and sets e.Rev.
// It returns task.ErrConflict when another writer came first.
func (s Schedules) Save(ctx context.Context, e *schedule.Schedule) error {
	data, err := marshal(e)
	if err != nil {
		return fmt.Errorf("record schedule %s: %w", e.ID, err)
	}
	rev, err := s.replace(ctx, s.records, &nats.Msg{Subject: topology.Schedule(e.Tenant, e.ID), Data: data}, e.Rev)
	if err != nil {
		return fmt.Errorf("record schedule %s: %w", e.ID, err)
	}
	e.Rev = rev
	return nil
}

// Get reads a schedule. It returns schedule.ErrNotFound when there is none, also
// when it was deleted or is another tenant's.
func (s Schedules) Get(ctx context.Context, tenant string, id schedule.ID) (*schedule.Schedule, error) {
	ctx, cancel := s.bound(ctx, topology.SchedulesBucket)
	defer cancel()
	msg, err := s.records.GetLastMsgForSubject(ctx, topology.Schedule(tenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
		return nil, fmt.Errorf("read schedule %s: %w", id, schedule.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read schedule %s: %w", id, classify(err))
	}
	return decodeSchedule(msg.Data, msg.Sequence)
}

func decodeSchedule(data []byte, rev uint64) (*schedule.Schedule, error) {
	e, err := decodeValid("schedule", data, rev, func(e *schedule.Schedule) bool { return e.ID.Valid() && task.ValidTenant(e.Tenant) })
	if err != nil {
		return nil, err
	}
	e.Rev = rev
	return e, nil
}

// ScheduleOf decodes a change of a schedule's record; nil: the schedule was deleted.
func ScheduleOf(data []byte, rev uint64) (*schedule.Schedule, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return decodeSchedule(data, rev)
}

// Delete leaves a mark in the place of a schedule's record and takes its alarm
// away: an alarm that has gone off finds no schedule.
func (s Schedules) Delete(ctx context.Context, e *schedule.Schedule) error {
	msg := &nats.Msg{Subject: topology.Schedule(e.Tenant, e.ID), Header: nats.Header{headerOperation: {"DEL"}}}
	if _, err := s.replace(ctx, s.records, msg, e.Rev); err != nil {
		return fmt.Errorf("delete schedule %s: %w", e.ID, err)
	}
	return s.Disarm(ctx, e)
}

// List lists the schedules of a tenant in the order of their creation; an empty
// tenant means all.
func (s Schedules) List(ctx context.Context, tenant string) ([]*schedule.Schedule, error) {
	subject := topology.SchedulesAll
	if tenant != "" {
		subject = topology.Schedule(tenant, "*")
	}
	all, err := recorded(ctx, s.core, s.records, subject, decodeSchedule)
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	slices.SortFunc(all, func(a, b *schedule.Schedule) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// Arm has the alarm of a schedule go off at a time, in place of any time before.
func (s Schedules) Arm(ctx context.Context, e *schedule.Schedule, at time.Time) error {
	msg := &nats.Msg{Subject: topology.ScheduleAlarm(e.Tenant, e.ID), Header: nats.Header{}}
	msg.Header.Set(headerSchedule, "@at "+at.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(headerScheduleTarget, topology.ScheduleDue(e.Tenant, e.ID))
	msg.Header.Set(headerVersion, strconv.Itoa(e.Version))
	msg.Header.Set(headerSlot, at.UTC().Format(time.RFC3339Nano))
	if _, err := s.publish(ctx, msg); err != nil {
		return fmt.Errorf("set alarm of schedule %s: %w", e.ID, err)
	}
	return nil
}

// Disarm takes the alarm of a schedule away. One that is set meanwhile stays.
func (s Schedules) Disarm(ctx context.Context, e *schedule.Schedule) error {
	msg, err := s.alarm(ctx, topology.ScheduleAlarm(e.Tenant, e.ID))
	if err != nil || msg == nil {
		return err
	}
	ctx, cancel := s.bound(ctx, topology.Schedules)
	defer cancel()
	return discard(ctx, s.alarms, msg.Sequence)
}

// Armed reports whether a schedule has an alarm of its version that goes off at a time
// or before, or has gone off.
func (s Schedules) Armed(ctx context.Context, e *schedule.Schedule, by time.Time) (bool, error) {
	for _, subject := range []string{topology.ScheduleAlarm(e.Tenant, e.ID), topology.ScheduleDue(e.Tenant, e.ID)} {
		msg, err := s.alarm(ctx, subject)
		if err != nil {
			return false, err
		}
		if msg == nil {
			continue
		}
		if a, err := alarmOf(subject, msg.Header); err == nil && a.Version == e.Version && !a.At.After(by) {
			return true, nil
		}
	}
	return false, nil
}

// alarm is the message on a subject; nil: there is none.
func (s Schedules) alarm(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.bound(ctx, topology.Schedules)
	defer cancel()
	msg, err := s.alarms.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for alarm: %w", classify(err))
	}
	return msg, nil
}

// Alarm is an alarm of a schedule.
type Alarm struct {
	Tenant  string
	ID      schedule.ID
	Version int       // of the schedule that it was set for
	At      time.Time // when it was to go off
}

// Alarm decodes an alarm that went off.
func (d *Delivered) Alarm() (Alarm, error) { return alarmOf(d.Subject, d.Header) }

func alarmOf(subject string, header map[string][]string) (a Alarm, err error) {
	a.ID = schedule.ID(topology.SubjectID(subject))
	if i := strings.LastIndexByte(subject, '.'); i > 0 {
		a.Tenant = topology.SubjectID(subject[:i])
	}
	if v := header[headerVersion]; len(v) == 1 {
		a.Version, err = strconv.Atoi(v[0])
	}
	if at := header[headerSlot]; err == nil && len(at) == 1 {
		a.At, err = time.Parse(time.RFC3339Nano, at[0])
	}
	if err != nil || a.Version < 1 || !a.ID.Valid() || !task.ValidTenant(a.Tenant) {
		return Alarm{}, fmt.Errorf("decode alarm on %s: %w", subject, task.ErrBadRecord)
	}
	return a, nil
}

// Newest is the place of the newest change of any schedule.
func (s Schedules) Newest(ctx context.Context) (seq uint64, err error) {
	ctx, cancel := s.bound(ctx, topology.BucketStream(topology.SchedulesBucket))
	defer cancel()
	info, err := s.records.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at schedules: %w", classify(err))
	}
	return info.State.LastSeq, nil
}

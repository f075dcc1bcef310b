package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/audit"
	"agentmesh/shared/topology"
)

// Write keeps entries of one tenant and one action as one message. Writing again
// with the same id within two minutes changes nothing, so an unknown outcome may
// be tried again.
func (s Audit) Write(ctx context.Context, id string, entries []audit.Entry) error {
	data, err := marshal(entries)
	if err != nil {
		return fmt.Errorf("write audit trail: %w", err)
	}
	subject := topology.AuditEntries(entries[0].Tenant, string(entries[0].Action))
	if _, err := s.publish(ctx, &nats.Msg{Subject: subject, Data: data}, onceAs(id)); err != nil {
		return fmt.Errorf("write audit trail: %w", err)
	}
	return nil
}

// AuditPlace is where a listing of the trail goes on: in which message, and how
// many of its entries, the newest first, were looked at. The zero place is the
// newest entry of all.
type AuditPlace struct {
	Seq  uint64
	Skip int
}

// AuditPage is a page of the trail, newest first.
type AuditPage struct {
	Entries []audit.Entry
	Next    AuditPlace // zero: there is no next page
	Scanned int        // entries that were looked at
}

// writtenLate is how much later than it happened an entry may be stored, when a
// listing looks for where to begin: the store may have been away.
const writtenLate = time.Hour

// List reads a page of the entries that a filter asks for, newest first. A short
// page is not the end.
func (s Audit) List(ctx context.Context, f audit.Filter, from AuditPlace, limit int) (out AuditPage, err error) {
	begin := cmp.Or(from.Seq, ^uint64(0))
	if from.Seq == 0 && !f.Before.IsZero() {
		if begin, err = s.storedSince(ctx, f.Before.Add(writtenLate)); err != nil {
			return out, fmt.Errorf("list audit trail: %w", err)
		}
	}
	read := s.readers(s.trail, topology.AuditOf(f.Tenant, string(f.Action)), s.scans)
	scan, err := s.newBackwards(ctx, s.trail, read, begin, windowMessages)
	if err != nil {
		return out, fmt.Errorf("list audit trail: %w", err)
	}
	old := false
	err = scan.each(ctx, time.Now().Add(listTime), func(m message) (bool, error) {
		if old = m.at.Add(clockSkew).Before(f.After); old {
			return false, nil
		}
		var entries []audit.Entry
		if err := unmarshal(m.data, &entries); err != nil {
			s.damaged.note(m, err)
			return true, nil
		}
		skip := 0
		if m.seq == from.Seq {
			skip = min(max(from.Skip, 0), len(entries))
		}
		return out.take(m.seq, entries, skip, f, limit), nil
	})
	if err != nil {
		return AuditPage{}, fmt.Errorf("list audit trail: %w", err)
	}
	if out.Next.Seq == 0 && !old {
		out.Next.Seq = scan.at
	}
	return out, nil
}

// take adds what matches of a message's entries, the last first, and reports
// whether the page had room for all.
func (p *AuditPage) take(seq uint64, entries []audit.Entry, skip int, f audit.Filter, limit int) bool {
	for i := len(entries) - 1 - skip; i >= 0; i-- {
		if len(p.Entries) >= limit {
			p.Next = AuditPlace{seq, len(entries) - 1 - i}
			return false
		}
		p.Scanned++
		if f.Match(entries[i]) {
			p.Entries = append(p.Entries, entries[i])
		}
	}
	return true
}

// storedSince is the sequence of the first message that was stored at a time or
// later; one behind the last where there is none. The server looks for it when it
// makes a consumer that begins there.
func (s Audit) storedSince(ctx context.Context, at time.Time) (uint64, error) {
	if at.After(time.Now()) {
		return ^uint64(0), nil
	}
	ctx, cancel := s.bound(ctx, topology.Audit)
	defer cancel()
	c, err := s.trail.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at, FilterSubject: topology.AuditOf("", ""),
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerIdle,
	})
	if err != nil {
		return 0, classify(err)
	}
	info := c.CachedInfo()
	_ = s.trail.DeleteConsumer(ctx, info.Name) // else it goes by itself
	return info.Delivered.Stream + 1, nil
}

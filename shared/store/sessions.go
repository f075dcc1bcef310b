package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Headers of a bucket's markers, as the server and the client library define
// them (ADR-8, ADR-43).
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
)

// Get reads a session's record from its leader. It returns
// session.ErrNotFound when there is none and session.ErrExpired while it is
// known that there was one.
func (s Sessions) Get(ctx context.Context, tenant string, id session.ID) (*session.Session, error) {
	ctx, cancel := s.bound(ctx, topology.SessionsBucket)
	defer cancel()
	known := s.seen.has(tenant, string(id))
	msg, err := s.sessions.GetLastMsgForSubject(ctx, topology.Session(tenant, id))
	if err == nil {
		var sess *session.Session
		if sess, err = decodeSession(msg.Data, msg.Header, msg.Sequence); err == nil {
			s.seen.add(tenant, string(id))
			return sess, nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) { // a deleted session leaves a mark
		if err = session.ErrNotFound; known {
			err = lost(string(id))
		}
	}
	return nil, fmt.Errorf("read session %s: %w", id, classify(err))
}

func decodeSession(data []byte, hdr nats.Header, rev uint64) (*session.Session, error) {
	switch {
	case hdr.Get(headerMarker) == "MaxAge":
		return nil, session.ErrExpired
	case hdr.Get(headerOperation) != "" || hdr.Get(headerMarker) != "":
		return nil, session.ErrNotFound
	}
	var sess session.Session
	if err := unmarshal(data, &sess); err != nil {
		return nil, fmt.Errorf("decode revision %d: %w", rev, err)
	}
	sess.Rev = rev
	return &sess, sess.Validate()
}

// Save writes a session's record if its revision is still sess.Rev (0: if
// there is none) and sets sess.Rev to the new one. It returns
// session.ErrConflict when another writer came first, and task.ErrUnavailable
// when the outcome stayed unknown.
func (s Sessions) Save(ctx context.Context, sess *session.Session) error {
	data, err := marshal(sess)
	if err != nil {
		return fmt.Errorf("record session %s: %w", sess.ID, err)
	}
	rev, err := s.putSession(ctx, sess, &nats.Msg{Data: data})
	if err != nil {
		return fmt.Errorf("record session %s: %w", sess.ID, err)
	}
	sess.Rev = rev
	s.seen.add(sess.Tenant, string(sess.ID))
	return nil
}

// Delete deletes a session's record if its revision is still sess.Rev,
// else it returns session.ErrConflict.
func (s Sessions) Delete(ctx context.Context, sess *session.Session) error {
	_, err := s.putSession(ctx, sess, &nats.Msg{Header: nats.Header{headerOperation: {"DEL"}}})
	if err != nil {
		return fmt.Errorf("delete session %s: %w", sess.ID, err)
	}
	return nil
}

// putSession is the compare-and-set.
func (s Sessions) putSession(ctx context.Context, sess *session.Session, msg *nats.Msg) (rev uint64, err error) {
	msg.Subject = topology.Session(sess.Tenant, sess.ID)
	rev, err = s.replace(ctx, s.sessions, msg, sess.Rev)
	if errors.Is(err, task.ErrConflict) {
		err = fmt.Errorf("%w (%w)", session.ErrConflict, err)
	}
	return rev, err
}

// Idle is how long a session is kept after its last change.
func (s Sessions) Idle() time.Duration { return s.sessions.CachedInfo().Config.MaxAge }

// List lists up to limit sessions of a tenant that match, newest change
// first, from position from (0: the newest) on. A short page is not the end.
func (s Sessions) List(ctx context.Context, tenant string, q Search[*session.Session]) (Found[*session.Session], error) {
	page, err := newestFirst(ctx, s.core, s.sessions, topology.SessionsOf(tenant), q, func(data []byte, rev uint64) (*session.Session, error) {
		return decodeSession(data, nil, rev)
	})
	if err != nil {
		return page, fmt.Errorf("list sessions: %w", err)
	}
	return page, nil
}

// archive stores messages that leave a session's record as a page of it.
func (s Sessions) archive(ctx context.Context, sess *session.Session, name string, messages []session.Message, size int) (session.Page, error) {
	data, err := marshal(messages)
	if err != nil {
		return session.Page{}, fmt.Errorf("archive messages of session %s: %w", sess.ID, err)
	}
	object := topology.Artifact(sess.Tenant, string(sess.ID), "messages-"+name)
	if err := Artifacts(s).putObject(ctx, object, data); err != nil {
		return session.Page{}, fmt.Errorf("archive messages of session %s: %w", sess.ID, classify(err))
	}
	return session.Page{Object: object, Messages: len(messages), Bytes: size, At: task.Stamp(time.Now())}, nil
}

// Page reads the messages of a page. It returns task.ErrNotFound when they are
// past their retention.
func (s Sessions) Page(ctx context.Context, p session.Page) ([]session.Message, error) {
	r, err := Artifacts(s).openObject(ctx, p.Object)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var messages []session.Message
	if err := unmarshal(data, &messages); err != nil {
		return nil, fmt.Errorf("decode messages %s: %w", p.Object, err)
	}
	return messages, nil
}

// DropPages deletes the pages of a session that is deleted.
func (s Sessions) DropPages(ctx context.Context, pages []session.Page) error {
	for _, p := range pages {
		if err := Artifacts(s).dropObject(ctx, p.Object); err != nil && !errors.Is(err, task.ErrNotFound) {
			return fmt.Errorf("drop messages %s: %w", p.Object, err)
		}
	}
	return nil
}

// Shorten moves what is over limit from a session's record into a page, and
// stores pages again that are about to outlive their retention. name must be
// used once. The caller saves the session.
func (s Sessions) Shorten(ctx context.Context, sess *session.Session, limit int, name string) error {
	oldest, size := sess.Overflow(limit)
	if len(oldest) == 0 {
		return nil
	}
	page, err := s.archive(ctx, sess, name, oldest, size)
	if err != nil {
		return err
	}
	pages := append(slices.Clone(sess.Pages), page)
	for i, p := range pages {
		if time.Since(p.At) < topology.Retention {
			continue
		}
		messages, err := s.Page(ctx, p)
		if errors.Is(err, task.ErrNotFound) {
			continue
		}
		if err == nil {
			pages[i], err = s.archive(ctx, sess, name+"-"+strconv.Itoa(i), messages, p.Bytes)
		}
		if err != nil {
			return err
		}
	}
	sess.Pages = pages
	return nil
}

// SessionWatch follows a session through core subscriptions, on which the server
// tells of changes at most once: a follower looks at the record now and then.
type SessionWatch struct {
	changed, turns *nats.Subscription
	msgs           chan *nats.Msg
}

// Watch begins to follow a session. Subscribe first, then read. Close it.
func (s Sessions) Watch(tenant string, id session.ID) (*SessionWatch, error) {
	w := &SessionWatch{msgs: make(chan *nats.Msg, 256)}
	var err error
	if w.changed, err = s.nc.ChanSubscribe(topology.SessionEvents(tenant, id), w.msgs); err == nil {
		if w.turns, err = s.nc.ChanSubscribe(topology.SessionTurns(tenant, id), w.msgs); err == nil {
			return w, nil
		}
		_ = w.changed.Unsubscribe()
	}
	return nil, fmt.Errorf("watch session %s: %w", id, classify(err))
}

// Next waits for a turn that was opened, or returns nil when the session's
// record has changed. The error is ctx's.
func (w *SessionWatch) Next(ctx context.Context) (*task.Task, error) {
	select {
	case msg := <-w.msgs:
		return w.opened(msg), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ahead returns what Next would without waiting: the turns that were opened
// meanwhile, and whether the record has changed.
func (w *SessionWatch) Ahead() (turns []*task.Task, changed bool) {
	for {
		select {
		case msg := <-w.msgs:
			if turn := w.opened(msg); turn != nil {
				turns = append(turns, turn)
			} else {
				changed = true
			}
		default:
			return turns, changed
		}
	}
}

// opened is the turn of a message, nil when it is of none.
func (w *SessionWatch) opened(msg *nats.Msg) *task.Task {
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || msg.Subject != w.turns.Subject {
		return nil
	}
	turn, err := decodeQueued(msg.Data, seq)
	if err != nil {
		return nil
	}
	return turn
}

// Close ends the watch.
func (w *SessionWatch) Close() {
	_ = w.changed.Unsubscribe()
	_ = w.turns.Unsubscribe()
}

package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/session"
	"agentmesh/shared/topology"
)

// KeyedSession is the session that belongs to a key.
type KeyedSession struct {
	ID  session.ID `json:"session_id"`
	At  time.Time  `json:"at"` // when this was written
	Rev uint64     `json:"-"`
}

// Keyed reads which session belongs to a key; its ID is empty where none does.
func (s Sessions) Keyed(ctx context.Context, tenant, owner, key string) (found KeyedSession, err error) {
	ctx, cancel := s.bound(ctx, topology.SessionsBucket)
	defer cancel()
	msg, err := s.sessions.GetLastMsgForSubject(ctx, topology.SessionKey(tenant, owner, key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return found, nil
	}
	if err != nil {
		return found, classify(err)
	}
	if found.Rev = msg.Sequence; len(msg.Data) == 0 { // it has expired
		return found, nil
	}
	return found, unmarshal(msg.Data, &found)
}

// SetKeyed says which session belongs to a key, if its revision is still found.Rev. It
// returns task.ErrConflict when another writer came first.
func (s Sessions) SetKeyed(ctx context.Context, tenant, owner, key string, found *KeyedSession) error {
	data, err := marshal(found)
	if err != nil {
		return err
	}
	ack, err := s.publish(ctx, &nats.Msg{Subject: topology.SessionKey(tenant, owner, key), Data: data}, ifLast(found.Rev))
	if err == nil {
		found.Rev = ack.Sequence
	}
	return err
}

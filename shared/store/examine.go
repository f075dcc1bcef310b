package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// ErrNoJetStream is a server, or an account, that keeps no streams.
var ErrNoJetStream = errors.New("JetStream is not on")

const codeNotEnabledForAccount, codeNotEnabled jetstream.ErrorCode = 10039, 10076

// Examine looks at each stream of a mesh, and changes nothing. The error is
// ErrNoJetStream where there can be none.
func Examine(ctx context.Context, nc *nats.Conn) (all []topology.Seen, clock topology.Clock, err error) {
	js, err := jetstream.New(nc) // it asks once: what is away now is told
	if err == nil {
		asking, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		all, clock, err = topology.Examine(asking, js)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		answeredWith(err, codeNotEnabledForAccount) || answeredWith(err, codeNotEnabled) {
		return nil, clock, ErrNoJetStream
	}
	if err != nil {
		return nil, clock, fmt.Errorf("examine streams: %w", classify(err))
	}
	return all, clock, nil
}

// rightsTimeout bounds the question what a user may: a server that does not let it
// be asked says nothing.
const rightsTimeout = 2 * time.Second

// RightsOf asks what the user of a connection may.
func RightsOf(ctx context.Context, nc *nats.Conn) (rights topology.Rights, err error) {
	s, err := newCore(nc)
	if err != nil {
		return rights, err
	}
	asking, over := s.requests.begin(ctx, topology.UserInfo, rightsTimeout)
	defer over()
	msg, err := nc.RequestWithContext(asking, topology.UserInfo, nil)
	var answer struct {
		Data struct {
			Permissions *topology.Rights `json:"permissions"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(msg.Data, &answer)
	}
	if err != nil {
		return rights, fmt.Errorf("ask what this NATS user may: %w", classify(err))
	}
	if answer.Data.Permissions != nil {
		rights = *answer.Data.Permissions
	}
	return rights, nil
}

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Told is what an agent tells the gateway while it runs, for the worker that runs it.
type Told struct {
	Task task.ID         `json:"task"`
	Key  string          `json:"key"` // hash of the key of its attempt
	Line json.RawMessage `json:"line"`
}

// ToldAnswer is what became of it: one of the three.
type ToldAnswer struct {
	Answer json.RawMessage `json:"answer,omitempty"` // it is durable
	Fault  string          `json:"fault,omitempty"`  // what is wrong with it
	Lost   bool            `json:"lost,omitempty"`   // the worker does not run the attempt any more
}

// ErrNobody says that no worker of the id listens.
var ErrNobody = errors.New("the worker does not listen")

// Tell gives a worker what one of its agents has told, and returns the answer. Without
// one it is not known whether it was kept.
func (s Steps) Tell(ctx context.Context, worker string, told Told) (a ToldAnswer, err error) {
	data, err := json.Marshal(told)
	if err != nil {
		return a, err
	}
	reply := topology.Kept(nuid.Next())
	sub, err := s.nc.SubscribeSync(reply)
	if err != nil {
		return a, classify(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.PublishMsg(&nats.Msg{Subject: topology.Told(worker), Reply: reply, Data: data}); err != nil {
		return a, classify(err)
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrNoResponders), err == nil && msg.Header.Get("Status") == "503":
		return a, ErrNobody
	case err != nil:
		return a, fmt.Errorf("tell worker %s: %w", worker, classify(err))
	}
	return a, json.Unmarshal(msg.Data, &a)
}

// tellWithin bounds the wait for a worker, which waits for a store that is away.
const tellWithin = 4 * requestTimeout

// OnTold calls f with what the agents of a worker tell, until stop. f calls answer
// once.
func (s Steps) OnTold(worker string, f func(told Told, answer func(ToldAnswer))) (stop func(), err error) {
	return s.listen(topology.Told(worker), func(m *nats.Msg) {
		var told Told
		if json.Unmarshal(m.Data, &told) != nil {
			return
		}
		f(told, func(a ToldAnswer) {
			if data, err := json.Marshal(a); err == nil {
				_ = m.Respond(data)
			}
		})
	})
}

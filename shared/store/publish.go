package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
)

// condition is a header under which the server stores a message.
type condition struct{ header, value string }

// onceAs has a message stored once, however often it is sent under an id.
func onceAs(id string) condition { return condition{jetstream.MsgIDHeader, id} }

// ifLast asks for the sequence of the last message of the same subject, 0: for none.
func ifLast(seq uint64) condition {
	return condition{jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(seq, 10)}
}

// among has ifLast ask for the last message of other subjects.
func among(subjects string) condition {
	return condition{jetstream.ExpectedLastSubjSeqSubjHeader, subjects}
}

// ifLastOfAll asks for the sequence of the last message of the stream.
func ifLastOfAll(seq uint64) condition {
	return condition{jetstream.ExpectedLastSeqHeader, strconv.FormatUint(seq, 10)}
}

// stored is the server's answer to a message.
type stored struct {
	Stream    string              `json:"stream"`
	Domain    string              `json:"domain"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"` // one with the same id was there
	Error     *jetstream.APIError `json:"error"`
}

func storedMembers(f *form, a *stored) {
	text(f, "stream", &a.Stream, always)
	text(f, "domain", &a.Domain, ifAny)
	number(f, "seq", &a.Sequence, always)
	flag(f, "duplicate", &a.Duplicate, ifAny)
}

// publish stores one message and resolves what JetStream answered into our
// sentinels. One that is larger than any message may be is task.ErrTooLarge.
func (s *core) publish(ctx context.Context, msg *nats.Msg, conditions ...condition) (*stored, error) {
	r := s.request(ctx, writesTo(msg.Subject), 0)
	defer r.over()
	return s.store(r, msg, conditions...)
}

// store is publish in a bound request; see patience for what may be stored so.
func (s *core) store(ctx context.Context, msg *nats.Msg, conditions ...condition) (answer *stored, err error) {
	if limit := s.nc.MaxPayload(); limit > 0 && int64(msg.Size()) > limit {
		return nil, fmt.Errorf("it has %d bytes, allowed are %d (max_payload of the NATS server): %w", msg.Size(), limit, task.ErrTooLarge)
	}
	if msg.Header == nil {
		msg.Header = make(nats.Header, len(conditions))
	}
	for _, c := range conditions {
		msg.Header.Set(c.header, c.value)
	}
	err = patiently(ctx, func(ctx context.Context) (err error) {
		answer, err = sent(ctx, s.nc, msg)
		return err
	})
	return answer, counted(classify(err))
}

// sent sends a message to be stored, and waits for the answer. The errors are those of the
// client library, whose own way costs several times as much.
func sent(ctx context.Context, nc *nats.Conn, msg *nats.Msg) (*stored, error) {
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, jetstream.ErrNoStreamResponse
	}
	if err != nil {
		return nil, err
	}
	return readStored(reply.Data)
}

func readStored(data []byte) (*stored, error) {
	answer := new(stored)
	if !readPlain(data, answer, storedMembers) {
		*answer = stored{}
		if unmarshal(data, answer) != nil {
			return nil, jetstream.ErrInvalidJSAck
		}
	}
	switch {
	case answer.Error != nil:
		return nil, fmt.Errorf("nats: %w", answer.Error)
	case answer.Stream == "":
		return nil, jetstream.ErrInvalidJSAck
	}
	return answer, nil
}

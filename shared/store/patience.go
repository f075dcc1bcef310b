package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// A stream whose leader is gone answers nobody until another one is elected, and
// an answer that is on its way when a node dies never comes. So each request is
// sent again until its own time is over: here, and nowhere else. What is sent must
// bear it. A read does. So does a write that the server knows again by its id, that
// replaces what is there, or that expects a revision: see replace.
const (
	tryTimeout   = time.Second // one answer is waited for so long
	firstPause   = 2 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// patiently calls f, which sends a request, until it has an answer or ctx is done.
func patiently(ctx context.Context, f func(context.Context) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		began := time.Now()
		try := tryOf(ctx)
		err := f(try)
		try.over()
		if err == nil || !passing(err) {
			return err
		}
		if !inFlight(err) {
			unanswered(ctx, began)
		}
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

// passing reports whether an error is none of the request's and may be over in a
// moment: nobody answers, or the server cannot say yet.
func passing(err error) bool {
	if api := answerOf(err); api != nil {
		return inFlight(err) || api.ErrorCode != codeNoPeers && (api.Code == 408 || api.Code >= 500) && errors.Is(sentinelOf(api), task.ErrUnavailable)
	}
	for _, silence := range silences {
		if errors.Is(err, silence) {
			return true
		}
	}
	return false
}

// silences are the errors of the client library that say that no answer came, while
// the connection heals itself or a leader is elected.
var silences = []error{
	context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, errReaderGone, errWatchEnded,
	nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrReconnectBufExceeded,
	nats.ErrConnectionReconnecting, nats.ErrStaleConnection, nats.ErrNoServers,
	jetstream.ErrNoStreamResponse, jetstream.ErrInvalidJSAck, jetstream.ErrConsumerCreationResponseEmpty, jetstream.ErrConsumerLeadershipChanged,
}

// inFlight reports whether the server refused a write while another one is in
// flight, to the same subject or with the same id, that may still fail: on several
// nodes it stored nothing then and knows nothing yet.
func inFlight(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeWriteInFlight || api.ErrorCode == codeDuplicateInFlight)
}

// unknown reports whether a write that failed so may have been stored.
func unknown(err error) bool {
	return passing(err) && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoStreamResponse)
}

// replace is the compare-and-set of a record: it stores msg if the revision of its
// subject is still rev, 0: if it has none, and returns the new one. A conflict, or
// no answer at all, may hide the write itself, whose acknowledgement was lost on
// the way: the bytes of the revision that came after rev tell. So a record of which two
// may write the same in one millisecond, and only one may count, has a mark of its
// writer: a lease, an answer's mark, what a schedule has decided.
func (s *core) replace(ctx context.Context, stream jetstream.Stream, msg *nats.Msg, rev uint64) (uint64, error) {
	writing := s.request(ctx, writesTo(msg.Subject), 0)
	defer writing.over()
	ack, err := s.store(writing, msg, ifLast(rev))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, task.ErrConflict), errors.Is(err, task.ErrUnavailable):
		if next, ok := s.wrote(ctx, stream, msg, rev, writing.hasLost()); ok {
			return next, nil
		}
	}
	return 0, err
}

// wrote looks whether msg is what came after a revision of its subject. Who has not
// lost an answer may repeat an old write of its own: then only the newest counts.
func (s *core) wrote(ctx context.Context, stream jetstream.Stream, msg *nats.Msg, rev uint64, lost bool) (uint64, bool) {
	ctx, cancel := context.WithTimeout(ctx, awayTimeout) // the write has used up its patience
	defer cancel()
	looking, over := s.bound(ctx, stream.CachedInfo().Config.Name)
	defer over()
	var next *jetstream.RawStreamMsg
	var err error
	if lost {
		next, err = stream.GetMsg(looking, rev+1, jetstream.WithGetMsgSubject(msg.Subject))
	} else {
		next, err = stream.GetLastMsgForSubject(looking, msg.Subject)
	}
	if err != nil || next.Sequence <= rev || string(next.Data) != string(msg.Data) || next.Header.Get(headerOperation) != msg.Header.Get(headerOperation) {
		return 0, false
	}
	return next.Sequence, true
}

// patientStream is a stream that is asked again while it does not answer.
type patientStream struct{ jetstream.Stream }

func (s patientStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (info *jetstream.StreamInfo, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		info, err = s.Stream.Info(ctx, opts...)
		return err
	})
	return info, err
}

func (s patientStream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (msg *jetstream.RawStreamMsg, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		msg, err = s.Stream.GetMsg(ctx, seq, opts...)
		return err
	})
	return msg, err
}

func (s patientStream) GetLastMsgForSubject(ctx context.Context, subject string) (msg *jetstream.RawStreamMsg, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		msg, err = s.Stream.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return msg, err
}

// once is GetLastMsgForSubject that asks once.
func (s patientStream) once(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return s.Stream.GetLastMsgForSubject(ctx, subject)
}

// DeleteMsg deletes a message; see discard for one that is gone already.
func (s patientStream) DeleteMsg(ctx context.Context, seq uint64) error {
	return patiently(ctx, func(ctx context.Context) error { return s.Stream.DeleteMsg(ctx, seq) })
}

// CreateConsumer makes a consumer; of one without a name whose answer was lost
// there may be two, and the server drops the one that nobody asks.
func (s patientStream) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (c jetstream.Consumer, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		c, err = s.Stream.CreateConsumer(ctx, cfg)
		return err
	})
	return c, err
}

func (s patientStream) Consumer(ctx context.Context, name string) (c jetstream.Consumer, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		c, err = s.Stream.Consumer(ctx, name)
		return err
	})
	return c, err
}

// consumersOf lists the consumers of a stream.
func consumersOf(ctx context.Context, stream jetstream.Stream) (all []*jetstream.ConsumerInfo, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		list := stream.ListConsumers(ctx)
		all = nil
		for info := range list.Info() {
			all = append(all, info)
		}
		return list.Err()
	})
	return all, err
}

// patientBucket is a bucket that is asked again while it does not answer.
type patientBucket struct{ jetstream.KeyValue }

func (b patientBucket) Get(ctx context.Context, key string) (e jetstream.KeyValueEntry, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		e, err = b.KeyValue.Get(ctx, key)
		return err
	})
	return e, err
}

func (b patientBucket) Put(ctx context.Context, key string, value []byte) (rev uint64, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		rev, err = b.KeyValue.Put(ctx, key, value)
		return err
	})
	return rev, err
}

func (b patientBucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	return b.set(ctx, key, value, func(ctx context.Context) (uint64, error) { return b.KeyValue.Create(ctx, key, value, opts...) })
}

func (b patientBucket) Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	return b.set(ctx, key, value, func(ctx context.Context) (uint64, error) { return b.KeyValue.Update(ctx, key, value, rev) })
}

// set is a compare-and-set. A conflict after a try without an answer may be with
// that one: then the bucket has the value.
func (b patientBucket) set(ctx context.Context, key string, value []byte, f func(context.Context) (uint64, error)) (rev uint64, err error) {
	lost := false
	err = patiently(ctx, func(ctx context.Context) (err error) {
		rev, err = f(ctx)
		lost = lost || unknown(err)
		return err
	})
	if lost && errors.Is(classify(err), task.ErrConflict) {
		if e, look := b.Get(ctx, key); look == nil && string(e.Value()) == string(value) {
			return e.Revision(), nil
		}
	}
	return rev, err
}

// Delete leaves a mark in the place of a key. A conflict after a try without an
// answer may be with that one: then the mark is there.
func (b patientBucket) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	lost := false
	err := patiently(ctx, func(ctx context.Context) error {
		err := b.KeyValue.Delete(ctx, key, opts...)
		lost = lost || unknown(err)
		return err
	})
	if lost && errors.Is(classify(err), task.ErrConflict) {
		if _, look := b.Get(ctx, key); errors.Is(look, jetstream.ErrKeyNotFound) {
			return nil
		}
	}
	return err
}

// patientJetStream is an account that is asked again while it does not answer.
type patientJetStream struct{ jetstream.JetStream }

func (js patientJetStream) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	var s jetstream.Stream
	err := patiently(ctx, func(ctx context.Context) (err error) {
		s, err = js.JetStream.Stream(ctx, name)
		return err
	})
	return patientStream{s}, err
}

func (js patientJetStream) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	var b jetstream.KeyValue
	err := patiently(ctx, func(ctx context.Context) (err error) {
		b, err = js.JetStream.KeyValue(ctx, bucket)
		return err
	})
	return patientBucket{b}, err
}

func (js patientJetStream) Consumer(ctx context.Context, stream, name string) (c jetstream.Consumer, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		c, err = js.JetStream.Consumer(ctx, stream, name)
		return err
	})
	return c, err
}

func (js patientJetStream) CreateOrUpdateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (c jetstream.Consumer, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		c, err = js.JetStream.CreateOrUpdateConsumer(ctx, stream, cfg)
		return err
	})
	return c, err
}

func (js patientJetStream) AccountInfo(ctx context.Context) (info *jetstream.AccountInfo, err error) {
	err = patiently(ctx, func(ctx context.Context) (err error) {
		info, err = js.JetStream.AccountInfo(ctx)
		return err
	})
	return info, err
}

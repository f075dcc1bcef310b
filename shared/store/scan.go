package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// message is one message of a stream.
type message struct {
	subject string
	data    []byte
	seq     uint64
	at      time.Time // when it was stored
	size    int       // of the data, also where only the header was asked for
	others  bool      // it is of another tenant than the one that is asked for
	passed  bool      // it holds not what is looked for, and its data was let go
}

// Bounds of reading. However large the messages, the scans of a store have at
// most scansAtATime times pullBytes of them on their way: the server cuts a
// connection that leaves 64 MiB unread, with all its other work.
const (
	scansAtATime   = 4
	pullBytes      = 4 << 20
	pullMessages   = 1024
	windowBytes    = 8 << 20 // of one window of a scan, kept in memory
	windowMessages = 8192
	readerIdle     = 10 * time.Second // then the server drops a reader that is gone
	thereWait      = time.Second      // for a message that is there
)

// lane bounds those who read at a time: how many they are, and the bytes that each
// asks for at a time.
type lane struct {
	slots chan struct{}
	bytes int
}

func newLane(readers, bytes int) lane { return lane{make(chan struct{}, readers), bytes} }

// errReaderGone is a reader whose consumer the server does not know: it was
// deleted, or the server was started anew. A new one goes on where it stopped.
var errReaderGone = errors.New("the reader's consumer is gone")

// reader reads a stream in order, through a consumer in memory of its own and in
// pulls that are bounded by bytes. A consumer that is gone, or does not answer, is
// made again behind what was read.
type reader struct {
	s      *core
	stream jetstream.Stream
	cfg    jetstream.ConsumerConfig
	name   string             // of the consumer; empty: it is to be made
	sub    *nats.Subscription // that it is asked through
	most   int                // bytes of a pull
	wide   bool               // the next message is larger than that
	there  bool               // there is a message, though the server said that there is none
}

// newReader begins at sequence from. It is for one goroutine; close it.
func (s *core) newReader(ctx context.Context, stream jetstream.Stream, subject string, from uint64, most int) (*reader, error) {
	return s.openReader(ctx, stream, jetstream.ConsumerConfig{FilterSubject: subject, OptStartSeq: max(from, 1)}, most)
}

// openReader begins where a config says, with what it says of the messages.
func (s *core) openReader(ctx context.Context, stream jetstream.Stream, cfg jetstream.ConsumerConfig, most int) (*reader, error) {
	cfg.AckPolicy, cfg.DeliverPolicy = jetstream.AckNonePolicy, jetstream.DeliverByStartSequencePolicy
	cfg.MemoryStorage, cfg.Replicas, cfg.InactiveThreshold = true, 1, readerIdle
	r := &reader{s: s, stream: stream, cfg: cfg, most: most}
	if err := r.open(ctx); err != nil {
		return nil, classify(err)
	}
	return r, nil
}

// open makes the consumer. The caller may go away meanwhile: one that was made is
// deleted all the same.
func (r *reader) open(ctx context.Context) error {
	ctx, cancel := r.s.bound(context.WithoutCancel(ctx), r.of())
	defer cancel()
	c, err := r.stream.CreateConsumer(ctx, r.cfg)
	if err != nil {
		return err
	}
	r.name = c.CachedInfo().Name
	if r.sub, err = r.s.nc.SubscribeSync(r.s.nc.NewInbox()); err != nil {
		r.drop()
	}
	return err
}

// of is the name of the stream.
func (r *reader) of() string { return r.stream.CachedInfo().Config.Name }

// drop deletes the consumer. The server does so itself after a while.
func (r *reader) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), awayTimeout)
	defer cancel()
	ctx, over := r.s.bound(ctx, r.of())
	defer over()
	_ = r.stream.DeleteConsumer(ctx, r.name)
}

func (r *reader) close() {
	if r.sub != nil {
		_ = r.sub.Unsubscribe()
		r.drop()
	}
}

// next calls f with the messages of one pull, and reports whether the server had
// no more. It waits up to wait for the first of them, 0: it takes what there is.
func (r *reader) next(ctx context.Context, wait time.Duration, f func(message) error) (end bool, err error) {
	asked := r.s.request(ctx, r.of(), wait)
	defer asked.over()
	ctx = asked
	var refused error // by f: that is the reader's own affair
	err = patiently(ctx, func(context.Context) (err error) {
		if r.sub == nil {
			if err := r.open(ctx); err != nil {
				return err
			}
		}
		end, err = r.pull(ctx, wait, func(m message) error {
			if refused = f(m); refused == nil {
				r.cfg.OptStartSeq = m.seq + 1
			}
			return refused
		})
		if refused != nil {
			return nil
		}
		if passing(err) {
			_ = r.sub.Unsubscribe()
			r.sub = nil
		}
		return err
	})
	if refused != nil {
		return false, refused
	}
	return end, classify(err)
}

// pull asks once.
func (r *reader) pull(ctx context.Context, wait time.Duration, f func(message) error) (end bool, err error) {
	req := struct {
		Batch    int           `json:"batch"`
		MaxBytes int           `json:"max_bytes,omitempty"`
		Expires  time.Duration `json:"expires,omitempty"`
		NoWait   bool          `json:"no_wait,omitempty"`
	}{pullMessages, r.most, wait, wait == 0}
	if r.wide {
		req.Batch, req.MaxBytes = 1, 0
	}
	looks := r.there // the server, whatever it has counted
	if looks {
		req.Expires, r.there = thereWait, false
	}
	body, err := marshal(req)
	if err != nil {
		return false, err
	}
	if err := r.s.nc.PublishRequest(topology.PullSubject(r.of(), r.name), r.sub.Subject, body); err != nil {
		return false, err
	}
	for got := 0; got < req.Batch; {
		msg, err := r.answer(ctx, req.Expires)
		if err != nil {
			return false, err
		}
		switch status := msg.Header.Get(headerStatus); {
		case status == "" || len(msg.Data) > 0:
		case (status == "404" || status == "408") && wait == 0 && got == 0 && !looks:
			r.there, err = r.more(ctx)
			return !r.there, err
		case status == "404" || status == "408":
			return true, nil
		case status == "409" && msg.Header.Get(headerDescription) == "Batch Completed":
			continue // the end of the pull before, which had room for more bytes
		case status == "409" && msg.Header.Get(headerDescription) == "Message Size Exceeds MaxBytes":
			r.wide = got == 0
			return false, nil
		default:
			return false, fmt.Errorf("%w: %s %s", errReaderGone, status, msg.Header.Get(headerDescription))
		}
		meta, err := msg.Metadata()
		if err != nil {
			return false, fmt.Errorf("read %s: %w", msg.Subject, err)
		}
		got++
		if err := f(message{subject: msg.Subject, data: msg.Data, seq: meta.Sequence.Stream, at: meta.Timestamp, size: sizeOf(msg)}); err != nil {
			return false, err
		}
	}
	r.wide = false
	return false, nil
}

// more reports whether there may be a message to read. To a consumer a record that is
// being replaced may be gone: the server counts what was removed and what was stored
// each for itself, and one of them not at all when the consumer is made in between.
func (r *reader) more(ctx context.Context) (bool, error) {
	switch cfg := r.stream.CachedInfo().Config; {
	case cfg.MaxMsgsPerSubject <= 0 && !cfg.AllowRollup: // nothing is replaced there
		return false, nil
	case cfg.Name == topology.BucketStream(topology.IdempotencyBucket): // whose messages few users may ask for
		n, err := r.s.countSubjects(ctx, cfg.Name, r.cfg.FilterSubject)
		return n > 0, err
	}
	_, err := r.stream.GetMsg(ctx, r.cfg.OptStartSeq, jetstream.WithGetMsgSubject(cmp.Or(r.cfg.FilterSubject, everything)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil, err
}

// answer waits for a message, or a word of the server.
func (r *reader) answer(ctx context.Context, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+tryTimeout)
	defer cancel()
	return r.sub.NextMsgWithContext(ctx)
}

func sizeOf(msg *nats.Msg) int {
	if n, err := strconv.Atoi(msg.Header.Get(headerSize)); err == nil {
		return n
	}
	return len(msg.Data)
}

// headerSize is where the server says how large the data is that it leaves out.
const headerSize = "Nats-Msg-Size"

// Headers of the server's answers that are no messages of a stream.
const (
	headerStatus      = "Status"
	headerDescription = "Description"
)

// span calls f with the messages of a stream with sequences low to high, in
// order: with all of them, or it returns an error.
type span func(ctx context.Context, low, high uint64, f func(message) error) error

// errPast ends the reading of a span behind it.
var errPast = errors.New("past the span")

// readers reads spans of a stream through consumers, in a lane.
func (s *core) readers(stream jetstream.Stream, subject string, in lane) span {
	return func(ctx context.Context, low, high uint64, f func(message) error) error {
		select {
		case in.slots <- struct{}{}:
			defer func() { <-in.slots }()
		case <-ctx.Done():
			return classify(ctx.Err())
		}
		return s.readSpan(ctx, stream, subject, in.bytes, low, high, f)
	}
}

func (s *core) readSpan(ctx context.Context, stream jetstream.Stream, subject string, bytes int, low, high uint64, f func(message) error) error {
	if low > high {
		return nil
	}
	r, err := s.newReader(ctx, stream, subject, low, bytes)
	if err != nil {
		return err
	}
	defer r.close()
	for end := false; !end; {
		end, err = r.next(ctx, 0, func(m message) error {
			if m.seq > high {
				return errPast
			}
			if err := f(m); err != nil {
				return err
			}
			if m.seq == high {
				return errPast
			}
			return nil
		})
		if errors.Is(err, errPast) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// steps reads spans of a work queue, which lets nobody but its consumers walk
// through it: each message is a request. Of all other tenants' messages only those
// of schedules are met, whose subjects have no tenant.
func (s *core) steps(q queue, tenant string) span {
	get := func(ctx context.Context, seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
		ctx, cancel := s.bound(ctx, q.stream.CachedInfo().Config.Name)
		defer cancel()
		msg, err := q.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		return msg, classify(err)
	}
	return func(ctx context.Context, low, high uint64, f func(message) error) error {
		next := map[string]*jetstream.RawStreamMsg{} // of each subject
		for first := (*jetstream.RawStreamMsg)(nil); low <= high; low = first.Sequence + 1 {
			first = nil
			for _, subject := range q.subjects {
				msg, known := next[subject]
				if !known || msg != nil && msg.Sequence < low {
					var err error
					if msg, err = get(ctx, low, subject); err != nil {
						return err
					}
					next[subject] = msg
				}
				if msg != nil && (first == nil || msg.Sequence < first.Sequence) {
					first = msg
				}
			}
			if first == nil || first.Sequence > high {
				return nil
			}
			m := message{subject: first.Subject, data: first.Data, seq: first.Sequence, at: first.Time, size: len(first.Data), others: ofOthers(first, tenant)}
			if err := f(m); err != nil {
				return err
			}
		}
		return nil
	}
}

// ofOthers reports whether a schedule is for a task of another tenant.
func ofOthers(msg *jetstream.RawStreamMsg, tenant string) bool {
	target := msg.Header.Get(headerScheduleTarget)
	return target != "" && !topology.IsQueuedOf(target, tenant)
}

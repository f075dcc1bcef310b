package store

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/pause"
)

// Pull is how an agent's work comes to a worker. It asks the server for
// exactly as many messages as the worker has room for (the credit), so that no
// message waits in this process while another worker is idle.
type Pull struct {
	Queue    Queue
	Agent    string
	Lease    time.Duration // that a message has after its delivery
	MaxBytes int64         // of the messages of one request
	Log      *slog.Logger

	// Most is how many messages may come at once.
	Most int
	// Room is how many may come now. Two pulls may share it: when the
	// one has filled it for a while, the other takes back what it has asked for.
	Room func() int
	// Changed rings when there is room again, and when there is none any more. More room
	// is worth a ring from what Worth, where it is set, was told last.
	Changed <-chan struct{}
	Worth   func(room int)
	// Take begins to work on a message. It does not wait.
	Take func(*Delivered)
	// Refused is called when the server refuses to be asked.
	Refused func(ctx context.Context)
}

const (
	pullBackoff = time.Second            // the pause after the server refused a pull
	fullFor     = 100 * time.Millisecond // without room, until the credit is taken back
	pullBuffer  = 64                     // messages beyond the most, such as statuses

	// A server cuts a connection that does not take 64 MiB in time. So a request
	// for many messages is also one for so many bytes: the next follows when they
	// have arrived.
	intakeBytes    = 4 << 20
	intakeBytesAll = 32 << 20 // by all pulls of a worker
)

// PullLimit is how many bytes one of n pulls may ask for at once: one message
// at least, which is under the server's max_payload with its headers.
func (c Connection) PullLimit(n int) int64 {
	const subjects = 4 << 10
	return max(min(intakeBytes, intakeBytesAll/int64(n)), c.MaxPayload()+subjects)
}

// expires is how long a pull request stands. It ends before a lease does, so that
// the redelivery of a frozen worker's task does not answer a pull that this worker
// has left behind, and count as an attempt.
func (in *Pull) expires() time.Duration { return in.Lease / 2 }

// heartbeat is how often a server without messages says that the request stands;
// two missing ones mean that it is lost.
func (in *Pull) heartbeat() time.Duration { return in.expires() / 4 }

// puller is a pull at work. It speaks the pull protocol itself (ADR-13): the
// client library's iterators either prefetch beyond the room or pay a subscription
// for each pull. Its state belongs to the goroutine of Pull.
type puller struct {
	Pull
	pulls
	credit int // messages asked for and not yet arrived
}

// Pull has work come until ctx is done.
func (s Consumers) Pull(ctx context.Context, in Pull) {
	p := &puller{Pull: in, pulls: pulls{nc: s.nc, msgs: make(chan *nats.Msg, in.Most+pullBuffer)}}
	connected := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(connected)
	if p.sub = p.subscribe(ctx); p.sub == nil {
		return
	}
	defer p.stop()
	p.run(ctx, connected)
}

func (p *puller) run(ctx context.Context, connected <-chan nats.Status) {
	heard, quiet := time.Now(), time.NewTimer(2*p.heartbeat())
	defer quiet.Stop()
	pause := time.NewTimer(0) // fires when pulling may start again
	defer pause.Stop()
	full := time.NewTimer(fullFor)
	defer full.Stop()
	paused := true
	rest := func() {
		p.credit, paused = 0, true
		pause.Reset(pullBackoff)
	}
	for {
		if !paused {
			if err := p.ask(); err != nil {
				p.Log.Debug("pull not sent", "error", err)
				rest()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.Changed:
			full.Reset(fullFor)
		case <-full.C:
			if p.credit > 0 && p.Room() == 0 {
				p.revoke(ctx)
			}
		case msg := <-p.msgs:
			heard = time.Now()
			if refused := p.receiveAll(msg); refused != "" {
				p.Log.Warn("pull refused", "reason", refused)
				rest()
				p.Refused(ctx)
			}
		case <-connected:
			p.credit = 0 // the server forgot what a lost connection asked for
		case <-quiet.C:
			left := 2*p.heartbeat() - time.Since(heard)
			quiet.Reset(cmp.Or(max(left, 0), 2*p.heartbeat()))
			if left <= 0 && p.credit > 0 {
				p.Log.Debug("pull lost, asking again", "credit", p.credit)
				p.credit = 0
			}
		case <-pause.C:
			paused = false
		}
	}
}

// ask asks for what there is room for, in batches: while at least half of it is
// covered by earlier requests it waits for more.
func (p *puller) ask() error {
	if p.Worth != nil {
		p.Worth(2 * p.credit) // before it looks: nothing that is free later is missed
	}
	free := p.Room()
	n := free - p.credit
	if n <= 0 || p.credit > free/2 {
		return nil
	}
	req, err := marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int64         `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{p.expires(), n, p.MaxBytes, p.heartbeat()})
	if err != nil {
		return err
	}
	p.credit += n
	return p.nc.PublishRequest(p.Queue.pullSubject(p.Agent), p.sub.Subject, req)
}

// subscribe makes an inbox; nil when ctx ends first.
func (p *puller) subscribe(ctx context.Context) *nats.Subscription {
	for {
		sub, err := p.nc.ChanSubscribe(p.nc.NewInbox(), p.msgs)
		if err == nil {
			return sub
		}
		// The connection is closed or draining: the process is about to end.
		p.Log.Warn("pull cannot subscribe", "error", err)
		if !pause.For(ctx, pullBackoff) {
			return nil
		}
	}
}

// revoke takes back what was asked for: a server answers no request whose inbox
// is gone. Messages that it has sent already are taken.
func (p *puller) revoke(ctx context.Context) {
	next := p.subscribe(ctx)
	if next == nil {
		return
	}
	p.flush()
	p.sub = next
	for {
		select {
		case msg := <-p.msgs:
			p.receive(msg)
		default:
			p.credit = 0
			return
		}
	}
}

// receiveAll takes a message and those that have come with it.
func (p *puller) receiveAll(msg *nats.Msg) (refused string) {
	for {
		if refused = p.receive(msg); refused != "" {
			return refused
		}
		select {
		case msg = <-p.msgs:
		default:
			return ""
		}
	}
}

// receive takes a message, or keeps the books when it is a status of the server.
// refused tells why the server will not answer pulls.
func (p *puller) receive(msg *nats.Msg) (refused string) {
	switch status := msg.Header.Get("Status"); {
	case status == "" || len(msg.Data) > 0:
		p.credit = max(p.credit-1, 0)
		p.Take(deliveredOf(msg))
	case status == "100": // heartbeat
	case status == "404", status == "408", status == "409" && msg.Header.Get("Nats-Pending-Messages") != "":
		// The request is over; this many of its messages will not come.
		unfilled, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			unfilled = p.credit
		}
		p.credit = max(p.credit-unfilled, 0)
	default:
		return status + " " + msg.Header.Get("Description")
	}
	return ""
}

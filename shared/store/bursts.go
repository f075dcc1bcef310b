package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/topology"
)

// pulls are where a consumer's messages come to that this process asks for itself.
type pulls struct {
	nc   *nats.Conn
	msgs chan *nats.Msg
	sub  *nats.Subscription // the inbox that pulls are answered to
}

// flush ends the subscription after everything that the server has sent has
// arrived.
func (p *pulls) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if p.sub.Drain() == nil {
		_ = p.nc.FlushWithContext(ctx)
	}
}

// stop ends the pulls and hands back what they still brought: after the flush the
// server has sent all that it ever will.
func (p *pulls) stop() {
	p.flush()
	for {
		select {
		case msg := <-p.msgs:
			if msg.Reply != "" && msg.Header.Get("Status") == "" {
				_ = msg.Nak()
			}
		default:
			return
		}
	}
}

// Bursts is how the messages of a consumer come that has many of them.
type Bursts struct {
	Prefetch
	Every time.Duration // from one to the next
	Spare int           // that may come sooner, after a rest
}

// bursts asks for messages once for all that there are, and not again before the next
// burst is due.
type bursts struct {
	Bursts
	pulls
	subject string
	request []byte

	pull  string      // where the statuses of the last pull come to
	asked int         // pulls
	want  int         // messages that the last one may bring; 0: it is over
	began time.Time   // its first answer
	even  time.Time   // until then there have been more than one in a time
	due   *time.Timer // for what has come of it, and for the next one
	quiet *time.Timer
	come  []*Delivered
}

// Bursts calls take with all the messages that have come, until ctx is done or this
// life of the consumer is over: then it returns nil. A message comes at once where
// there were none, and those that are stored meanwhile come together: each delivery
// and each ack wakes the server, and is agreed upon by the nodes that have copies, but
// those of a burst in one go. It calls disturbed as Each does.
func (k *Kept) Bursts(ctx context.Context, in Bursts, disturbed func(error) (over bool), take func([]*Delivered)) error {
	b, err := k.bursts(in)
	if err != nil {
		return err
	}
	defer b.handBack()
	connected := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(connected)
	for {
		due, err := false, error(nil)
		select {
		case <-ctx.Done():
			return nil
		case <-k.gone:
			return nil
		case <-connected: // the server forgot what a lost connection asked for
			due, b.want = true, 0
		case <-b.due.C:
			due = true
		case <-b.quiet.C:
			err = errQuiet
		case msg := <-b.msgs:
			err = b.receive(msg)
		}
		if errors.Is(err, nats.ErrConsumerDeleted) || err != nil && disturbed(err) {
			return nil // the next look at it says why
		}
		if err != nil {
			due, b.want = true, 0
		}
		b.proceed(due, take)
	}
}

var errQuiet = errors.New("no heartbeat of the server")

func (k *Kept) bursts(in Bursts) (*bursts, error) {
	request, err := marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
		NoWait    bool          `json:"no_wait"` // beyond the first message
	}{in.Expires, in.Messages, in.Bytes, in.Heartbeat, true})
	if err != nil {
		return nil, err
	}
	b := &bursts{
		Bursts: in, pulls: pulls{nc: k.nc, msgs: make(chan *nats.Msg, 2*in.Messages+pullBuffer)},
		subject: topology.PullSubject(k.durable.Stream, k.durable.Config.Durable), request: request,
	}
	if b.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox()+".*", b.msgs); err != nil {
		return nil, classify(err)
	}
	b.due, b.quiet = time.NewTimer(0), time.NewTimer(2*in.Heartbeat)
	return b, nil
}

// proceed gives a burst away when all of it has come, or when that takes long, and
// asks for the next one when it is due.
func (b *bursts) proceed(due bool, take func([]*Delivered)) {
	if len(b.come) > 0 && (due || b.want == 0) {
		take(b.come)
		b.come = nil
	}
	if due && b.want == 0 {
		b.ask()
	}
	b.quiet.Reset(2 * b.Heartbeat)
}

// ask asks for messages. Where that does not reach the server, the heartbeats are missed.
func (b *bursts) ask() {
	b.asked++
	b.want, b.pull = b.Messages, strings.TrimSuffix(b.sub.Subject, "*")+strconv.Itoa(b.asked)
	_ = b.nc.PublishRequest(b.subject, b.pull, b.request)
}

// receive takes a message, or keeps the books when it is a status of the server.
func (b *bursts) receive(msg *nats.Msg) error {
	if b.want == b.Messages {
		b.began = time.Now()
		b.due.Reset(b.Every)
	}
	switch status := msg.Header.Get("Status"); {
	case status == "" || len(msg.Data) > 0:
		b.come = append(b.come, deliveredOf(msg))
		if b.want = max(b.want-1, 0); b.want == 0 {
			b.due.Reset(0) // there may be more
		}
	case status == "100", msg.Subject != b.pull, b.want == 0: // a heartbeat, or of a pull that is over
	case status == "404", status == "408", status == "409" && msg.Header.Get("Nats-Pending-Messages") != "":
		b.want = 0 // this was all
		if b.even = b.even.Add(b.Every); b.even.Before(b.began.Add(b.Every)) {
			b.even = b.began.Add(b.Every)
		}
		b.due.Reset(time.Until(b.even.Add(-b.Every * time.Duration(b.Spare))))
	case status == "409" && msg.Header.Get("Description") == "Consumer Deleted":
		return nats.ErrConsumerDeleted
	default:
		return fmt.Errorf("pull refused: %s %s", status, msg.Header.Get("Description"))
	}
	return nil
}

// handBack ends the pulls and gives what they brought to others.
func (b *bursts) handBack() {
	b.due.Stop()
	b.quiet.Stop()
	b.stop()
	for _, msg := range b.come {
		_ = msg.Nak(0)
	}
}

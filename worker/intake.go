package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/store"
	"agentmesh/worker/agent"
)

// intake pulls the work of one agent from one queue. It asks the server for
// exactly as many messages as the agent has free slots (the credit), so that no
// message waits in this process while another worker is idle. An agent's two
// intakes share its slots: when the one has filled them for a while, the other
// takes back what it has asked for. Its state belongs to the goroutine of run.
//
// It speaks the pull protocol itself (ADR-13): the client library's iterators
// either prefetch beyond the slots or pay a subscription for each pull.
type intake struct {
	w     *Worker
	agent agent.Agent
	queue store.Queue

	slots    *slots
	credit   int   // messages asked for and not yet arrived
	maxBytes int64 // of them, for each request
	streak   quickStreak
}

const (
	pullBackoff = time.Second            // the pause after the server refused a pull
	fullFor     = 100 * time.Millisecond // without a free slot, until the credit is taken back

	// A server cuts a connection that does not take 64 MiB in time. So a request
	// for many messages is also one for so many bytes: the next follows when they
	// have arrived.
	pullBytes    = 4 << 20
	pullBytesAll = 32 << 20 // by all intakes of a worker
)

// pullLimit is how many bytes one of n intakes may ask for at once: one message
// at least, which is under the server's max_payload with its headers.
func pullLimit(n int, maxPayload int64) int64 {
	const subjects = 4 << 10
	return max(min(pullBytes, pullBytesAll/int64(n)), maxPayload+subjects)
}

// pullExpires is how long a pull request stands. It ends before a lease does,
// so that the redelivery of a frozen worker's task does not answer a pull that
// this worker has left behind, and count as an attempt.
func (in *intake) pullExpires() time.Duration { return in.w.cfg.Lease / 2 }

// pullHeartbeat is how often a server without messages says that the request
// stands; two missing ones mean that it is lost.
func (in *intake) pullHeartbeat() time.Duration { return in.pullExpires() / 4 }

// run pulls until ctx is done. Attempts run under work and outlive it.
func (in *intake) run(ctx, work context.Context) {
	log := in.w.log.With("agent", in.agent.Name, "queue", in.queue.Template())
	nc := in.w.store.Conn()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)

	bell := in.slots.bell()
	defer in.slots.removeBell(bell)

	msgs := make(chan *nats.Msg, in.agent.Concurrency+64)
	sub := in.subscribe(ctx, log, msgs)
	if sub == nil {
		return
	}
	defer func() { in.stop(sub, msgs) }()

	quiet := time.NewTimer(2 * in.pullHeartbeat())
	defer quiet.Stop()
	pause := time.NewTimer(0) // fires when pulling may start again
	defer pause.Stop()
	full := time.NewTimer(fullFor)
	defer full.Stop()
	paused := true
	for {
		if !paused {
			if err := in.pull(nc, sub.Subject); err != nil {
				log.Debug("pull not sent", "error", err)
				in.credit, paused = 0, true
				pause.Reset(pullBackoff)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-bell:
			full.Reset(fullFor)
		case <-full.C:
			if in.credit > 0 && in.slots.open() == 0 {
				if next := in.subscribe(ctx, log, msgs); next != nil {
					in.revoke(work, sub, msgs)
					sub = next
				}
			}
		case msg := <-msgs:
			quiet.Reset(2 * in.pullHeartbeat())
			if refused := in.receive(work, msg); refused != "" {
				log.Warn("pull refused", "reason", refused)
				in.credit, paused = 0, true
				pause.Reset(pullBackoff)
				in.mend(ctx)
			}
		case <-connected:
			in.credit = 0 // the server forgot what a lost connection asked for
		case <-quiet.C:
			quiet.Reset(2 * in.pullHeartbeat())
			if in.credit > 0 {
				log.Debug("pull lost, asking again", "credit", in.credit)
				in.credit = 0
			}
		case <-pause.C:
			paused = false
		}
	}
}

// pull asks for what the free slots allow, in batches: while at least half of
// them are covered by earlier requests it waits for more slots to become free.
func (in *intake) pull(nc *nats.Conn, inbox string) error {
	free := in.slots.open()
	n := free - in.credit
	if n <= 0 || in.credit > free/2 {
		return nil
	}
	req, err := json.Marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int64         `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{in.pullExpires(), n, in.maxBytes, in.pullHeartbeat()})
	if err != nil {
		return err
	}
	in.credit += n
	return nc.PublishRequest(in.queue.PullSubject(in.agent.Name), inbox, req)
}

// subscribe makes the inbox that pulls are answered to; nil when ctx ends first.
func (in *intake) subscribe(ctx context.Context, log *slog.Logger, msgs chan *nats.Msg) *nats.Subscription {
	for {
		sub, err := in.w.store.Conn().ChanSubscribe(nats.NewInbox(), msgs)
		if err == nil {
			return sub
		}
		// The connection is closed or draining: the process is about to end.
		log.Warn("intake cannot subscribe", "error", err)
		if !wait(ctx, pullBackoff) {
			return nil
		}
	}
}

// revoke takes back what was asked for at the inbox of sub: a server answers no
// request whose inbox is gone. What it has sent already is started.
func (in *intake) revoke(work context.Context, sub *nats.Subscription, msgs chan *nats.Msg) {
	in.flush(sub)
	for {
		select {
		case msg := <-msgs:
			in.receive(work, msg)
		default:
			in.credit = 0
			return
		}
	}
}

// flush ends a subscription; what the server had sent by then has arrived.
func (in *intake) flush(sub *nats.Subscription) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if sub.Drain() == nil {
		_ = in.w.store.Conn().FlushWithContext(ctx)
	}
}

// receive starts the attempt of a message, or keeps the books when it is a
// status of the server. refused tells why the server will not answer pulls.
func (in *intake) receive(work context.Context, msg *nats.Msg) (refused string) {
	switch status := msg.Header.Get("Status"); {
	case status == "" || len(msg.Data) > 0:
		in.credit--
		in.start(work, msg)
	case status == "100": // heartbeat
	case status == "404", status == "408", status == "409" && msg.Header.Get("Nats-Pending-Messages") != "":
		// The request is over; this many of its messages will not come.
		unfilled, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			unfilled = in.credit
		}
		in.credit = max(in.credit-unfilled, 0)
	default:
		return status + " " + msg.Header.Get("Description")
	}
	return ""
}

// start gives msg a slot. One that finds none, because an attempt took back the
// slot it had lent, waits for the next, until work ends.
func (in *intake) start(work context.Context, msg *nats.Msg) {
	in.credit = max(in.credit, 0)
	held, lease := in.slots.tryTake(), keepLease(msg, in.w.cfg.Lease)
	in.w.attempts.Go(func() {
		if !held && in.slots.take(work) != nil {
			lease.end()
			_ = msg.Nak()
			return
		}
		in.w.handle(work, in, msg, lease)
	})
}

// mend creates the consumer again where somebody deleted it.
func (in *intake) mend(ctx context.Context) {
	if _, err := in.w.upkeep.Open(ctx, in.durable()); err != nil && ctx.Err() == nil {
		in.w.log.Warn("consumer not there", "agent", in.agent.Name, "error", err)
	}
}

// durable is the consumer that in pulls from.
func (in *intake) durable() store.Durable {
	return store.AgentDurable(in.queue, in.agent.Name, in.agent.MaxInFlight, in.w.cfg.Lease)
}

// stop ends the pulls and hands back what they still brought: after the flush
// the server has sent all that it ever will.
func (in *intake) stop(sub *nats.Subscription, msgs chan *nats.Msg) {
	in.flush(sub)
	for {
		select {
		case msg := <-msgs:
			if msg.Reply != "" && msg.Header.Get("Status") == "" {
				_ = msg.Nak()
			}
		default:
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// quickStreak remembers whether an agent's attempts end within quickEnd. One
// that has done so several times in a row may start before its claim is
// written; see attempt.begin. It starts over with the process, so that a task
// that kills its worker is always claimed first and its attempts are counted.
type quickStreak struct{ n atomic.Int32 }

const (
	quickEnd    = 50 * time.Millisecond
	quickEarned = 8
)

func (q *quickStreak) earned() bool { return q.n.Load() >= quickEarned }

func (q *quickStreak) note(took time.Duration, completed bool) {
	if !completed || took >= quickEnd {
		q.n.Store(0)
	} else if q.n.Load() < quickEarned {
		q.n.Add(1)
	}
}

// Package notifier tells others what becomes of tasks. The fan-out reads every
// change of every task's record and turns each event into one delivery for each
// receiver that wants it: the task's callback and the webhooks that match. The
// delivery side signs and sends them, retries for days, and keeps what it could
// not deliver.
//
// It promises that an event of a task reaches every receiver at least once, with
// the same id and the same bytes each time, or stands in the list of dead
// deliveries with every attempt; and that a receiver that is slow or dead does
// not hold up another one. It runs no agent and answers no client.
package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/notifier/egress"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Config of a notifier.
type Config struct {
	Drain time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`
}

// Default is the configuration of the design.
func Default() Config { return Config{Drain: 30 * time.Second} }

func (c Config) validate() error {
	if c.Drain < 0 || c.Drain > time.Hour {
		return fmt.Errorf("drain is %v, allowed is 0s to 1h", c.Drain)
	}
	return nil
}

// Times of the consumers.
const (
	ackWait      = 10 * time.Second // after which a dead notifier's messages go to another one
	pullExpires  = 30 * time.Second
	pullBeat     = 15 * time.Second
	consumeAgain = time.Second // after a pull that the server refused
)

// Bounds of what one process works on at a time.
const (
	maxFanout  = 256  // changes of records
	maxHeld    = 1024 // deliveries: running, waiting for their endpoint, or being recorded
	maxPerHost = 10   // attempts at one endpoint
	prefetch   = 256
)

// Notifier fans events out and delivers them until its context ends.
type Notifier struct {
	cfg       Config
	store     *store.Store
	log       *slog.Logger
	receivers *Receivers
	outbound  *egress.Transports
	webhooks  *webhooks
	lanes     *lanes
	seen      *seen
	started   time.Time

	fanout, due jetstream.Consumer
}

// New makes a notifier, and its consumers where they are missing.
func New(ctx context.Context, cfg Config, st *store.Store, guard *egress.Guard, keeper *secret.Keeper, log *slog.Logger) (*Notifier, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure notifier: %w", err)
	}
	n := &Notifier{
		cfg: cfg, store: st, log: log, receivers: NewReceivers(guard, keeper), outbound: egress.NewTransports(guard),
		webhooks: &webhooks{store: st}, lanes: newLanes(maxHeld, maxPerHost), seen: newSeen(), started: time.Now(),
	}
	var err error
	if n.fanout, err = st.Consumer(ctx, topology.BucketStream(topology.TasksBucket), topology.FanoutConsumer(ackWait)); err != nil {
		return nil, err
	}
	if n.due, err = st.Consumer(ctx, topology.Deliveries, topology.DeliverConsumer(ackWait)); err != nil {
		return nil, err
	}
	return n, nil
}

// Run works until ctx is done. Then it takes nothing new, lets what is on its
// way finish within Config.Drain, leaves the rest to others and returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	defer telemetry.Observe(n.observe)()
	beginSeries()
	var loops, works sync.WaitGroup
	loops.Go(func() { n.consume(ctx, work, n.fanout, maxFanout, &works, n.fan) })
	loops.Go(func() { n.consume(ctx, work, n.due, maxHeld, &works, n.handle) })
	loops.Wait()
	grace := time.AfterFunc(n.cfg.Drain, func() { cut(errDraining) })
	defer grace.Stop()
	works.Wait()
	n.outbound.Close()
	return nil
}

var errDraining = errors.New("the notifier is shutting down")

// consume gives each message of a consumer to handle, at most limit at a time,
// until ctx is done. What handle has not acknowledged comes again.
func (n *Notifier) consume(ctx, work context.Context, c jetstream.Consumer, limit int, works *sync.WaitGroup, handle func(context.Context, jetstream.Msg)) {
	slots := make(chan struct{}, limit)
	for ctx.Err() == nil {
		msgs, err := c.Messages(jetstream.PullMaxMessages(prefetch), jetstream.PullExpiry(pullExpires), jetstream.PullHeartbeat(pullBeat))
		if err != nil {
			n.log.Warn("cannot pull, trying again", "consumer", c.CachedInfo().Name, "error", err)
			pause(ctx, consumeAgain)
			continue
		}
		stop := context.AfterFunc(ctx, msgs.Drain) // what has come already is handed back
		for {
			msg, err := msgs.Next()
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				break
			}
			if err != nil { // heartbeats missed, a connection lost: the iterator heals itself
				n.log.Debug("pull disturbed", "consumer", c.CachedInfo().Name, "error", err)
				pause(ctx, consumeAgain)
				continue
			}
			if ctx.Err() != nil {
				_ = msg.Nak() // for another notifier, at once
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				_ = msg.Nak()
				continue
			}
			works.Go(func() {
				defer func() { <-slots }()
				defer keep(msg)()
				handle(work, msg)
			})
		}
		stop()
		msgs.Stop()
		if ctx.Err() == nil {
			pause(ctx, consumeAgain)
		}
	}
}

// repeated reports whether a message may have been worked on before: it was
// delivered before, or is from the time before this process. A server that was
// killed has forgotten the last acknowledgements.
func (n *Notifier) repeated(meta *jetstream.MsgMetadata) bool {
	return meta.NumDelivered > 1 || meta.Timestamp.Before(n.started.Add(time.Second))
}

// keep tells the server now and then that a message is being worked on, so that
// nobody else gets it while this process lives, and somebody soon after it died.
func keep(msg jetstream.Msg) (release func()) {
	var mu sync.Mutex
	var renew *time.Timer
	released := false
	mu.Lock()
	defer mu.Unlock()
	renew = time.AfterFunc(ackWait/3, func() {
		mu.Lock()
		defer mu.Unlock()
		if !released {
			_ = msg.InProgress() // a publish, it does not wait
			renew.Reset(ackWait / 3)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		released = true
		renew.Stop()
	}
}

// pause waits for d or until ctx is done, and reports whether d has passed.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Package notifier tells others what becomes of tasks and schedules. The fan-out
// reads every change of every record and turns each event into one delivery for each
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

	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/store"
	"agentmesh/shared/telemetry"
)

// Config of a notifier.
type Config struct {
	Drain time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`

	PublicURL string `flag:"public-url" env:"MESH_PUBLIC_URL" help:"URL by which clients reach the gateway, such as https://mesh.example.com: links are absolute"`
}

// Default is the configuration without settings.
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
	consumeAgain = time.Second           // after a pull that the server refused
	burstEvery   = 10 * time.Millisecond // where changes come all the time
	burstSpare   = 16
)

// Bounds of what one process works on at a time.
const (
	maxFanout  = 256  // changes of records
	maxHeld    = 1024 // deliveries: running, waiting for their endpoint, or being recorded
	maxPerHost = 10   // attempts at one endpoint
	prefetch   = 256

	prefetchBytes = 8 << 20  // of one pull, and never less than the largest message
	fanoutBytes   = 64 << 20 // of changes of records, worked on at a time
	dueBytes      = 256 << 20
)

// Notifier fans events out and delivers them until its context ends.
type Notifier struct {
	cfg      Config
	store    *store.Store
	log      *slog.Logger
	outbound *egress.Transports
	webhooks *webhooks
	lanes    *lanes
	upkeep   *store.Upkeep
	fanout   *fanout
	courier  courier
}

// The consumers of the notifiers.
var (
	fanoutDurable    = store.FanoutDurable(ackWait)
	schedulesDurable = store.SchedulesFanoutDurable(ackWait)
	dueDurable       = store.DeliverDurable(ackWait)
)

// New makes a notifier, and its consumers where they are missing.
func New(ctx context.Context, cfg Config, st *store.Store, guard *egress.Guard, keys *keyring.Ring, log *slog.Logger) (*Notifier, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure notifier: %w", err)
	}
	pushes := newPushIndex(st)
	n := &Notifier{
		cfg: cfg, store: st, log: log, outbound: egress.NewTransports(guard),
		webhooks: newWebhooks(st, pushes), lanes: newLanes(maxHeld, maxPerHost), upkeep: st.Consumers.Upkeep(log),
	}
	later, started := timetable{st}, time.Now()
	n.fanout = &fanout{store: st, log: log, webhooks: n.webhooks, pushes: pushes, lanes: n.lanes, later: later, seen: newSeen(), told: newTold(), started: started, publicURL: cfg.PublicURL}
	n.courier = courier{
		store: st, log: log, lanes: n.lanes, later: later, started: started,
		addresses: addresses{st, keys}, sender: sender{guard, n.outbound},
	}
	if err := st.Consumers.NoteNotifiers(ctx); err != nil {
		return nil, err
	}
	for _, d := range n.durables() {
		if _, err := n.upkeep.Open(ctx, d); err != nil {
			return nil, err
		}
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
	var loops, works, readers sync.WaitGroup
	readers.Go(func() { n.webhooks.run(work) })
	loops.Go(func() { n.upkeep.Run(ctx, n.durables) })
	loops.Go(func() {
		n.consume(ctx, work, intake{durable: fanoutDurable, limit: maxFanout, bytes: fanoutBytes, sift: n.fanout.sift}, &works)
	})
	loops.Go(func() {
		n.consume(ctx, work, intake{durable: schedulesDurable, limit: maxFanout, bytes: fanoutBytes, handle: n.fanout.fanSchedule}, &works)
	})
	loops.Go(func() {
		n.consume(ctx, work, intake{durable: dueDurable, limit: maxHeld, bytes: dueBytes, handle: n.courier.handle}, &works)
	})
	loops.Wait()
	grace := time.AfterFunc(n.cfg.Drain, func() { cut(errDraining) })
	defer grace.Stop()
	works.Wait()
	cut(nil)
	readers.Wait()
	n.outbound.Close()
	return nil
}

var errDraining = errors.New("the notifier is shutting down")

// keep tells the server now and then that a message is being worked on, so that
// nobody else gets it while this process lives, and somebody soon after it died.
func keep(msg *store.Delivered) (release func()) {
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

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// Durable is a durable consumer that a role lives on: without it the role gets
// nothing, and no error either.
type Durable struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// String names the consumer, as logs, metrics and /readyz do.
func (d Durable) String() string {
	if _, agent := topology.DurableAgent(d.Config.Durable); agent { // has one on each of two streams
		return d.Config.Durable + " on " + d.Stream
	}
	return d.Config.Durable
}

// AgentDurable is the consumer of an agent in a queue.
func AgentDurable(q Queue, agent string, maxInFlight int, ackWait time.Duration) Durable {
	switch q {
	case TurnQueue:
		return Durable{topology.Turns, topology.TurnConsumer(agent, maxInFlight, ackWait)}
	case BulkQueue:
		return Durable{topology.Tasks, topology.BulkConsumer(agent, ackWait)}
	}
	return Durable{topology.Tasks, topology.AgentConsumer(agent, maxInFlight, ackWait)}
}

// FanoutDurable is the consumer of the changes of records.
func FanoutDurable(ackWait time.Duration) Durable {
	return Durable{topology.BucketStream(topology.TasksBucket), topology.FanoutConsumer(ackWait)}
}

// SchedulesFanoutDurable is the consumer of the changes of schedules.
func SchedulesFanoutDurable(ackWait time.Duration) Durable {
	return Durable{topology.BucketStream(topology.SchedulesBucket), topology.SchedulesFanoutConsumer(ackWait)}
}

// DeliverDurable is the consumer of the deliveries that are due.
func DeliverDurable(ackWait time.Duration) Durable {
	return Durable{topology.Deliveries, topology.DeliverConsumer(ackWait)}
}

// Upkeep looks after the consumers that a role lives on. One that somebody has
// deleted is an error in the log and a count in the metrics, and is made again
// within a few seconds. It is safe for concurrent use.
type Upkeep struct {
	store *core
	log   *slog.Logger

	mu   sync.Mutex
	kept map[string]*Kept
}

// Kept is one life of a consumer: one that was deleted and made again has
// another. It has seen nothing of what the one before has delivered.
type Kept struct {
	// Born is when the server made it.
	Born time.Time

	nc       *nats.Conn
	durable  Durable
	consumer jetstream.Consumer
	gone     chan struct{} // closed when this life is found to be over
}

// upkeepEvery is the time between two looks at a consumer. It is the backstop: the
// server tells when one is deleted, unless the connection was away at that time.
const upkeepEvery = time.Minute

// Upkeep makes the upkeep of one role.
func (s Consumers) Upkeep(log *slog.Logger) *Upkeep {
	return &Upkeep{store: s.core, log: log, kept: map[string]*Kept{}}
}

// Run looks after what wanted returns, until ctx is done: now and then, when the
// server tells that a consumer was deleted, and after each reconnect.
func (u *Upkeep) Run(ctx context.Context, wanted func() []Durable) {
	deleted, subs := make(chan *nats.Msg, 64), map[string]*nats.Subscription{}
	defer u.listen(nil, subs, deleted)
	u.listen(wanted(), subs, deleted)
	connected := u.store.nc.StatusChanged(nats.CONNECTED)
	defer u.store.nc.RemoveStatusListener(connected)
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		var about string // empty: all
		select {
		case msg := <-deleted:
			about = msg.Subject
		case <-connected:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := wanted()
		u.forget(now)
		u.listen(now, subs, deleted)
		for _, d := range now {
			if about != "" && about != topology.ConsumerDeleted(d.Stream, d.Config.Durable) {
				continue
			}
			if _, err := u.Open(ctx, d); err != nil && ctx.Err() == nil {
				u.log.Warn("consumer not looked at, trying again", "consumer", d.String(), "error", err)
			}
		}
	}
}

// listen hears of the end of those that are wanted, and of no others: the readers
// of lists make and delete many.
func (u *Upkeep) listen(wanted []Durable, subs map[string]*nats.Subscription, deleted chan *nats.Msg) {
	subjects := map[string]bool{}
	for _, d := range wanted {
		subject := topology.ConsumerDeleted(d.Stream, d.Config.Durable)
		subjects[subject] = true
		if subs[subject] == nil {
			if sub, err := u.store.nc.ChanSubscribe(subject, deleted); err == nil {
				subs[subject] = sub
			}
		}
	}
	for subject, sub := range subs {
		if !subjects[subject] {
			_ = sub.Unsubscribe()
			delete(subs, subject)
		}
	}
}

// forget drops what is not wanted any more: it may go.
func (u *Upkeep) forget(wanted []Durable) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name := range u.kept {
		if !slices.ContainsFunc(wanted, func(d Durable) bool { return d.String() == name }) {
			delete(u.kept, name)
		}
	}
}

// Open returns a consumer as it is now, made where it is missing.
func (u *Upkeep) Open(ctx context.Context, d Durable) (*Kept, error) {
	ctx, cancel := u.store.bound(ctx, d.Stream)
	defer cancel()
	c, err := u.store.js.Consumer(ctx, d.Stream, d.Config.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		u.lost(d)
		c, err = u.store.js.CreateOrUpdateConsumer(ctx, d.Stream, d.Config)
	}
	if err != nil {
		return nil, fmt.Errorf("open consumer %s: %w", d, classify(err))
	}
	return u.keep(d, c), nil
}

// lost notes that a consumer is not there. One that this role has not seen yet
// is made for the first time, which is no error.
func (u *Upkeep) lost(d Durable) {
	u.mu.Lock()
	old := u.kept[d.String()]
	delete(u.kept, d.String())
	u.mu.Unlock()
	if old != nil {
		close(old.gone)
		telemetry.ConsumersLost.Add(1, d.Config.Durable)
		u.log.Error("a consumer was deleted, making it again: nobody but the mesh may delete its consumers", "consumer", d.String())
	}
}

// keep notes the present life of a consumer.
func (u *Upkeep) keep(d Durable, c jetstream.Consumer) *Kept {
	born := c.CachedInfo().Created
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.kept[d.String()]
	if old == nil || !old.Born.Equal(born) {
		warnOfSettings(u.log, topology.ConsumerDifferences(d.Stream, d.Config, c.CachedInfo().Config))
	}
	if old != nil && old.Born.Equal(born) {
		return old
	}
	if old != nil { // another process was quicker to make it again
		close(old.gone)
		telemetry.ConsumersLost.Add(1, d.Config.Durable)
		u.log.Error("a consumer was deleted and made again: nobody but the mesh may delete its consumers", "consumer", d.String())
	}
	k := &Kept{nc: u.store.nc, durable: d, consumer: c, Born: born, gone: make(chan struct{})}
	u.kept[d.String()] = k
	return k
}

// NoteNotifiers writes down that this mesh has notifiers: from now on their
// consumers must be there, whoever looks.
func (s Consumers) NoteNotifiers(ctx context.Context) error {
	ctx, cancel := s.bound(ctx, writes+topology.KeysBucket)
	defer cancel()
	if _, err := s.apiKeys.Create(ctx, topology.NotifiersMark, nil); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("note that there are notifiers: %w", classify(err))
	}
	return nil
}

// Missing names the consumers that roles live on and that are not there:
// the notifiers', once there was one, and those of the agents that live workers
// serve.
func (s Consumers) Missing(ctx context.Context) ([]string, error) {
	workers, err := Registry(s).Workers(ctx)
	if err != nil {
		return nil, err
	}
	missing, err := s.missing(ctx, workers)
	return namesOf(missing), err
}

func namesOf(durables []Durable) (names []string) {
	for _, d := range durables {
		names = append(names, d.String())
	}
	return names
}

func (s Consumers) missing(ctx context.Context, workers []Presence) (missing []Durable, err error) {
	notifiers, err := s.marked(ctx, topology.NotifiersMark)
	if err != nil {
		return nil, err
	}
	if notifiers {
		for _, d := range []Durable{FanoutDurable(0), DeliverDurable(0)} {
			err := s.hasConsumer(ctx, d)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				missing = append(missing, d)
			} else if err != nil {
				return nil, fmt.Errorf("look for consumer %s: %w", d, classify(err))
			}
		}
	}
	agents, err := s.registered(ctx, workers)
	if err != nil || len(agents) == 0 {
		return missing, err
	}
	for _, q := range Queues {
		there, err := s.consumerNames(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list consumers: %w", classify(err))
		}
		for _, a := range agents {
			if !there[q.durable(a)] && (q != BulkQueue || TakesBulk(workers, a)) {
				missing = append(missing, AgentDurable(q, a, 0, 0))
			}
		}
	}
	return missing, nil
}

func (s Consumers) consumerNames(ctx context.Context, q Queue) (there map[string]bool, err error) {
	ctx, cancel := s.bound(ctx, q.stream())
	defer cancel()
	there = map[string]bool{}
	err = patiently(ctx, func(ctx context.Context) error {
		all := s.queue(q).ConsumerNames(ctx)
		for name := range all.Name() {
			there[name] = true
		}
		return all.Err()
	})
	return there, err
}

func (s Consumers) hasConsumer(ctx context.Context, d Durable) error {
	ctx, cancel := s.bound(ctx, d.Stream)
	defer cancel()
	_, err := s.js.Consumer(ctx, d.Stream, d.Config.Durable)
	return err
}

// TakesBulk reports whether a live worker of an agent takes tasks in bulk: those of
// versions before there were any do not.
func TakesBulk(workers []Presence, agent string) bool {
	return slices.ContainsFunc(workers, func(p Presence) bool {
		return slices.ContainsFunc(p.Agents, func(a AgentPresence) bool { return a.Name == agent && a.Bulk })
	})
}

// registered are the agents that workers serve and the registry knows: a worker
// makes the consumers of an agent before it registers it.
func (s Consumers) registered(ctx context.Context, workers []Presence) (agents []string, err error) {
	served := map[string]bool{}
	for _, w := range workers {
		for _, a := range w.Agents {
			served[a.Name] = true
		}
	}
	for name := range served {
		ok, err := s.known(ctx, s.agents, name)
		if err != nil {
			return nil, err
		}
		if ok {
			agents = append(agents, name)
		}
	}
	slices.Sort(agents)
	return agents, nil
}

func (s Consumers) marked(ctx context.Context, key string) (bool, error) {
	return s.known(ctx, s.apiKeys, key)
}

// known reports whether a bucket has a key.
func (s Consumers) known(ctx context.Context, kv jetstream.KeyValue, key string) (bool, error) {
	ctx, cancel := s.bound(ctx, kv.Bucket())
	defer cancel()
	_, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, classify(err))
	}
	return true, nil
}

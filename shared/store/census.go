package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// Census is what waits and runs in the mesh, counted by the server.
type Census struct {
	At         time.Time
	Agents     []AgentQueue // by name
	Workers    []Presence   // oldest first
	Scheduled  int          // tasks and retries that wait for their time
	Asking     int          // of Scheduled, those that wait for a person, as far as they were looked at
	Sessions   int
	Deliveries DeliveryQueue
	FanoutLag  int // changes of records that no notifier has read
	// Missing are the consumers that are not there; see Consumers.Missing.
	// Without one, waiting messages cannot be told from scheduled ones: all count
	// as waiting.
	Missing []Durable
	Streams []StreamSize
	Used    int64 // bytes that the account keeps on disk
	Limit   int64 // that it may keep; 0: not known
}

// AgentQueue is the queue of one agent.
type AgentQueue struct {
	Agent    string
	Waiting  int // for a worker
	Bulk     int // of Waiting, those of tenants that have many
	InFlight int // held by workers
	Limit    int // of InFlight, in the whole mesh
	Paused   bool
	// Oldest is when the task came that waits longest, zero: none waits.
	Oldest time.Time
}

// DeliveryQueue is what is on its way to receivers.
type DeliveryQueue struct {
	Due       int // waiting for a notifier, or held by one
	Scheduled int // waiting for their next attempt
	// Oldest is when the oldest was made of those that rest longest: there is no
	// index by age.
	Oldest time.Time
}

// StreamSize is how much a stream holds.
type StreamSize struct {
	Name     string
	Messages uint64
	Bytes    uint64
}

// counter counts the parts of a census.
type counter struct{ *core }

// Census counts. It asks the server a few times, and once more for each agent
// whose tasks wait: ask it every few seconds, not for each request.
func (s *Store) Census(ctx context.Context) (Census, error) {
	c := Census{At: time.Now()}
	var err error
	if c.Workers, err = s.Registry.Workers(ctx); err == nil {
		c.Missing, err = s.Consumers.missing(ctx, c.Workers)
	}
	if err != nil {
		return c, err
	}
	by := counter{s.core}
	for _, step := range []func(context.Context, *Census) error{by.countStreams, by.countTasks, by.countDeliveries, by.countAccount} {
		bounded, cancel := s.bound(ctx, "census")
		err := step(bounded, &c)
		cancel()
		if err != nil {
			return c, fmt.Errorf("count the mesh: %w", classify(err))
		}
	}
	return c, nil
}

func (s counter) countStreams(ctx context.Context, c *Census) error {
	ours := map[string]bool{}
	for _, cfg := range topology.Streams(topology.Settings{Replicas: 1}) {
		ours[cfg.Name] = true
	}
	err := patiently(ctx, func(ctx context.Context) error {
		c.Streams = nil
		all := s.js.ListStreams(ctx)
		for info := range all.Info() {
			if ours[info.Config.Name] { // the account may have others
				c.Streams = append(c.Streams, StreamSize{info.Config.Name, info.State.Msgs, info.State.Bytes})
			}
		}
		return all.Err()
	})
	slices.SortFunc(c.Streams, func(a, b StreamSize) int { return cmp.Compare(a.Name, b.Name) })
	return err
}

// messages are those of a stream that was counted.
func (c *Census) messages(stream string) int {
	for _, s := range c.Streams {
		if s.Name == stream {
			return int(s.Messages)
		}
	}
	return 0
}

func (s counter) countTasks(ctx context.Context, c *Census) error {
	by := map[string]*AgentQueue{}
	held, err := censusQueue(ctx, s.tasks, by)
	if err != nil {
		return err
	}
	c.Scheduled = max(c.messages(topology.Tasks)-held, 0)
	turns, err := censusQueue(ctx, s.turns, by)
	if err != nil {
		return err
	}
	loose := map[string]int{topology.Tasks: c.Scheduled, topology.Turns: max(c.messages(topology.Turns)-turns, 0)}
	for _, d := range c.Missing {
		agent, ok := topology.DurableAgent(d.Config.Durable)
		if !ok {
			agent, ok = topology.DurableBulk(d.Config.Durable)
		}
		if ok {
			queueOf(by, agent).Waiting += loose[d.Stream]
			c.Scheduled = 0
		}
	}
	if c.Scheduled > 0 {
		if c.Asking, err = s.countAsking(ctx); err != nil {
			return err
		}
	}
	c.Sessions = c.messages(topology.BucketStream(topology.SessionsBucket))
	for _, q := range by {
		c.Agents = append(c.Agents, *q)
	}
	slices.SortFunc(c.Agents, func(a, b AgentQueue) int { return cmp.Compare(a.Agent, b.Agent) })
	return nil
}

// MaxAsking bounds how many scheduled messages are looked at for questions: the server
// gives them one by one.
const MaxAsking = 1000

// countAsking counts the tasks that wait for a person: their schedules say so.
func (s counter) countAsking(ctx context.Context) (n int, err error) {
	seq := uint64(0)
	for range MaxAsking {
		msg, err := s.tasks.GetMsg(ctx, seq+1, jetstream.WithGetMsgSubject(topology.TaskLater("*")))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return n, err
		}
		seq = msg.Sequence
		var t struct {
			Status task.State `json:"status"`
		}
		if unmarshal(msg.Data, &t) == nil && t.Status == task.InputRequired {
			n++
		}
	}
	return n, nil
}

func queueOf(by map[string]*AgentQueue, agent string) *AgentQueue {
	q := by[agent]
	if q == nil {
		q = &AgentQueue{Agent: agent}
		by[agent] = q
	}
	return q
}

// censusQueue adds what waits and runs in one queue, and returns how much of it
// there is.
func censusQueue(ctx context.Context, stream jetstream.Stream, by map[string]*AgentQueue) (held int, err error) {
	all, err := consumersOf(ctx, stream)
	if err != nil {
		return 0, err
	}
	for _, info := range all {
		agent, ready := topology.DurableAgent(info.Config.Durable)
		bulk := false
		if !ready {
			if agent, bulk = topology.DurableBulk(info.Config.Durable); !bulk {
				continue
			}
		}
		q := queueOf(by, agent)
		q.Waiting += int(info.NumPending)
		if bulk { // one that runs does so in the place of a ready one
			q.Bulk += int(info.NumPending)
		} else {
			q.InFlight += info.NumAckPending
			q.Limit = info.Config.MaxAckPending
			_, paused := pauseOf(info)
			q.Paused = q.Paused || paused
		}
		held += int(info.NumPending) + info.NumAckPending
		if info.NumPending == 0 {
			continue
		}
		msg, err := stream.GetMsg(ctx, info.Delivered.Stream+1, jetstream.WithGetMsgSubject(info.Config.FilterSubject))
		switch {
		case err == nil && (q.Oldest.IsZero() || msg.Time.Before(q.Oldest)):
			q.Oldest = msg.Time
		case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound): // one was taken in the meantime
			return held, err
		}
	}
	return held, nil
}

// restedLooked bounds how many deliveries are asked for their age.
const restedLooked = 8

func (s counter) countDeliveries(ctx context.Context, c *Census) error {
	for _, one := range []struct {
		stream, durable string
		count           func(*jetstream.ConsumerInfo)
	}{
		{topology.BucketStream(topology.TasksBucket), topology.FanoutDurable, func(i *jetstream.ConsumerInfo) { c.FanoutLag = int(i.NumPending) }},
		{topology.Deliveries, topology.DeliverDurable, func(i *jetstream.ConsumerInfo) { c.Deliveries.Due = int(i.NumPending) + i.NumAckPending }},
	} {
		consumer, err := s.js.Consumer(ctx, one.stream, one.durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			if slices.ContainsFunc(c.Missing, func(d Durable) bool { return d.Config.Durable == one.durable }) {
				one.count(&jetstream.ConsumerInfo{NumPending: uint64(c.messages(one.stream))})
			}
			continue // or there was no notifier yet
		}
		if err != nil {
			return err
		}
		one.count(consumer.CachedInfo())
	}
	c.Deliveries.Scheduled = max(c.messages(topology.Deliveries)-c.Deliveries.Due, 0)
	seq := uint64(1)
	for range min(restedLooked, c.messages(topology.Deliveries)) {
		msg, err := s.due.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return err
		}
		seq = msg.Sequence + 1
		d, recorded, err := DueDelivery(msg.Data)
		if err == nil && recorded {
			d, err = Deliveries(s).Get(ctx, d.Tenant, d.Source, d.ID)
		}
		if errors.Is(err, task.ErrBadRecord) {
			s.damaged.note(message{subject: msg.Subject, seq: msg.Sequence}, err)
		} else if err != nil && !errors.Is(err, webhook.ErrDeliveryNotFound) {
			return err
		}
		if err == nil && !d.Status.Final() && (c.Deliveries.Oldest.IsZero() || d.CreatedAt.Before(c.Deliveries.Oldest)) {
			c.Deliveries.Oldest = d.CreatedAt
		}
	}
	return nil
}

func (s counter) countAccount(ctx context.Context, c *Census) error {
	info, err := s.js.AccountInfo(ctx)
	if err != nil {
		return err
	}
	c.Used, c.Limit = int64(info.Store), max(info.Limits.MaxStore, 0)
	return nil
}

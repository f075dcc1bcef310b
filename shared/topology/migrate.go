package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Plan is what [Migrate] would do: missing streams, and settings that differ. The
// limits of set that are not zero are wanted of streams that exist, too. It changes
// nothing.
func Plan(ctx context.Context, js jetstream.JetStream, set Settings) (plan []Difference, err error) {
	made := set
	made.Replicas, err = copies(ctx, js, set)
	if err != nil {
		return nil, err
	}
	for _, want := range Streams(made) {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			plan = append(plan, Difference{Asset: want.Name, Is: "missing", Wanted: "a stream", Cost: costCreate, Needed: true})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		plan = append(plan, differences(want, s.CachedInfo().Config)...)
		plan = append(plan, limits(set, want, s.CachedInfo())...)
		if plan, err = planConsumers(ctx, s, plan); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// copies are the replicas of streams that are made: those asked for, or as many as
// the tasks have.
func copies(ctx context.Context, js jetstream.JetStream, set Settings) (int, error) {
	if set.Replicas > 0 {
		return set.Replicas, nil
	}
	s, err := js.Stream(ctx, Tasks)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 3, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", Tasks, err)
	}
	return max(s.CachedInfo().Config.Replicas, 1), nil
}

// limits are those that an operator has asked for and a stream has not.
func limits(set Settings, want jetstream.StreamConfig, info *jetstream.StreamInfo) (all []Difference) {
	got := info.Config
	if set.Replicas > 0 && got.Replicas != set.Replicas {
		d := Difference{Asset: want.Name, Field: "num_replicas", Is: fmt.Sprint(got.Replicas), Wanted: fmt.Sprint(set.Replicas), Cost: costInPlace}
		if more := set.Replicas - got.Replicas; more > 0 {
			d.Cost = fmt.Sprintf("copy of %d bytes to %d servers", info.State.Bytes, more)
		}
		all = append(all, d)
	}
	if age := asked(set, want.Name); age > 0 && got.MaxAge != age {
		d := Difference{Asset: want.Name, Field: "max_age", Is: got.MaxAge.String(), Wanted: age.String(), Cost: costInPlace}
		if got.MaxAge == 0 || age < got.MaxAge {
			d.Cost += ", deletes what is older"
		}
		all = append(all, d)
	}
	return all
}

// asked is the age that an operator has asked for; 0: none.
func asked(set Settings, stream string) time.Duration {
	switch stream {
	case BucketStream(SessionsBucket):
		return set.SessionIdle
	case Audit:
		return set.AuditRetention
	}
	return 0
}

// Migrate does what Plan says, one stream after the other, and returns what it has
// done and what the server does not change. What is done is seen from the server
// anew, so it may be done again after any failure, and while the mesh runs: a stream
// keeps its messages and its consumers, and no setting but those of the plan.
func Migrate(ctx context.Context, js jetstream.JetStream, set Settings) (done, refused []Difference, err error) {
	plan, err := Plan(ctx, js, set)
	if err != nil {
		return nil, nil, err
	}
	made := set
	if made.Replicas, err = copies(ctx, js, set); err != nil {
		return nil, nil, err
	}
	var faults []error
	for _, want := range Streams(made) {
		one := onlyOf(plan, want.Name)
		todo := onlyChangeable(one)
		if err := migrate(ctx, js, set, want, todo); err != nil {
			if faults = append(faults, err); !answered(err) {
				break
			}
			todo = nil
		}
		done, refused = append(done, todo...), append(refused, onlyRefused(one)...)
		ours, theirs, err := migrateConsumers(ctx, js, want.Name)
		done, refused = append(done, ours...), append(refused, theirs...)
		if err != nil {
			if faults = append(faults, err); !answered(err) {
				break
			}
		}
	}
	return done, refused, errors.Join(faults...)
}

// answered reports whether an error is the server's answer to one change: others may
// be made.
func answered(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused)
}

func only(all []Difference, ok func(Difference) bool) (some []Difference) {
	for _, d := range all {
		if ok(d) {
			some = append(some, d)
		}
	}
	return some
}

func onlyOf(all []Difference, asset string) []Difference {
	return only(all, func(d Difference) bool { return d.Asset == asset })
}

func onlyRefused(all []Difference) []Difference {
	return only(all, func(d Difference) bool { return d.Refused })
}

func onlyChangeable(all []Difference) []Difference {
	return only(all, func(d Difference) bool { return !d.Refused })
}

// migrate makes a stream, or gives it the settings of a plan.
func migrate(ctx context.Context, js jetstream.JetStream, set Settings, want jetstream.StreamConfig, plan []Difference) error {
	if len(plan) == 0 {
		return nil
	}
	got, created, err := ensure(ctx, js, want)
	if err != nil {
		return fmt.Errorf("create stream %s: %w", want.Name, err)
	}
	if created {
		return nil
	}
	planned := func(field string) bool {
		return slices.ContainsFunc(plan, func(d Difference) bool { return d.Field == field })
	}
	for _, s := range settings {
		if planned(s.field) {
			s.set(&got, want)
		}
	}
	if planned("num_replicas") {
		got.Replicas = set.Replicas
	}
	if planned("max_age") {
		got.MaxAge = asked(set, want.Name)
		got.Duplicates = min(got.Duplicates, got.MaxAge)
	}
	if _, err := js.UpdateStream(ctx, got); err != nil {
		return fmt.Errorf("change stream %s: %w", want.Name, err)
	}
	return nil
}

// consumerSetting is one setting of durable consumers of which the mesh has an
// opinion. How many messages are out, and for how long, is the agents' file's and the
// roles'.
type consumerSetting struct {
	field string
	show  func(c jetstream.ConsumerConfig) string
	set   func(got *jetstream.ConsumerConfig, want jetstream.ConsumerConfig) // nil: the server refuses the change
}

var consumerSettings = []consumerSetting{
	{"filter_subject", func(c jetstream.ConsumerConfig) string { return c.FilterSubject },
		func(got *jetstream.ConsumerConfig, want jetstream.ConsumerConfig) {
			got.FilterSubject = want.FilterSubject
		}},
	{"max_deliver", func(c jetstream.ConsumerConfig) string { return fmt.Sprint(cmp.Or(c.MaxDeliver, -1)) },
		func(got *jetstream.ConsumerConfig, want jetstream.ConsumerConfig) { got.MaxDeliver = want.MaxDeliver }},
	{"ack_policy", func(c jetstream.ConsumerConfig) string { return c.AckPolicy.String() }, nil},
	{"deliver_policy", func(c jetstream.ConsumerConfig) string { return c.DeliverPolicy.String() }, nil},
	{"max_waiting", func(c jetstream.ConsumerConfig) string { return fmt.Sprint(c.MaxWaiting) }, nil},
}

// ConsumerDifferences are the settings of a durable consumer that are not as wanted.
func ConsumerDifferences(stream string, want, got jetstream.ConsumerConfig) (all []Difference) {
	for _, s := range consumerSettings {
		if is, wanted := s.show(got), s.show(want); is != wanted {
			d := Difference{Asset: stream + " > " + want.Durable, Field: s.field, Is: cmp.Or(is, "none"), Wanted: wanted, Cost: costInPlace}
			if s.set == nil {
				d.Cost, d.Refused = costRefused, true
			}
			all = append(all, d)
		}
	}
	return all
}

// wantedConsumer is what a durable consumer of ours is to be, with the limits that it
// has; ok is false where it is none of ours.
func wantedConsumer(stream string, got jetstream.ConsumerConfig) (want jetstream.ConsumerConfig, ok bool) {
	agent, isAgent := DurableAgent(got.Durable)
	inBulk, isBulk := DurableBulk(got.Durable)
	switch {
	case isAgent && stream == Tasks:
		return AgentConsumer(agent, got.MaxAckPending, got.AckWait), true
	case isAgent && stream == Turns:
		return TurnConsumer(agent, got.MaxAckPending, got.AckWait), true
	case isBulk && stream == Tasks:
		return BulkConsumer(inBulk, got.AckWait), true
	case got.Durable == FanoutDurable && stream == BucketStream(TasksBucket):
		return FanoutConsumer(got.AckWait), true
	case got.Durable == DeliverDurable && stream == Deliveries:
		return DeliverConsumer(got.AckWait), true
	case got.Durable == SchedulesFanoutDurable && stream == BucketStream(SchedulesBucket):
		return SchedulesFanoutConsumer(got.AckWait), true
	case got.Durable == SchedulerDurable && stream == Schedules:
		return SchedulerConsumer(got.AckWait), true
	}
	return want, false
}

// planConsumers adds to a plan what differs of a stream's durable consumers.
func planConsumers(ctx context.Context, s jetstream.Stream, plan []Difference) ([]Difference, error) {
	name := s.CachedInfo().Config.Name
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if want, ok := wantedConsumer(name, info.Config); ok {
			plan = append(plan, ConsumerDifferences(name, want, info.Config)...)
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("look at the consumers of %s: %w", name, err)
	}
	return plan, nil
}

// migrateConsumers gives the durable consumers of a stream the settings of this
// version. They keep what they know of deliveries and acknowledgements.
func migrateConsumers(ctx context.Context, js jetstream.JetStream, stream string) (done, refused []Difference, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, nil, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	list := s.ListConsumers(ctx)
	var ours []jetstream.ConsumerConfig
	for info := range list.Info() {
		ours = append(ours, info.Config)
	}
	if err := list.Err(); err != nil {
		return nil, nil, fmt.Errorf("look at the consumers of %s: %w", stream, err)
	}
	for _, got := range ours {
		want, ok := wantedConsumer(stream, got)
		if !ok {
			continue
		}
		differs := ConsumerDifferences(stream, want, got)
		refused = append(refused, onlyRefused(differs)...)
		todo := onlyChangeable(differs)
		if len(todo) == 0 {
			continue
		}
		for _, cs := range consumerSettings {
			if cs.set != nil {
				cs.set(&got, want)
			}
		}
		if _, err := s.UpdateConsumer(ctx, got); err != nil {
			return done, refused, fmt.Errorf("change consumer %s of %s: %w", got.Durable, stream, err)
		}
		done = append(done, todo...)
	}
	return done, refused, nil
}

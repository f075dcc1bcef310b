package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Settings are what differs between meshes. They hold for a stream when it is
// created.
type Settings struct {
	Replicas    int
	SessionIdle time.Duration // 0: the constant

	AuditRetention time.Duration // 0: the constant
}

// Streams returns the config of every stream behind the mesh.
func Streams(set Settings) []jetstream.StreamConfig {
	queue := func(name string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: subjects, Retention: jetstream.WorkQueuePolicy,
			Duplicates: DedupeWindow, MaxConsumers: maxConsumers,
		}
	}
	// A work queue without limits: a store that is full refuses, it never drops.
	tasks := queue(Tasks, TaskReady("*", "*", "*"), TasksLater, TaskBulk("*", "*", "*"))
	tasks.AllowMsgSchedules = true
	deliveries := queue(Deliveries, DueAll, DueLaterAll)
	deliveries.AllowMsgSchedules = true
	schedules := queue(Schedules, schedulesAt, schedulesDue)
	schedules.AllowMsgSchedules = true
	// One message for each subject: the server itself refuses a second turn.
	turns := queue(Turns, "mesh.turns.*.*.*")
	turns.MaxMsgsPerSubject, turns.Discard, turns.DiscardNewPerSubject = 1, jetstream.DiscardNew, true
	turns.RePublish = &jetstream.RePublish{Source: "mesh.turns.*.*.*", Destination: "mesh.sessions.{{wildcard(1)}}.{{wildcard(3)}}.turn"}

	records := bucket(TasksBucket, RecordHistory, Retention)
	records.RePublish = &jetstream.RePublish{Source: "$KV." + TasksBucket + ".>", Destination: "mesh.events.>"}
	// The server leaves a marker where a session has expired.
	sessions := bucket(SessionsBucket, 1, cmp.Or(set.SessionIdle, SessionIdle))
	sessions.AllowMsgTTL, sessions.SubjectDeleteMarkerTTL = true, SessionTombstone
	sessions.RePublish = &jetstream.RePublish{Source: "$KV." + SessionsBucket + ".>", Destination: "mesh.sessions.>", HeadersOnly: true}

	all := []jetstream.StreamConfig{
		tasks, turns, deliveries, schedules, records, sessions, trail(set), steps(),
		bucket(IdempotencyBucket, 1, IdempotencyWindow),
		bucket(AgentsBucket, 1, 0),
		bucket(WorkersBucket, 1, PresenceTTL),
		bucket(DeliveriesBucket, 1, DeliveryLogRetention),
		bucket(WebhooksBucket, 1, 0),
		bucket(KeysBucket, 1, 0),
		bucket(TenantsBucket, 1, 0),
		bucket(SchedulesBucket, 1, 0),
		bucket(HooksBucket, 1, 0),
		bucket(PushesBucket, 1, Retention),
		bucket(UsageBucket, 1, UsageRetention),
		{
			Name:     ArtifactStream,
			Subjects: []string{ArtifactChunks(">"), "$O." + Artifacts + ".M.>"},
			MaxAge:   ArtifactRetention, Discard: jetstream.DiscardNew, AllowRollup: true, MaxConsumers: maxConsumers,
		},
	}
	for i := range all {
		all[i].Storage, all[i].Replicas = jetstream.FileStorage, set.Replicas
	}
	return all
}

// trail is the stream of the audit trail: entries end with their age only, and
// nobody takes one out before.
func trail(set Settings) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: Audit, Subjects: []string{AuditOf("", "")}, Retention: jetstream.LimitsPolicy, MaxAge: cmp.Or(set.AuditRetention, AuditRetention),
		DenyDelete: true, DenyPurge: true, MaxConsumers: maxConsumers, Duplicates: DedupeWindow,
	}
}

// bucket is a key-value stream whose reads are answered by its leader
// (AllowDirect off): only so does a writer read its own writes.
func bucket(name string, history int64, maxAge time.Duration) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: BucketStream(name), Subjects: []string{"$KV." + name + ".>"},
		MaxMsgsPerSubject: history, MaxAge: maxAge, Discard: jetstream.DiscardNew,
		DenyDelete: true, AllowRollup: true, MaxConsumers: maxConsumers, Duplicates: DedupeWindow,
	}
	if maxAge > 0 {
		c.Duplicates = min(DedupeWindow, maxAge)
	}
	return c
}

// Ensure creates the streams that do not exist yet, and returns their names. One
// that exists is left as it is: differs is what [Migrate] would change of it and the
// mesh can do without. The error names a stream and a setting that would break a
// promise.
func Ensure(ctx context.Context, js jetstream.JetStream, set Settings) (made []string, differs []Difference, err error) {
	var mu sync.Mutex
	err = each(ctx, set, func(ctx context.Context, want jetstream.StreamConfig) error {
		got, created, err := ensure(ctx, js, want)
		if err != nil {
			return fmt.Errorf("ensure stream %s: %w", want.Name, err)
		}
		d := differences(want, got)
		mu.Lock()
		defer mu.Unlock()
		if created {
			made = append(made, want.Name)
		}
		differs = append(differs, d...)
		return fits(d)
	})
	slices.Sort(made)
	sortDifferences(differs)
	return made, differs, err
}

// EnsurePresence is Ensure for the stream of who is alive alone.
func EnsurePresence(ctx context.Context, js jetstream.JetStream, replicas int) error {
	for _, want := range Streams(Settings{Replicas: replicas}) {
		if want.Name == BucketStream(WorkersBucket) {
			if _, _, err := ensure(ctx, js, want); err != nil {
				return fmt.Errorf("ensure stream %s: %w", want.Name, err)
			}
		}
	}
	return nil
}

// ErrLacking is a stream that is missing, or that has not got the settings of this
// version: Ensure helps where one is missing, [Migrate] where it differs.
var ErrLacking = errors.New("the mesh has not got its streams yet")

// ErrMissing is an ErrLacking: the stream is not there.
var ErrMissing = fmt.Errorf("%w: missing", ErrLacking)

// Check looks whether every stream exists as this version needs it, and changes
// nothing. What differs and the mesh can do without is no error.
func Check(ctx context.Context, js jetstream.JetStream) (differs []Difference, err error) {
	var mu sync.Mutex
	err = each(ctx, Settings{Replicas: 1}, func(ctx context.Context, want jetstream.StreamConfig) error {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: stream %s is missing", ErrMissing, want.Name)
		}
		if err != nil {
			return fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		d := differences(want, s.CachedInfo().Config)
		mu.Lock()
		defer mu.Unlock()
		differs = append(differs, d...)
		return fits(d)
	})
	sortDifferences(differs)
	return differs, err
}

// each calls f for all streams at once. The error is that of the first stream, in
// their order, that has one; a missing stream counts before one that differs, and
// what only a person can mend before both.
func each(ctx context.Context, set Settings, f func(context.Context, jetstream.StreamConfig) error) error {
	all := Streams(set)
	errs := make([]error, len(all))
	var g sync.WaitGroup
	for i, want := range all {
		g.Go(func() { errs[i] = f(ctx, want) })
	}
	g.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrLacking) {
			return err
		}
	}
	for _, err := range errs {
		if errors.Is(err, ErrMissing) {
			return err
		}
	}
	return cmp.Or(errs...)
}

func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (got jetstream.StreamConfig, created bool, err error) {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		created = err == nil
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was quicker, with other replicas
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return got, false, err
	}
	return s.CachedInfo().Config, created, nil
}

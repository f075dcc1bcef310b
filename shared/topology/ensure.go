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
		tasks, turns, deliveries, schedules, records, sessions, trail(set),
		bucket(IdempotencyBucket, 1, IdempotencyWindow),
		bucket(AgentsBucket, 1, 0),
		bucket(WorkersBucket, 1, PresenceTTL),
		bucket(DeliveriesBucket, 1, DeliveryLogRetention),
		bucket(WebhooksBucket, 1, 0),
		bucket(KeysBucket, 1, 0),
		bucket(TenantsBucket, 1, 0),
		bucket(SchedulesBucket, 1, 0),
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

// Ensure creates the streams that do not exist yet, gives those of an earlier
// version the settings that came later, and returns the names of both. One that
// exists is left as it is otherwise, so that an operator may tune its limits; the
// error names the stream and the setting when that setting would break a promise.
func Ensure(ctx context.Context, js jetstream.JetStream, set Settings) (made []string, err error) {
	var mu sync.Mutex
	note := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		made = append(made, name)
	}
	err = each(ctx, set, func(ctx context.Context, want jetstream.StreamConfig) error {
		got, created, err := ensure(ctx, js, want)
		if err != nil {
			return fmt.Errorf("ensure stream %s: %w", want.Name, err)
		}
		upgraded := addLaterSettings(&got, want)
		if upgraded {
			s, err := js.UpdateStream(ctx, got)
			if err != nil {
				return fmt.Errorf("upgrade stream %s: %w", want.Name, err)
			}
			got = s.CachedInfo().Config
		}
		if created || upgraded {
			note(want.Name)
		}
		return fits(want, got)
	})
	slices.Sort(made)
	return made, err
}

// ErrLacking is a stream that is missing, or that has not got the settings of this
// version: Ensure helps.
var ErrLacking = errors.New("the mesh has not got its streams yet")

// Check looks whether every stream exists as this version needs it, and changes
// nothing.
func Check(ctx context.Context, js jetstream.JetStream) error {
	return each(ctx, Settings{Replicas: 1}, func(ctx context.Context, want jetstream.StreamConfig) error {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: stream %s is missing", ErrLacking, want.Name)
		}
		if err != nil {
			return fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		got := s.CachedInfo().Config
		if addLaterSettings(&got, want) {
			return fmt.Errorf("%w: stream %s is that of an earlier version", ErrLacking, want.Name)
		}
		return fits(want, got)
	})
}

// each calls f for all streams at once. The error is that of the first stream, in
// their order, that has one.
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
	return cmp.Or(errs...)
}

// fits is nil unless a setting of a stream would break a promise.
func fits(want, got jetstream.StreamConfig) error {
	setting, value := mismatch(want, got)
	if setting == "" {
		return nil
	}
	return fmt.Errorf("stream %s exists with another %s, it must be %v: set it with `nats stream edit %s`; where the server does not let you, move what the stream holds away, delete it with `nats stream rm %s`, and start the mesh again, which creates it",
		want.Name, setting, value, want.Name, want.Name)
}

// addLaterSettings puts into got, the config of a stream that an earlier version
// has made, the settings that came later: the subjects of tasks in bulk, and what
// sessions need. It reports whether it added any.
func addLaterSettings(got *jetstream.StreamConfig, want jetstream.StreamConfig) (changed bool) {
	if bulk := TaskBulk("*", "*", "*"); want.Name == Tasks && !slices.Contains(got.Subjects, bulk) {
		got.Subjects, changed = append(got.Subjects, bulk), true
	}
	if want.Name != Turns && want.Name != BucketStream(SessionsBucket) {
		return changed
	}
	// A node did not start any more after a kill: raw records stood behind compressed
	// ones in a block. The server reads the compressed ones on.
	if got.Compression != want.Compression {
		got.Compression, changed = want.Compression, true
	}
	if got.RePublish == nil {
		got.RePublish, changed = want.RePublish, true
	}
	if want.SubjectDeleteMarkerTTL > 0 && got.SubjectDeleteMarkerTTL == 0 {
		got.AllowMsgTTL, got.SubjectDeleteMarkerTTL, changed = true, want.SubjectDeleteMarkerTTL, true
	}
	return changed
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

// mismatch is the first setting of a stream that would break a promise, with the
// value that it must have; empty when there is none.
func mismatch(want, got jetstream.StreamConfig) (setting string, value any) {
	for _, c := range []struct {
		setting string
		same    bool
		value   any
	}{
		{"retention", want.Retention == got.Retention, want.Retention},
		{"subjects", sameSubjects(want.Subjects, got.Subjects), want.Subjects},
		{"discard policy", want.Discard == got.Discard && want.DiscardNewPerSubject == got.DiscardNewPerSubject, discardPolicy(want)},
		{"max_msgs_per_subject", want.MaxMsgsPerSubject <= 0 && got.MaxMsgsPerSubject <= 0 || want.MaxMsgsPerSubject == got.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"allow_direct", want.AllowDirect == got.AllowDirect, want.AllowDirect},
		{"allow_msg_schedules", want.AllowMsgSchedules == got.AllowMsgSchedules, want.AllowMsgSchedules},
		{"subject_delete_marker_ttl", (want.SubjectDeleteMarkerTTL > 0) == (got.SubjectDeleteMarkerTTL > 0), want.SubjectDeleteMarkerTTL},
		{"republish", (want.RePublish == nil) == (got.RePublish == nil), republished(want)},
		{"max_msgs, max_bytes or max_age", !drops(got), "-1, none: a queue that is full must refuse"},
		{"storage", want.Storage == got.Storage, want.Storage},
	} {
		if !c.same {
			return c.setting, c.value
		}
	}
	return "", nil
}

// sameSubjects compares them in whatever order.
func sameSubjects(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// drops reports whether a queue would lose accepted work when it is full or old.
func drops(queue jetstream.StreamConfig) bool {
	return queue.Retention == jetstream.WorkQueuePolicy && queue.Discard == jetstream.DiscardOld &&
		(queue.MaxMsgs > 0 || queue.MaxBytes > 0 || queue.MaxAge > 0)
}

func discardPolicy(c jetstream.StreamConfig) string {
	if c.DiscardNewPerSubject {
		return "new, for each subject"
	}
	return c.Discard.String()
}

func republished(c jetstream.StreamConfig) string {
	if c.RePublish == nil {
		return "none"
	}
	return c.RePublish.Source + " to " + c.RePublish.Destination
}

package topology_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/topology"
)

// create makes the streams of this version, with what change makes of one of them.
func create(t *testing.T, js jetstream.JetStream, stream string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		if c.Name == stream {
			change(&c)
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func config(t *testing.T, js jetstream.JetStream, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

// Each setting that differs is one row of the plan: --apply changes it in place and has
// nothing to do after that, or the server does refuse it. Whether roles start meanwhile
// is the row's word, too. Whoever starts changes nothing.
func TestEachSettingIsChangedOrRefusedAsThePlanSays(t *testing.T) {
	sessions, records := topology.BucketStream(topology.SessionsBucket), topology.BucketStream(topology.TasksBucket)
	for _, tt := range []struct {
		stream, field   string
		needed, refused bool
		change          func(*jetstream.StreamConfig)
	}{
		{topology.Tasks, "retention", true, true, func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }},
		{topology.Tasks, "subjects", false, false, func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:2] }},
		{topology.Tasks, "subjects", true, false, func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:1] }},
		{topology.Turns, "discard policy", true, false, func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = false }},
		{records, "max_msgs_per_subject", true, false, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 8 }},
		{records, "allow_direct", true, false, func(c *jetstream.StreamConfig) { c.AllowDirect = true }},
		{topology.Deliveries, "allow_msg_schedules", true, false, func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = false }},
		{sessions, "subject_delete_marker_ttl", true, false, func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = false, 0 }},
		{sessions, "republish", true, false, func(c *jetstream.StreamConfig) { c.RePublish = nil }},
		{topology.Tasks, "max_msgs, max_bytes or max_age", true, false, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"KV_keys", "storage", true, true, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{sessions, "compression", false, false, func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }},
		{"KV_agents", "max_consumers", false, false, func(c *jetstream.StreamConfig) { c.MaxConsumers = 100 }},
		{topology.Tasks, "duplicate_window", false, false, func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		{"KV_agents", "deny_delete", false, false, func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		{topology.Turns, "deny_purge", false, true, func(c *jetstream.StreamConfig) { c.DenyPurge = true }},
		{"KV_agents", "allow_rollup_hdrs", false, false, func(c *jetstream.StreamConfig) { c.AllowRollup = false }},
	} {
		t.Run(tt.stream+" "+tt.field, func(t *testing.T) {
			js := open(t)
			create(t, js, tt.stream, tt.change)
			was := config(t, js, tt.stream)
			made, _, err := topology.Ensure(t.Context(), js, topology.Settings{Replicas: 1})
			if (err != nil) != tt.needed || errors.Is(err, topology.ErrLacking) != (tt.needed && !tt.refused) || len(made) > 0 {
				t.Errorf("whoever starts: made %v, %v", made, err)
			}
			if now := config(t, js, tt.stream); !slices.Equal(now.Subjects, was.Subjects) || now.Compression != was.Compression || (now.RePublish == nil) != (was.RePublish == nil) || now.Discard != was.Discard {
				t.Errorf("whoever started changed %+v to %+v", was, now)
			}
			plan, err := topology.Plan(t.Context(), js, topology.Settings{})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(plan, func(d topology.Difference) bool { return d.Field == tt.field })
			if i < 0 || plan[i].Asset != tt.stream || plan[i].Needed != tt.needed || plan[i].Refused != tt.refused {
				t.Fatalf("plan %+v", plan)
			}
			done, refused, err := topology.Migrate(t.Context(), js, topology.Settings{})
			if err != nil || len(done)+len(refused) != len(plan) || (len(refused) > 0) != tt.refused {
				t.Errorf("done %v, refused %v, %v", done, refused, err)
			}
			again, err := topology.Plan(t.Context(), js, topology.Settings{})
			if err != nil || !slices.Equal(again, refused) {
				t.Errorf("again it plans %v, %v", again, err)
			}
			if tt.refused {
				return
			}
			if _, differs, err := topology.Ensure(t.Context(), js, topology.Settings{Replicas: 1}); err != nil || len(differs) > 0 {
				t.Errorf("after it: %v, %v", differs, err)
			}
		})
	}
}

// What is called refused the server does refuse.
func TestTheServerRefusesWhatThePlanSaysItDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		stream     string
		made, then func(*jetstream.StreamConfig)
	}{
		"retention":  {topology.Tasks, func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		"storage":    {topology.Tasks, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, func(c *jetstream.StreamConfig) { c.Storage = jetstream.FileStorage }},
		"schedules":  {topology.Tasks, func(*jetstream.StreamConfig) {}, func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = false }},
		"deny_purge": {topology.Turns, func(c *jetstream.StreamConfig) { c.DenyPurge = true }, func(c *jetstream.StreamConfig) { c.DenyPurge = false }},
	} {
		js := open(t)
		create(t, js, tt.stream, tt.made)
		c := config(t, js, tt.stream)
		tt.then(&c)
		if _, err := js.UpdateStream(t.Context(), c); err == nil {
			t.Errorf("%s: the server changes it", name)
		}
	}
}

// A mesh of an earlier version gets what it lacks, stream by stream, and keeps its
// messages, its consumers and what its operator has tuned.
func TestMigrateKeepsWhatAStreamHoldsAndWhatIsTuned(t *testing.T) {
	js := open(t)
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		switch c.Name {
		case topology.Schedules: // from before there were any
			continue
		case topology.Tasks:
			c.Subjects, c.MaxMsgSize = c.Subjects[:2], 1<<20
		case topology.BucketStream(topology.SessionsBucket):
			c.Compression, c.MaxBytes, c.MaxAge = jetstream.S2Compression, 1<<30, 48*time.Hour
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), topology.TaskReady("default", "echo", "tsk_1"), nil); err != nil {
		t.Fatal(err)
	}
	old := topology.AgentConsumer("echo", 7, 12*time.Second)
	old.MaxDeliver = 5
	if _, err := js.CreateConsumer(t.Context(), topology.Tasks, old); err != nil {
		t.Fatal(err)
	}
	plan, err := topology.Plan(t.Context(), js, topology.Settings{})
	if err != nil || len(plan) != 4 {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	if done, refused, err := topology.Migrate(t.Context(), js, topology.Settings{}); err != nil || len(done) != 4 || len(refused) > 0 {
		t.Fatalf("done %+v, refused %+v, %v", done, refused, err)
	}
	if ack, err := js.Publish(t.Context(), topology.TaskBulk("default", "echo", "tsk_2"), nil); err != nil || ack.Sequence != 2 {
		t.Errorf("a task in bulk: %+v, %v", ack, err)
	}
	if c := config(t, js, topology.Tasks); c.MaxMsgSize != 1<<20 {
		t.Errorf("tasks: %+v", c)
	}
	if c := config(t, js, topology.BucketStream(topology.SessionsBucket)); c.Compression != jetstream.NoCompression || c.MaxBytes != 1<<30 || c.MaxAge != 48*time.Hour {
		t.Errorf("sessions: %+v", c)
	}
	c, err := js.Consumer(t.Context(), topology.Tasks, topology.AgentDurable("echo"))
	if err != nil {
		t.Fatal(err)
	}
	if i := c.CachedInfo(); i.Config.MaxDeliver != -1 || i.Config.MaxAckPending != 7 || i.Config.AckWait != 12*time.Second || i.NumPending != 1 {
		t.Errorf("consumer: %+v", i)
	}
	if plan, err = topology.Plan(t.Context(), js, topology.Settings{}); err != nil || len(plan) > 0 {
		t.Errorf("again %+v, %v", plan, err)
	}
}

// Ages and copies are changed where an operator asks for them, and the plan says what
// that costs.
func TestMigrateChangesLimitsThatAreAskedForOnly(t *testing.T) {
	js := open(t)
	create(t, js, "", nil)
	want := topology.Settings{SessionIdle: 12 * time.Hour, AuditRetention: 100 * 24 * time.Hour, Replicas: 3}
	plan, err := topology.Plan(t.Context(), js, want)
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, d := range plan {
		if d.Field == "num_replicas" && strings.HasPrefix(d.Cost, "copy of 0 bytes to 2 servers") {
			copies++
		}
	}
	if all := len(topology.Streams(want)); copies != all || len(plan) != all+2 {
		t.Errorf("plan %+v", plan)
	}
	want.Replicas = 0
	if done, _, err := topology.Migrate(t.Context(), js, want); err != nil || len(done) != 2 || !slices.ContainsFunc(done, func(d topology.Difference) bool { return strings.Contains(d.Cost, "deletes what is older") }) {
		t.Errorf("done %+v, %v", done, err)
	}
	if c := config(t, js, topology.BucketStream(topology.SessionsBucket)); c.MaxAge != 12*time.Hour {
		t.Errorf("sessions live %v", c.MaxAge)
	}
}

// A stream of a later version has more subjects than this one knows: they do not
// disturb it, or nobody could go back while both run.
func TestMoreSubjectsThanThisVersionKnowsAreNoDifference(t *testing.T) {
	js := open(t)
	create(t, js, topology.Tasks, func(c *jetstream.StreamConfig) {
		c.Subjects = append([]string{"mesh.tasks.later2.>"}, c.Subjects...)
	})
	if _, differs, err := topology.Ensure(t.Context(), js, topology.Settings{Replicas: 1}); err != nil || len(differs) > 0 {
		t.Errorf("%v, %v", differs, err)
	}
}

// A stream that cannot be changed does not keep the others from it.
func TestMigrateGoesOnAfterAStreamThatTheServerRefuses(t *testing.T) {
	js := open(t)
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		switch c.Name {
		case topology.Turns: // the server has no schedules with the discard policy that is wanted
			c.AllowMsgSchedules, c.DiscardNewPerSubject, c.Discard = true, false, jetstream.DiscardOld
		case topology.BucketStream(topology.SessionsBucket):
			c.Compression = jetstream.S2Compression
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	_, refused, err := topology.Migrate(t.Context(), js, topology.Settings{})
	if err == nil || !strings.Contains(err.Error(), topology.Turns) || len(refused) != 1 {
		t.Errorf("refused %v, error %v", refused, err)
	}
	if c := config(t, js, topology.BucketStream(topology.SessionsBucket)); c.Compression != jetstream.NoCompression {
		t.Error("the sessions are still compressed")
	}
}

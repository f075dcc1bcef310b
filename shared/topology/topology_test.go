package topology_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/topology"
)

func open(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(natstest.Start(t).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Ensure creates the streams of ARCHITECTURE.md, setting by setting.
func TestEnsure(t *testing.T) {
	js := open(t)
	for range 2 { // a second process finds what the first made
		if _, _, err := topology.Ensure(t.Context(), js, topology.Settings{Replicas: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range topology.Streams(topology.Settings{Replicas: 1}) {
		s, err := js.Stream(t.Context(), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		if c.MaxConsumers != 10_000 || c.AllowDirect || c.Storage != jetstream.FileStorage {
			t.Errorf("%s: max_consumers %d, allow_direct %v, storage %v", c.Name, c.MaxConsumers, c.AllowDirect, c.Storage)
		}
		switch c.Name {
		case topology.Tasks, topology.Deliveries:
			if !c.AllowMsgSchedules || c.Retention != jetstream.WorkQueuePolicy || c.MaxMsgs > 0 || c.MaxBytes > 0 || c.MaxAge > 0 || c.Duplicates != 2*time.Minute {
				t.Errorf("%s: %+v", c.Name, c)
			}
		case topology.Turns:
			if c.MaxMsgsPerSubject != 1 || c.Discard != jetstream.DiscardNew || !c.DiscardNewPerSubject {
				t.Errorf("%s: %+v", c.Name, c)
			}
		case topology.BucketStream(topology.SessionsBucket):
			if c.MaxMsgsPerSubject != 1 || c.MaxAge != 24*time.Hour || c.Compression != jetstream.NoCompression || c.SubjectDeleteMarkerTTL != 7*24*time.Hour {
				t.Errorf("%s: %+v", c.Name, c)
			}
		case topology.BucketStream(topology.TasksBucket):
			if c.MaxMsgsPerSubject != 16 || c.MaxAge != 7*24*time.Hour || c.RePublish == nil || c.RePublish.Destination != "mesh.events.>" {
				t.Errorf("%s: %+v", c.Name, c)
			}
		}
	}
}

// A stream that exists with a setting that breaks a promise is refused by name,
// with what it must be; one that an operator tuned is left alone.
func TestEnsureRefusesWhatBreaksAPromise(t *testing.T) {
	for _, tt := range []struct {
		stream string
		change func(*jetstream.StreamConfig)
		says   string // the setting and the value that it must have; empty: allowed
	}{
		{topology.Tasks, func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = false }, "allow_msg_schedules, it must be true"},
		{topology.Tasks, func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }, "retention, it must be WorkQueue"},
		{topology.Turns, func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = false }, "discard policy, it must be new, for each subject"},
		{topology.Turns, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 }, "max_msgs_per_subject, it must be 1"},
		{"KV_tasks", func(c *jetstream.StreamConfig) { c.RePublish = nil }, "republish, it must be $KV.tasks.> to mesh.events.>"},
		{"KV_tasks", func(c *jetstream.StreamConfig) { c.AllowDirect = true }, "allow_direct, it must be false"},
		{"KV_keys", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage, it must be File"},
		{"KV_tasks", func(c *jetstream.StreamConfig) { c.MaxAge = 30 * 24 * time.Hour }, ""},
		{topology.Tasks, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 }, "max_msgs, max_bytes or max_age, it must be -1, none: a queue that is full must refuse"},
		{topology.Deliveries, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_msgs, max_bytes or max_age, it must be -1, none: a queue that is full must refuse"},
	} {
		js := open(t)
		for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
			if c.Name != tt.stream {
				continue
			}
			tt.change(&c)
			if _, err := js.CreateStream(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", tt.stream, err)
			}
		}
		_, _, err := topology.Ensure(t.Context(), js, topology.Settings{Replicas: 1})
		if tt.says == "" {
			if err != nil {
				t.Errorf("%s, tuned: %v", tt.stream, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.stream) || !strings.Contains(err.Error(), "another "+tt.says+":") {
			t.Errorf("%s with another %s: %v", tt.stream, tt.says, err)
		}
	}
}

// What the sessions' stream holds of the time when it was compressed is read on
// after it is not any more, also after starts of the server, and so is what comes
// after it in the same block.
func TestSessionsThatWereCompressedAreReadOn(t *testing.T) {
	dir := t.TempDir()
	const each = 500
	write := func(js jetstream.JetStream, from int) {
		for i := from; i < from+each; i++ {
			text := strings.Repeat(fmt.Sprintf("message %d, ", i), 2500)
			if _, err := js.Publish(t.Context(), topology.Session("default", session.ID(fmt.Sprintf("ses_%d", i))), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := func() (jetstream.JetStream, func()) {
		srv := natstest.StartIn(t, dir)
		nc := srv.Connect(t)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js, func() { nc.Close(); srv.Stop() }
	}
	js, stop := start()
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		if c.Name == topology.BucketStream(topology.SessionsBucket) {
			c.Compression = jetstream.S2Compression
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	write(js, 0)
	stop()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", topology.BucketStream(topology.SessionsBucket), "msgs", "*.blk"))
	if err != nil || !slices.ContainsFunc(blocks, func(name string) bool {
		text, _ := os.ReadFile(name)
		return bytes.HasPrefix(text, []byte("cmp"))
	}) {
		t.Fatalf("no block is compressed: %v, %v", blocks, err)
	}
	js, stop = start()
	done, refused, err := topology.Migrate(t.Context(), js, topology.Settings{})
	if err != nil || len(done) != 1 || len(refused) > 0 {
		t.Fatalf("changed are %v, %v, %v", done, refused, err)
	}
	write(js, each)
	stop()
	js, _ = start()
	s, err := js.Stream(t.Context(), topology.BucketStream(topology.SessionsBucket))
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo(); c.Config.Compression != jetstream.NoCompression || c.State.Msgs != 2*each {
		t.Errorf("compression %v, %d messages of %d", c.Config.Compression, c.State.Msgs, 2*each)
	}
	for i := range 2 * each {
		m, err := s.GetLastMsgForSubject(t.Context(), topology.Session("default", session.ID(fmt.Sprintf("ses_%d", i))))
		if err != nil || !strings.HasPrefix(string(m.Data), fmt.Sprintf("message %d, ", i)) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// Whose record a message is, its subject says.
func TestTheOwnerOfARecordIsItsTenantAndTask(t *testing.T) {
	for subject, owner := range map[string]string{
		topology.TaskRecord("acme", "tsk_1"):         "acme.tsk_1",
		topology.TaskChild("acme", "tsk_1", "tsk_2"): "acme.tsk_1",
		topology.Push("acme", "tsk_1", "p"):          "acme.tsk_1",
		"$KV." + topology.TasksBucket + ".acme":      "",
		"$KV.other.acme.tsk_1":                       "",
		"mesh.events.acme.tsk_1":                     "",
	} {
		if got := topology.RecordOwner(subject); got != owner {
			t.Errorf("%s is owned by %q, not %q", subject, got, owner)
		}
	}
}

package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// golden are the records that a process of the version before has written.
func golden(t *testing.T) (all []struct {
	Stream, Subject string
	Data            json.RawMessage
}) {
	t.Helper()
	raw, err := os.ReadFile("testdata/records-448f1e4.json")
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || len(all) == 0 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	return all
}

// nouns make the value that a stream's messages are.
var nouns = map[string]func() any{
	topology.Tasks: func() any { return new(task.Task) }, topology.BucketStream(topology.TasksBucket): func() any { return new(task.Task) },
	topology.BucketStream(topology.SessionsBucket):   func() any { return new(session.Session) },
	topology.BucketStream(topology.WebhooksBucket):   func() any { return new(webhook.Endpoint) },
	topology.BucketStream(topology.DeliveriesBucket): func() any { return new(webhook.Delivery) },
	topology.BucketStream(topology.AgentsBucket):     func() any { return new(store.Definition) },
	topology.BucketStream(topology.WorkersBucket):    func() any { return new(store.Presence) },
}

// missing is a member of old that now has not, or has with another value.
func missing(at string, old, now any) string {
	if members, ok := old.(map[string]any); ok {
		have, _ := now.(map[string]any)
		for name, v := range members {
			if where := missing(at+"/"+name, v, have[name]); where != "" {
				return where
			}
		}
		return ""
	}
	if list, ok := old.([]any); ok {
		have, _ := now.([]any)
		for i, v := range list {
			if len(have) != len(list) {
				return at
			}
			if where := missing(fmt.Sprintf("%s/%d", at, i), v, have[i]); where != "" {
				return where
			}
		}
		return ""
	}
	if !reflect.DeepEqual(old, now) {
		return fmt.Sprintf("%s: %v is now %v", at, old, now)
	}
	return ""
}

// What a process of the version before has written is read whole, and what is written
// has every member of that version under its name, with the same type and meaning: so
// it reads ours.
func TestRecordsOfTheVersionBeforeKeepEveryMember(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range golden(t) {
		if r.Stream == topology.Deliveries { // they refer to a record
			continue
		}
		noun := nouns[r.Stream]
		if noun == nil {
			t.Errorf("nobody reads %s", r.Stream)
			continue
		}
		seen[r.Stream] = true
		v := noun()
		var old, now any
		if err := json.Unmarshal(r.Data, v); err != nil {
			t.Errorf("%s: %v", r.Subject, err)
			continue
		}
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, &now)
		}
		if err == nil {
			err = json.Unmarshal(r.Data, &old)
		}
		if where := missing("", old, now); err != nil || where != "" {
			t.Errorf("%s: %s, %v", r.Subject, where, err)
		}
	}
	if len(seen) != len(nouns) {
		t.Errorf("records of %d streams, want of %d", len(seen), len(nouns))
	}
}

// The store reads them where they lie.
func TestTheStoreReadsWhatTheVersionBeforeHasWritten(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range golden(t) {
		if strings.Contains(r.Subject, ".later.") { // without its headers it is no schedule
			continue
		}
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: r.Subject, Data: r.Data}); err != nil {
			t.Fatalf("%s: %v", r.Subject, err)
		}
		parts := strings.Split(r.Subject, ".")
		id := parts[len(parts)-1]
		switch r.Stream {
		case topology.BucketStream(topology.TasksBucket), topology.Tasks:
			_, err = st.Tasks.Find(t.Context(), "default", task.ID(id))
		case topology.BucketStream(topology.SessionsBucket):
			_, err = st.Sessions.Get(t.Context(), "default", session.ID(id))
		case topology.BucketStream(topology.WebhooksBucket):
			_, err = st.Webhooks.Get(t.Context(), "default", webhook.ID(id))
		case topology.BucketStream(topology.DeliveriesBucket):
			_, err = st.Deliveries.Get(t.Context(), "default", webhook.Source(parts[len(parts)-2]), webhook.DeliveryID(id))
		}
		if err != nil {
			t.Errorf("%s: %v", r.Subject, err)
		}
	}
	agents, err := st.Registry.Agents(t.Context())
	if err != nil || len(agents) != 3 {
		t.Errorf("agents %+v, %v", agents, err)
	}
	workers, err := st.Registry.Workers(t.Context())
	if err != nil || len(workers) != 1 || store.TakesBulk(workers, "echo") {
		t.Errorf("workers %+v, %v", workers, err)
	}
}

// A process of the version before cannot read a record in a state that it does not know:
// it leaves it alone, and says so. So there is such a state only where somebody uses
// what it is for, and the rule of CONTRIBUTING.md says when.
func TestStatesThatTheVersionBeforeDoesNotKnow(t *testing.T) {
	before := []task.State{task.Pending, task.Processing, task.Completed, task.Failed, task.Canceled}
	var later []task.State
	for _, s := range task.States {
		if !slices.Contains(before, s) {
			later = append(later, s)
		}
	}
	if !slices.Equal(later, []task.State{task.InputRequired}) {
		t.Errorf("states that came later: %v", later)
	}
}

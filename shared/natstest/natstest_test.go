package natstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/natstest"
)

// Within a bubble a message that nobody acknowledges comes again after ten
// minutes of fake time.
func TestTheServerKeepsTheTimeOfTheBubble(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		js, err := jetstream.New(srv.Connect(t))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work"}})
		if err != nil {
			t.Fatal(err)
		}
		consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "work", nil); err != nil {
			t.Fatal(err)
		}
		for attempt := range 2 {
			if _, err := consumer.Next(jetstream.FetchMaxWait(time.Second)); err != nil {
				t.Fatalf("attempt %d: %v", attempt+1, err)
			}
			time.Sleep(10 * time.Minute) // fake: it passes as soon as everybody waits
		}
	})
	if took := time.Since(began); took > time.Minute {
		t.Errorf("20 minutes of fake time took %v", took)
	}
}

// CONTRIBUTING shows how that is written.
func TestContributingShowsABubble(t *testing.T) {
	manualtest.Shown(t, "../../CONTRIBUTING.md", "natstest_test.go")
}

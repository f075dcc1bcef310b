package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// entries is a watch that tells some entries and ends.
type entries struct{ updates chan jetstream.KeyValueEntry }

func (w entries) Updates() <-chan jetstream.KeyValueEntry { return w.updates }
func (w entries) Stop() error                             { return nil }

type entry struct {
	jetstream.KeyValueEntry
	key string
}

func (e entry) Key() string { return e.key }

// A watch that ends before it has told all says so: what it has told is no list.
func TestAWatchThatEndsSaysSo(t *testing.T) {
	w := entries{make(chan jetstream.KeyValueEntry, 2)}
	w.updates <- entry{key: "a"}
	close(w.updates)
	var all []string
	err := told(t.Context(), w, func(e jetstream.KeyValueEntry) { all = append(all, e.Key()) }, func() { t.Error("it was ready") })
	if !errors.Is(err, errWatchEnded) || !passing(err) || !slices.Equal(all, []string{"a"}) {
		t.Errorf("told of %v, %v", all, err)
	}
}

package store

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go/jetstream"
)

// entries is a watch that tells some entries, the mark after the last of those that
// exist where it comes so far, and ends.
type entries struct{ updates chan jetstream.KeyValueEntry }

func (w entries) Updates() <-chan jetstream.KeyValueEntry { return w.updates }
func (w entries) Stop() error                             { return nil }

func tells(keys ...string) entries {
	w := entries{make(chan jetstream.KeyValueEntry, len(keys)+1)}
	for _, key := range keys {
		w.updates <- entry{key: key}
	}
	return w
}

type entry struct {
	jetstream.KeyValueEntry
	key string
}

func (e entry) Key() string { return e.key }

// A watch that ends before it has told all is read again from the beginning: what it
// has told so far is no list.
func TestAListIsWholeWhenItsWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := tells("a"), tells("a", "b")
		close(first.updates)
		second.updates <- nil
		watches := []entries{first, second}
		var all []string
		err := whole(t.Context(), func(ctx context.Context, done func()) error {
			all = nil
			w := watches[0]
			watches = watches[1:]
			return told(ctx, w, func(e jetstream.KeyValueEntry) { all = append(all, e.Key()) }, done)
		})
		if err != nil || !slices.Equal(all, []string{"a", "b"}) {
			t.Errorf("the list is %v, %v", all, err)
		}
	})
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// newPush is a push configuration of a task of its own.
func newPush() *webhook.Push {
	return &webhook.Push{ID: "p", Tenant: "default", Task: newTask().ID, URL: "https://receiver.example/", CreatedAt: task.Stamp(time.Now())}
}

func ownerOf(p *webhook.Push) string {
	return topology.RecordOwner(topology.Push(p.Tenant, p.Task, p.ID))
}

// A push configuration is known to whoever looks while it is replaced: to a notifier
// that reads all of them, and to whoever asks for those of a task.
func TestAPushConfigurationIsKnownWhileItIsReplaced(t *testing.T) {
	st := open(t, natstest.Start(t))
	var all []*webhook.Push
	for range 200 {
		all = append(all, newPush())
	}
	put := func() error {
		for _, p := range all {
			if err := st.Pushes.Put(context.WithoutCancel(t.Context()), p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	stop, replaced := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				replaced <- nil
				return
			default:
			}
			if err := put(); err != nil {
				replaced <- err
				return
			}
		}
	}()
	for range 50 {
		known := map[string]bool{}
		newest, err := st.Pushes.Changed(t.Context(), 0, func(owner string) { known[owner] = true })
		if err != nil || len(known) != len(all) {
			t.Errorf("%d of %d are known up to revision %d, %v", len(known), len(all), newest, err)
		}
		for _, p := range all[:4] {
			if of, err := st.Pushes.Of(t.Context(), p.Tenant, p.Task); err != nil || len(of) != 1 {
				t.Errorf("a task has %d, %v", len(of), err)
			}
		}
	}
	close(stop)
	if err := <-replaced; err != nil {
		t.Error(err)
	}
}

// The same holds for few changes, which are read one by one, whichever of the looks one
// is replaced before.
func TestAPushConfigurationIsKnownWhileItIsReplacedAmongFew(t *testing.T) {
	for look := range int32(5) {
		t.Run(fmt.Sprint("before look ", look+1), func(t *testing.T) {
			srv := natstest.Start(t)
			other := open(t, srv)
			known, one, two := newPush(), newPush(), newPush()
			if err := other.Pushes.Put(t.Context(), known); err != nil {
				t.Fatal(err)
			}
			var looks atomic.Int32
			looks.Store(-100) // until they count
			wire := &meshtest.Wire{Server: srv.Server}
			wire.Look = func(subject string) {
				if subject == "$JS.API.STREAM.MSG.GET."+topology.BucketStream(topology.PushesBucket) && looks.Add(1) == look+1 {
					if err := other.Pushes.Put(t.Context(), one); err != nil {
						t.Error(err)
					}
				}
			}
			st, hangUp, err := (&meshtest.Mesh{T: t, Server: srv}).StoreOver(wire)
			if err != nil {
				t.Fatal(err)
			}
			defer hangUp()
			changed(t, st, 0)
			looks.Store(0)
			if err := errors.Join(other.Pushes.Put(t.Context(), one), other.Pushes.Put(t.Context(), two)); err != nil {
				t.Fatal(err)
			}
			if got := changed(t, st, 1); !got[ownerOf(one)] || !got[ownerOf(two)] {
				t.Errorf("after %d looks %d of 2 are known", looks.Load(), len(got))
			}
		})
	}
}

// changed are the owners of what was written after a revision.
func changed(t *testing.T, st *store.Store, after uint64) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	if _, err := st.Pushes.Changed(t.Context(), after, func(owner string) { got[owner] = true }); err != nil {
		t.Fatal(err)
	}
	return got
}

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/webhook"
)

// throughGate opens a store behind a gate, in a bubble.
func throughGate(t *testing.T) (*store.Store, *meshtest.Gate) {
	t.Helper()
	srv := natstest.Start(t)
	gate := &meshtest.Gate{Server: srv.Server}
	nc := srv.Connect(t, nats.InProcessServer(gate), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	return st, gate
}

// request is one thing that a client's request asks a store for. It fails when its
// answer is not that of a store that was there all the time.
type request struct {
	name string
	ask  func(ctx context.Context) error
}

// all are those that a client waits for. Each of them is asked once.
func all(t *testing.T, st *store.Store) []request {
	t.Helper()
	stored, fresh, open, sess := newTask(), newTask(), newTask(), newSession()
	save(t, st, stored)
	if err := st.Sessions.Save(t.Context(), sess); err != nil {
		t.Fatal(err)
	}
	hook := &webhook.Endpoint{ID: webhook.NewID(uuid.New()), Tenant: "default", URL: "https://example.com"}
	known := &tenant.Tenant{Name: "known"}
	if err := st.Tenants.Save(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("x"), 3*store.InlineLimit)
	value, err := st.Artifacts.Put(t.Context(), "default", stored.ID, "result", large)
	if err != nil {
		t.Fatal(err)
	}
	return append(readsOf(st, stored, value, len(large)),
		request{"accept a task", func(ctx context.Context) error {
			_, err := st.Tasks.Enqueue(ctx, fresh)
			return err
		}},
		request{"record a task", func(ctx context.Context) error {
			if err := st.Tasks.Save(ctx, open); err != nil {
				return err
			}
			return st.Tasks.Save(ctx, open) // it knows the revision of its own write
		}},
		request{"claim a key", func(ctx context.Context) error {
			_, ours, err := st.Idempotency.Claim(ctx, "default", "hash", store.IdempotencyKey{Fingerprint: "f", TaskID: "tsk_1", Answer: []byte(`{}`)})
			if err == nil && !ours {
				err = errors.New("it was taken for another's")
			}
			return err
		}},
		request{"record a session", func(ctx context.Context) error { return st.Sessions.Save(ctx, sess) }},
		request{"store an artifact", func(ctx context.Context) error {
			v, err := st.Artifacts.Put(ctx, "default", fresh.ID, "input", large)
			if err == nil {
				_, err = st.Artifacts.Read(t.Context(), v)
			}
			return err
		}},
		request{"add the one webhook that is allowed", func(ctx context.Context) error { return st.Webhooks.Add(ctx, hook, 1) }},
		request{"record a tenant", func(ctx context.Context) error { return st.Tenants.Save(ctx, &tenant.Tenant{Name: "other"}) }},
		request{"delete a tenant", func(ctx context.Context) error { return st.Tenants.Delete(ctx, known) }},
	)
}

func readsOf(st *store.Store, stored *task.Task, value task.Value, size int) []request {
	return []request{
		{"read a task", func(ctx context.Context) error { _, err := st.Tasks.Find(ctx, "default", stored.ID); return err }},
		{"list tasks", func(ctx context.Context) error {
			page, err := st.Tasks.List(ctx, store.Listing{Tenant: "default", From: store.Start, Limit: 10, Queued: true, Match: func(*task.Task) bool { return true }})
			if err == nil && len(page.Tasks) == 0 {
				err = errors.New("it is not listed")
			}
			return err
		}},
		{"list tasks by creation", func(ctx context.Context) error {
			_, err := st.Tasks.ListCreated(ctx, store.Listing{Tenant: "default", Limit: 10, Match: func(*task.Task) bool { return true }}, store.Place{}, "")
			return err
		}},
		{"count what waits", func(ctx context.Context) error { _, err := st.Tasks.Waiting(ctx, "default", ""); return err }},
		{"count sessions", func(ctx context.Context) error { _, err := st.Sessions.Count(ctx, "default", 1); return err }},
		{"list sessions", func(ctx context.Context) error {
			_, err := st.Sessions.List(ctx, "default", store.Search[*session.Session]{Limit: 10, Match: func(*session.Session) bool { return true }})
			return err
		}},
		{"read an artifact", func(ctx context.Context) error {
			got, err := st.Artifacts.Read(ctx, value)
			if err == nil && len(got) != size {
				err = fmt.Errorf("it has %d bytes", len(got))
			}
			return err
		}},
		{"read an API key", func(ctx context.Context) error {
			_, err := st.APIKeys.Get(ctx, auth.NewKey().ID())
			if errors.Is(err, store.ErrNoAPIKey) {
				err = nil
			}
			return err
		}},
		{"read a tenant", func(ctx context.Context) error { _, err := st.Tenants.Get(ctx, "known"); return err }},
		{"list agents", func(ctx context.Context) error { _, err := st.Registry.Agents(ctx); return err }},
		{"list tenants", func(ctx context.Context) error { _, err := st.Tenants.List(ctx); return err }},
		{"list workers", func(ctx context.Context) error { _, err := st.Registry.Workers(ctx); return err }},
		{"count the mesh", func(ctx context.Context) error { _, err := st.Census(ctx); return err }},
	}
}

// A store that does not answer for a few seconds, as while a leader is elected,
// costs a slow answer and no error.
func TestAStoreThatIsAwayForAMomentCostsASlowAnswer(t *testing.T) {
	for _, harm := range []struct {
		name string
		do   func(*meshtest.Gate)
	}{
		{"refuses", (*meshtest.Gate).Refuse},           // a server that was killed
		{"loses its answers", (*meshtest.Gate).Deafen}, // what was asked is done, and nobody hears of it
	} {
		synctest.Test(t, func(t *testing.T) {
			st, gate := throughGate(t)
			for _, r := range all(t, st) {
				harm.do(gate)
				time.AfterFunc(absence, gate.Admit)
				began := time.Now()
				err := r.ask(t.Context())
				if took := time.Since(began); err != nil || took < absence || took > absence+2*time.Second {
					t.Errorf("%s of a store that %s: %v after %v", r.name, harm.name, err, took)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

const (
	requestTime = 10 * time.Second // the longest of one request to the store
	absence     = 8 * time.Second  // a long election
)

// A store that stays away is named as such in time, and nobody waits longer than
// the caller.
func TestAStoreThatStaysAwayIsToldInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, gate := throughGate(t)
		requests := all(t, st)
		gate.Refuse()
		for n, r := range requests {
			began := time.Now()
			if err := r.ask(t.Context()); !errors.Is(err, task.ErrUnavailable) {
				t.Errorf("%s: %v", r.name, err)
			}
			limit := requestTime + time.Second + 500*time.Millisecond
			if n > 1 { // it is known now
				limit = 2500 * time.Millisecond
			}
			if took := time.Since(began); took > limit {
				t.Errorf("%s took %v", r.name, took)
			}
		}
		gate.Admit()
		time.Sleep(time.Second)
		if err := requests[0].ask(t.Context()); err != nil {
			t.Errorf("it is back: %v", err)
		}
		gate.Refuse()
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := st.Tasks.Find(short, "default", newTask().ID); err == nil || time.Since(began) > 400*time.Millisecond {
			t.Errorf("a caller in a hurry waited %v: %v", time.Since(began), err)
		}
		gate.Admit()
		time.Sleep(time.Second)
	})
}

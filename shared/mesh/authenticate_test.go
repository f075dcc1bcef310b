package mesh_test

import (
	"context"
	"errors"
	"hash/crc32"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// gate is an authenticator of one gateway, which runs until the test ends.
type gate struct {
	t  *testing.T
	st *store.Store
	a  *mesh.KeyAuthenticator
}

func (h *house) newGate() *gate {
	h.t.Helper()
	st, err := store.Open(h.t.Context(), h.srv.Connect(h.t), store.Options{Replicas: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	return startGate(h.t, st)
}

func startGate(t *testing.T, st *store.Store) *gate {
	g := &gate{t, st, mesh.NewKeyAuthenticator(st, quiet())}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return g
}

// show shows a bearer token from an address.
func (g *gate) show(bearer, from string) (auth.Caller, error) {
	addr, _ := netip.ParseAddr(from)
	return g.a.Authenticate(g.t.Context(), auth.Credentials{Bearer: bearer, Addr: addr})
}

// refuses reports whether a key is refused as that of nobody.
func (g *gate) refuses(k auth.Key) bool {
	g.t.Helper()
	_, err := g.show(k.Reveal(), "192.0.2.1")
	if err != nil && !errors.Is(err, auth.ErrUnauthenticated) {
		g.t.Fatal(err)
	}
	return err != nil
}

// key makes a key of tenant blue.
func (h *house) key(scopes ...string) auth.Key {
	h.t.Helper()
	_, k, err := keysOf(h.st).Create(h.t.Context(), auth.Local(), mesh.KeyRequest{Tenant: "blue", Scopes: scopes, Name: "ci"})
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

func (h *house) revoke(k auth.Key) {
	h.t.Helper()
	if err := keysOf(h.st).Revoke(h.t.Context(), auth.Local(), k.ID(), true); err != nil {
		h.t.Fatal(err)
	}
}

// reads counts what is read of the bucket of keys, one by one.
func (h *house) reads() *atomic.Int64 {
	n := &atomic.Int64{}
	sub, err := h.nc.Subscribe("$JS.API.STREAM.MSG.GET."+topology.BucketStream(topology.KeysBucket), func(m *nats.Msg) {
		if !strings.Contains(string(m.Data), topology.APIKeysAll) { // a look for the newest change
			n.Add(1)
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.nc.Flush(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return n
}

func TestAKeyMakesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		k := h.key("tasks:read", "sessions:read")
		g := h.newGate()
		for range 2 { // from the store, and from the copy
			who, err := g.show(k.Reveal(), "192.0.2.1")
			if err != nil || who.Tenant != "blue" || who.Subject != "ci" || who.KeyID != k.ID() || !who.May(auth.TasksRead) || !who.May(auth.SessionsRead) || who.May(auth.TasksWrite) || who.May(auth.Admin) {
				t.Errorf("%+v %v", who, err)
			}
			time.Sleep(2 * time.Second)
		}
		reads := h.reads()
		if g.refuses(k) || reads.Load() != 0 {
			t.Errorf("%d reads for a key that is in the copy", reads.Load())
		}
		for _, other := range []string{"", "eyJhbGciOiJub25lIn0.e30.", "AMK_live"} {
			if _, err := g.show(other, "192.0.2.1"); !errors.Is(err, auth.ErrNoCredentials) {
				t.Errorf("%q: %v", other, err)
			}
		}
	})
}

func TestATypoIsRefusedWithoutARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		k := h.key("*").Reveal()
		typo := "x"
		if k[20] == 'x' {
			typo = "y"
		}
		g, reads := h.newGate(), h.reads()
		for range 1000 {
			if _, err := g.show(k[:20]+typo+k[21:], "192.0.2.1"); !errors.Is(err, auth.ErrUnauthenticated) || strings.Contains(err.Error(), k[16:60]) {
				t.Fatal(err)
			}
		}
		if synctest.Wait(); reads.Load() != 0 {
			t.Errorf("%d reads", reads.Load())
		}
	})
}

func TestAKeyThatWasMadeAMomentAgoHoldsAtEveryGateway(t *testing.T) {
	h := newHouse(t)
	g := h.newGate()
	for range 20 {
		if g.refuses(h.key("*")) {
			t.Fatal("refused")
		}
	}
}

func TestARevokedKeyIsRefusedAtEveryGatewayWithin5s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		one, two := h.newGate(), h.newGate()
		k, stays := h.key("*"), h.key("*")
		time.Sleep(10 * time.Second)
		if one.refuses(k) || two.refuses(k) {
			t.Fatal("refused before it was revoked")
		}
		h.revoke(k)
		time.Sleep(100 * time.Millisecond)
		if !one.refuses(k) || !two.refuses(k) || one.refuses(stays) || two.refuses(stays) {
			t.Error("a revoked key is taken, or another one is not")
		}
	})
}

// The server forgets the consumer of the watch: nobody is told, and the client finds
// out when its heartbeats stay away, after far longer than 5 s.
func TestARevokedKeyIsRefusedWithin5sWhenTheWatchIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		g := h.newGate()
		k, stays := h.key("*"), h.key("*")
		time.Sleep(10 * time.Second)
		if g.refuses(k) {
			t.Fatal("refused before it was revoked")
		}
		stream, err := h.js().Stream(t.Context(), topology.BucketStream(topology.KeysBucket))
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := stream.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		h.revoke(k)
		time.Sleep(5*time.Second - time.Millisecond)
		if !g.refuses(k) || g.refuses(stays) {
			t.Error("a revoked key is taken, or another one is not")
		}
		time.Sleep(time.Minute) // the watch has begun anew
		reads := h.reads()
		if !g.refuses(k) || g.refuses(stays) || reads.Load() != 0 {
			t.Errorf("%d reads after the watch has begun anew", reads.Load())
		}
	})
}

// turnstile is where a connection finds its server, if that lets it in.
type turnstile struct {
	to atomic.Pointer[natstest.Server]
}

func (s *turnstile) InProcessConn() (net.Conn, error) {
	if srv := s.to.Load(); srv != nil {
		return srv.InProcessConn()
	}
	return nil, errors.New("closed")
}

// The server goes, and the key is revoked before the gateway finds its way back.
func TestARevokedKeyIsRefusedByAGatewayThatWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		way := &turnstile{}
		way.to.Store(h.srv)
		nc, err := nats.Connect("", nats.InProcessServer(way), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		g := startGate(t, st)
		k, stays := h.key("*"), h.key("*")
		time.Sleep(10 * time.Second)
		if g.refuses(k) {
			t.Fatal("refused before it was revoked")
		}
		way.to.Store(nil)
		h.restart()
		h.revoke(k)
		time.Sleep(4 * time.Second)
		if _, err := g.show(k.Reveal(), "192.0.2.1"); !errors.Is(err, task.ErrUnavailable) {
			t.Errorf("while it is cut off: %v", err)
		}
		way.to.Store(h.srv)
		time.Sleep(time.Minute)
		reads := h.reads()
		if !g.refuses(k) || g.refuses(stays) || reads.Load() != 0 {
			t.Errorf("a revoked key is taken, or another one is not, or it was read: %d", reads.Load())
		}
	})
}

func TestAnExpiredKeyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		until := time.Now().Add(time.Minute)
		_, k, err := keysOf(h.st).Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"*"}, ExpiresAt: &until})
		if err != nil {
			t.Fatal(err)
		}
		g := h.newGate()
		if time.Sleep(59 * time.Second); g.refuses(k) {
			t.Error("refused before its time")
		}
		if time.Sleep(time.Second); !g.refuses(k) {
			t.Error("taken after its time")
		}
	})
}

func TestARotatedKeyIsTakenBesideItsHeirForTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		old, g := h.key("*"), h.newGate()
		overlap := time.Minute
		_, next, err := keysOf(h.st).Rotate(t.Context(), auth.Local(), old.ID(), &overlap)
		if err != nil {
			t.Fatal(err)
		}
		if time.Sleep(59 * time.Second); g.refuses(old) || g.refuses(next) {
			t.Error("refused within the overlap")
		}
		if time.Sleep(time.Second); !g.refuses(old) || g.refuses(next) {
			t.Error("the old one is taken after the overlap, or the new one is not")
		}
	})
}

// A key whose record an operator has deleted is no key.
func TestAKeyWhoseRecordIsDeletedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		k, g := h.key("*"), h.newGate()
		time.Sleep(2 * time.Second)
		kv, err := h.js().KeyValue(t.Context(), topology.KeysBucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := kv.Delete(t.Context(), k.ID()); err != nil {
			t.Fatal(err)
		}
		if time.Sleep(100 * time.Millisecond); !g.refuses(k) {
			t.Error("taken")
		}
	})
}

// A caller that guesses secrets waits: at its address, and for the key that it guessed.
func TestWhoGuessesSecretsIsLockedOutAndTheOwnerIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		k, other := h.key("*"), h.key("*")
		g := h.newGate()
		time.Sleep(2 * time.Second)
		guess := func(id string) error {
			k, err := auth.ParseKey(withSecret(id))
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.show(k.Reveal(), "192.0.2.66")
			return err
		}
		for range 10 {
			if err := guess(k.ID()); !errors.Is(err, auth.ErrUnauthenticated) {
				t.Fatal(err)
			}
		}
		var locked *auth.Locked
		if err := guess(k.ID()); !errors.As(err, &locked) || locked.Wait != time.Minute {
			t.Errorf("%v", err)
		}
		if _, err := g.show(k.Reveal(), "192.0.2.66"); !errors.Is(err, auth.ErrLocked) {
			t.Errorf("the right secret after too many wrong ones: %v", err)
		}
		if g.refuses(k) {
			t.Error("the owner is locked out")
		}
		if _, err := g.show(other.Reveal(), "192.0.2.66"); err != nil {
			t.Errorf("another key from the address: %v", err)
		}
		// Ids are not found out either, and cost few reads.
		reads := h.reads()
		for range 100 {
			err := guess(auth.NewKey().ID())
			if !errors.Is(err, auth.ErrUnauthenticated) && !errors.Is(err, auth.ErrLocked) {
				t.Fatal(err)
			}
		}
		if synctest.Wait(); reads.Load() != 10 {
			t.Errorf("%d reads", reads.Load())
		}
		if _, err := g.show(other.Reveal(), "192.0.2.66"); err != nil {
			t.Errorf("a key that is known: %v", err)
		}
		if time.Sleep(time.Minute); !errors.Is(guess(k.ID()), auth.ErrUnauthenticated) {
			t.Error("locked for good")
		}
	})
}

// withSecret is a key with an id and another secret, as who guesses makes it.
func withSecret(id string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	parts := strings.Split(auth.NewKey().Reveal(), "_")
	text := strings.Join([]string{parts[0], parts[1], id, parts[3]}, "_")
	sum, check := crc32.ChecksumIEEE([]byte(text)), ""
	for range 6 {
		check, sum = string(digits[sum%62])+check, sum/62
	}
	return text + "_" + check
}

func TestTheLastUseOfAKeyCostsOneWriteAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		k, idle := h.key("*"), h.key("*")
		g := h.newGate()
		writes := 0
		sub, err := h.nc.Subscribe(topology.APIKeyUsed("*"), func(*nats.Msg) { writes++ })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		var last time.Time
		for range 600 { // five minutes
			if last = time.Now(); g.refuses(k) {
				t.Fatal("refused")
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(70 * time.Second)
		if synctest.Wait(); writes < 4 || writes > 7 {
			t.Errorf("%d writes for 600 uses in five minutes", writes)
		}
		got, err := keysOf(h.st).Get(t.Context(), auth.Local(), k.ID())
		if err != nil || last.Sub(got.LastUsed).Abs() > time.Second {
			t.Errorf("last used %v, want %v; %v", got.LastUsed, last, err)
		}
		all, err := keysOf(h.st).List(t.Context(), auth.Local(), "")
		for _, one := range all {
			if one.LastUsed.IsZero() != (one.ID == idle.ID()) {
				t.Errorf("%s was last used %v", one.ID, one.LastUsed)
			}
		}
		if err != nil || len(all) != 2 {
			t.Errorf("%d keys, %v", len(all), err)
		}
	})
}

// However many keys and tenants there are, a gateway has one watch.
func TestAThousandTenantsCostNoGoroutineAndNoSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		g := h.newGate()
		time.Sleep(2 * time.Second)
		goroutines, subscriptions := runtime.NumGoroutine(), h.srv.NumSubscriptions()
		for i := range 1000 {
			k := auth.NewKey()
			rec := &store.APIKey{ID: k.ID(), Tenant: "tenant-" + strconv.Itoa(i), Scopes: []auth.Scope{auth.All}, Hash: k.Hash()}
			if err := h.st.APIKeys.Save(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if who, err := g.show(k.Reveal(), "192.0.2.1"); err != nil || who.Tenant != rec.Tenant {
				t.Fatalf("%+v %v", who, err)
			}
		}
		time.Sleep(2 * time.Second)
		if now := runtime.NumGoroutine(); now > goroutines+10 {
			t.Errorf("%d goroutines, and %d before", now, goroutines)
		}
		if now := h.srv.NumSubscriptions(); now > subscriptions+2 {
			t.Errorf("%d subscriptions, and %d before", now, subscriptions)
		}
	})
}

package mesh_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
)

func keysOf(st *store.Store) mesh.Keys {
	return mesh.New(st, mesh.Options{Log: quiet()}).Keys
}

func TestOnlyAnAdminKeepsKeys(t *testing.T) {
	keys := keysOf(newHouse(t).st)
	ctx, user := t.Context(), auth.Caller{Tenant: "a", Scopes: []auth.Scope{auth.All}}
	_, _, created := keys.Create(ctx, user, mesh.KeyRequest{Scopes: []string{"*"}})
	_, listed := keys.List(ctx, user, "")
	_, got := keys.Get(ctx, user, "0123456789")
	_, _, rotated := keys.Rotate(ctx, user, "0123456789", nil)
	for _, err := range []error{created, listed, got, rotated, keys.Revoke(ctx, user, "0123456789", true)} {
		if !errors.Is(err, mesh.ErrForbidden) {
			t.Errorf("%v", err)
		}
	}
}

func TestAKeyIsKeptAsItWasAskedForWithoutItsSecret(t *testing.T) {
	keys := keysOf(newHouse(t).st)
	admin := auth.Caller{Tenant: "default", KeyID: "adm1234567", Scopes: []auth.Scope{auth.Admin}}
	until := time.Now().Add(time.Hour)
	made, secret, err := keys.Create(t.Context(), admin, mesh.KeyRequest{Tenant: "blue", Scopes: []string{"tasks:read", "tasks:write", "tasks:read"}, Name: "ci", ExpiresAt: &until})
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := keys.Create(t.Context(), admin, mesh.KeyRequest{Scopes: []string{"*"}})
	if err != nil || own.Tenant != "default" || !own.ExpiresAt.IsZero() {
		t.Errorf("%+v %v", own, err)
	}
	got, err := keys.Get(t.Context(), admin, made.ID)
	if err != nil || got.ID != secret.ID() || got.Tenant != "blue" || !slices.Equal(got.Scopes, []auth.Scope{"tasks:read", "tasks:write"}) ||
		got.Name != "ci" || !got.ExpiresAt.Equal(until.Truncate(time.Millisecond)) || got.CreatedBy != "adm1234567" || !secret.Matches(got.Hash) {
		t.Errorf("%+v %v", got, err)
	}
	all, err := keys.List(t.Context(), admin, "")
	if err != nil || len(all) != 2 {
		t.Errorf("%d keys, %v", len(all), err)
	}
	if blue, err := keys.List(t.Context(), admin, "blue"); err != nil || len(blue) != 1 || blue[0].ID != made.ID {
		t.Errorf("of blue: %v, %v", blue, err)
	}
}

func TestAKeyThatCannotBeIsRefusedWithItsFaults(t *testing.T) {
	keys := keysOf(newHouse(t).st)
	past := time.Now().Add(-time.Second)
	for _, tt := range []struct {
		r        mesh.KeyRequest
		pointers []string
	}{
		{mesh.KeyRequest{}, []string{"/scopes"}},
		{mesh.KeyRequest{Scopes: []string{"tasks:read", "tasks:*", "public"}}, []string{"/scopes/1", "/scopes/2"}},
		{mesh.KeyRequest{Scopes: []string{"*"}, Tenant: "_mesh"}, []string{"/tenant"}},
		{mesh.KeyRequest{Scopes: []string{"*"}, Tenant: "a.>"}, []string{"/tenant"}},
		{mesh.KeyRequest{Scopes: []string{"*"}, Name: strings.Repeat("x", 129)}, []string{"/name"}},
		{mesh.KeyRequest{Scopes: []string{"*"}, Name: "a\nb", ExpiresAt: &past}, []string{"/name", "/expires_at"}},
	} {
		_, _, err := keys.Create(t.Context(), auth.Local(), tt.r)
		var refused *mesh.Error
		if !errors.As(err, &refused) || refused.Refusal != mesh.ErrValidationFailed {
			t.Fatalf("%+v: %v", tt.r, err)
		}
		var pointers []string
		for _, f := range refused.Faults {
			pointers = append(pointers, f.Pointer)
		}
		if !slices.Equal(pointers, tt.pointers) {
			t.Errorf("%+v: faults at %v, want %v", tt.r, pointers, tt.pointers)
		}
	}
	for _, id := range []string{"", "0123456789", "_secret", "*", ">", "a.b"} {
		if _, err := keys.Get(t.Context(), auth.Local(), id); !errors.Is(err, mesh.ErrKeyNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
		if err := keys.Revoke(t.Context(), auth.Local(), id, true); !errors.Is(err, mesh.ErrKeyNotFound) {
			t.Errorf("revoke %q: %v", id, err)
		}
	}
}

// A request with an Idempotency-Key makes one key, and never shows its secret again.
func TestARepeatedRequestMakesOneKeyAndShowsNoSecret(t *testing.T) {
	keys := keysOf(newHouse(t).st)
	r := mesh.KeyRequest{Scopes: []string{"*"}, Once: mesh.NewKey(auth.Local(), "k", []string{"POST", "/keys"})}
	made, _, err := keys.Create(t.Context(), auth.Local(), r)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := keys.Create(t.Context(), auth.Local(), r)
	if !errors.Is(err, mesh.ErrKeyExists) || !strings.Contains(err.Error(), made.ID) || secret.ID() != "" {
		t.Errorf("%v", err)
	}
	r.Once = mesh.NewKey(auth.Local(), "other", []string{"POST", "/keys"})
	if other, _, err := keys.Create(t.Context(), auth.Local(), r); err != nil || other.ID == made.ID {
		t.Errorf("%v %v", other, err)
	}
}

func TestTheLastKeyOfAnAdminIsRevokedByForceOnly(t *testing.T) {
	keys := keysOf(newHouse(t).st)
	make := func(scopes ...string) *store.APIKey {
		k, _, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: scopes})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, second := make("*", "admin"), make("admin")
	make("*")
	// Two admins revoke each other: one of them stays.
	var revoked [2]error
	var both sync.WaitGroup
	for i, id := range []string{first.ID, second.ID} {
		both.Go(func() { revoked[i] = keys.Revoke(t.Context(), auth.Local(), id, false) })
	}
	both.Wait()
	last := first.ID
	if revoked[0] == nil {
		last = second.ID
	}
	if (revoked[0] == nil) == (revoked[1] == nil) || !errors.Is(errors.Join(revoked[:]...), mesh.ErrLastAdminKey) {
		t.Fatalf("%v and %v", revoked[0], revoked[1])
	}
	// The rest of a rotated key's life is no admin to rely on.
	next, _, err := keys.Rotate(t.Context(), auth.Local(), last, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(t.Context(), auth.Local(), next.ID, false); !errors.Is(err, mesh.ErrLastAdminKey) {
		t.Errorf("the last one: %v", err)
	}
	if err := keys.Revoke(t.Context(), auth.Local(), last, false); err != nil {
		t.Errorf("one that has been rotated: %v", err)
	}
	for range 2 { // again: it is revoked
		if err := keys.Revoke(t.Context(), auth.Local(), next.ID, true); err != nil {
			t.Errorf("by force: %v", err)
		}
	}
	if _, _, err := keys.Rotate(t.Context(), auth.Local(), next.ID, nil); !errors.Is(err, mesh.ErrKeyEnded) {
		t.Errorf("rotate one that was revoked: %v", err)
	}
}

func TestARotatedKeyGoesOnForTheOverlapAndItsHeirLivesAsLong(t *testing.T) {
	h := newHouse(t)
	keys := keysOf(h.st)
	until := time.Now().Add(60 * 24 * time.Hour)
	old, _, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Tenant: "blue", Scopes: []string{"tasks:read"}, Name: "ci", ExpiresAt: &until})
	if err != nil {
		t.Fatal(err)
	}
	old.CreatedAt = old.CreatedAt.Add(-30 * 24 * time.Hour)
	if err := h.st.APIKeys.Save(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	overlap := time.Hour
	next, secret, err := keys.Rotate(t.Context(), auth.Local(), old.ID, &overlap)
	if err != nil || next.ID == old.ID || next.Tenant != "blue" || next.Name != "ci" || !slices.Equal(next.Scopes, old.Scopes) || !secret.Matches(next.Hash) {
		t.Fatalf("%+v %v", next, err)
	}
	if got := next.ExpiresAt.Sub(next.CreatedAt); got != old.ExpiresAt.Sub(old.CreatedAt) {
		t.Errorf("the heir lives %v", got)
	}
	before, err := keys.Get(t.Context(), auth.Local(), old.ID)
	if err != nil || before.RotatedTo != next.ID || !before.ExpiresAt.Equal(next.CreatedAt.Add(overlap)) || !before.Live(time.Now()) {
		t.Errorf("%+v %v", before, err)
	}
	for _, bad := range []time.Duration{-1, 31 * 24 * time.Hour} {
		if _, _, err := keys.Rotate(t.Context(), auth.Local(), next.ID, &bad); !errors.Is(err, mesh.ErrValidationFailed) {
			t.Errorf("overlap %v: %v", bad, err)
		}
	}
	overlap = 0
	if _, _, err := keys.Rotate(t.Context(), auth.Local(), next.ID, &overlap); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys.Rotate(t.Context(), auth.Local(), next.ID, nil); !errors.Is(err, mesh.ErrKeyEnded) {
		t.Errorf("rotate one that has ended: %v", err)
	}
}

// An ended key is listed for a month, and then makes room for another.
func TestAKeyThatEndedLongAgoIsForgotten(t *testing.T) {
	h := newHouse(t)
	keys := keysOf(h.st)
	for age, stays := range map[time.Duration]bool{29 * 24 * time.Hour: true, 31 * 24 * time.Hour: false} {
		k, _, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"*"}})
		if err != nil {
			t.Fatal(err)
		}
		k.RevokedAt = time.Now().Add(-age)
		if err := errors.Join(h.st.APIKeys.Save(t.Context(), k), h.st.APIKeys.Used(t.Context(), k.ID, k.RevokedAt)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"*"}}); err != nil {
			t.Fatal(err)
		}
		_, err = keys.Get(t.Context(), auth.Local(), k.ID)
		used, wrong := h.st.APIKeys.LastUse(t.Context(), k.ID)
		if (err == nil) != stays || wrong != nil || used.IsZero() == stays {
			t.Errorf("after %v: %v, used %v, %v", age, err, used, wrong)
		}
	}
}

func TestTheKeyOfTheOperatorHoldsUntilAnotherIsSet(t *testing.T) {
	h := newHouse(t)
	keys := keysOf(h.st)
	live := func(k auth.Key) bool {
		got, err := keys.Get(t.Context(), auth.Local(), k.ID())
		return err == nil && got.Live(time.Now()) && slices.Equal(got.Scopes, []auth.Scope{auth.All, auth.Admin}) && got.Tenant == auth.DefaultTenant
	}
	set := func(k auth.Key) {
		t.Helper()
		if err := mesh.SetOperatorKey(t.Context(), h.st, "MESH_ADMIN_KEY", k, quiet()); err != nil {
			t.Fatal(err)
		}
	}
	a, b := auth.NewKey(), auth.NewKey()
	set(a)
	set(a) // a second gateway, or a restart
	if !live(a) {
		t.Error("it does not hold")
	}
	set(b)
	if live(a) || !live(b) {
		t.Error("the one before goes on, or the new one does not hold")
	}
	set(a) // a gateway that still has the old setting starts again
	if live(a) || !live(b) {
		t.Error("a key that has ended came back")
	}
	if err := keys.Revoke(t.Context(), auth.Local(), b.ID(), true); err != nil {
		t.Fatal(err)
	}
	if set(b); live(b) {
		t.Error("a key that somebody revoked came back")
	}
	user, secret, err := keys.Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := mesh.SetOperatorKey(t.Context(), h.st, "MESH_ADMIN_KEY", secret, quiet()); err == nil || !strings.Contains(err.Error(), "admin") {
		t.Errorf("a key without the scope: %v", err)
	}
	if got, err := keys.Get(t.Context(), auth.Local(), user.ID); err != nil || slices.Contains(got.Scopes, auth.Admin) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAnOperatorsKeyThatWasRevokedStaysSo(t *testing.T) {
	h := newHouse(t)
	first, set := auth.NewKey(), auth.NewKey()
	begin := func() {
		t.Helper()
		if err := mesh.FirstKey(t.Context(), h.st, "admin.key", func() (auth.Key, error) { return first, nil }); err != nil {
			t.Fatal(err)
		}
		if err := mesh.SetOperatorKey(t.Context(), h.st, "MESH_ADMIN_KEY", set, quiet()); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	for _, k := range []auth.Key{first, set} {
		got, err := keysOf(h.st).Get(t.Context(), auth.Local(), k.ID())
		if err == nil {
			got.RevokedAt = time.Now().Add(-31 * 24 * time.Hour)
			err = h.st.APIKeys.Save(t.Context(), got)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := keysOf(h.st).Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"tasks:read"}}); err != nil {
		t.Fatal(err)
	}
	begin() // a month later, with the file and the setting as they were
	for _, k := range []auth.Key{first, set} {
		if got, err := keysOf(h.st).Get(t.Context(), auth.Local(), k.ID()); err != nil || got.Live(time.Now()) {
			t.Errorf("%+v %v", got, err)
		}
	}
}

// Who prepares keys without authentication, and then asks for them, is not locked out.
func TestTheFirstKeyIsMadeBesideKeysThatAreNoAdmins(t *testing.T) {
	h := newHouse(t)
	if _, _, err := keysOf(h.st).Create(t.Context(), auth.Local(), mesh.KeyRequest{Scopes: []string{"tasks:write"}}); err != nil {
		t.Fatal(err)
	}
	k := auth.NewKey()
	if err := mesh.FirstKey(t.Context(), h.st, "admin.key", func() (auth.Key, error) { return k, nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := keysOf(h.st).Get(t.Context(), auth.Local(), k.ID()); err != nil || !slices.Contains(got.Scopes, auth.Admin) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestTheFirstKeyIsMadeOnceInAMeshWithoutKeys(t *testing.T) {
	h := newHouse(t)
	k, shown := auth.NewKey(), 0
	show := func() (auth.Key, error) { shown++; return k, nil }
	if err := mesh.FirstKey(t.Context(), h.st, "admin.key", func() (auth.Key, error) { return k, errors.New("the disk is full") }); err == nil {
		t.Error("a key that nobody has was recorded")
	}
	for range 2 {
		if err := mesh.FirstKey(t.Context(), h.st, "admin.key", show); err != nil {
			t.Fatal(err)
		}
	}
	if err := keysOf(h.st).Revoke(t.Context(), auth.Local(), k.ID(), true); err != nil {
		t.Fatal(err)
	}
	if err := mesh.FirstKey(t.Context(), h.st, "admin.key", show); err != nil || shown != 1 {
		t.Errorf("shown %d times, %v", shown, err)
	}
}

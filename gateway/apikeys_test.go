package gateway_test

import (
	"context"
	"strings"
	"testing"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// keyed is a mesh that asks for API keys, and the key of its admin.
func keyed(t *testing.T) (m *meshtest.Mesh, admin string) {
	t.Helper()
	m = meshtest.New(t)
	k := auth.NewKey()
	if err := mesh.FirstKey(t.Context(), m.Store, "test", func() (auth.Key, error) { return k, nil }); err != nil {
		t.Fatal(err)
	}
	keys := mesh.NewKeyAuthenticator(m.Store, meshtest.Quiet())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = keys.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	m.Ask(auth.Chain(keys, mesh.NewTaskAuthenticator(m.Store, meshtest.Quiet())))
	return m, k.Reveal()
}

// makeKey makes a key as an admin.
func makeKey(t *testing.T, m *meshtest.Mesh, admin, body string) api.APIKey {
	t.Helper()
	w := m.Do("POST", "/keys", body, meshtest.As(admin)...)
	k := meshtest.Decode[api.APIKey](t, w.Body)
	if w.Code != 201 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Location") != "/keys/"+k.KeyID || !strings.HasPrefix(k.Key, "amk_live_"+k.KeyID+"_") {
		t.Fatalf("%d %v %+v", w.Code, w.Header(), k)
	}
	return k
}

func TestAKeyIsShownOnceAndServesUntilItIsRevoked(t *testing.T) {
	m, admin := keyed(t)
	k := makeKey(t, m, admin, `{"tenant":"blue","scopes":["tasks:read","tasks:write"],"name":"ci","expires_at":"2100-01-01T00:00:00Z"}`)
	if k.Tenant != "blue" || k.Name != "ci" || k.Status != "live" || k.ExpiresAt.Year() != 2100 || len(k.Scopes) != 2 {
		t.Errorf("%+v", k)
	}
	me := meshtest.Decode[api.WhoAmI](t, m.Do("GET", "/whoami", "", meshtest.As(k.Key)...).Body)
	if me.Tenant != "blue" || me.KeyID != k.KeyID || strings.Join(me.Scopes, " ") != "tasks:read tasks:write" {
		t.Errorf("%+v", me)
	}
	secret := strings.Split(k.Key, "_")[3]
	for _, path := range []string{"/keys", "/keys/" + k.KeyID, "/keys?tenant=blue"} {
		w := m.Do("GET", path, "", meshtest.As(admin)...)
		if w.Code != 200 || strings.Contains(w.Body.String(), secret) || !strings.Contains(w.Body.String(), k.KeyID) || strings.Contains(w.Body.String(), "hash") {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	// No key but an admin's reads or changes keys.
	for _, call := range [][3]string{{"GET", "/keys"}, {"GET", "/keys/" + k.KeyID}, {"DELETE", "/keys/" + k.KeyID}, {"POST", "/keys/" + k.KeyID + "/rotate"}, {"POST", "/keys", `{"scopes":["admin"]}`}} {
		if w := m.Do(call[0], call[1], call[2], meshtest.As(k.Key)...); w.Code != 403 {
			t.Errorf("%s %s with a key that is no admin's: %d", call[0], call[1], w.Code)
		}
	}
	if w := m.Do("DELETE", "/keys/"+k.KeyID, "", meshtest.As(admin)...); w.Code != 204 {
		t.Errorf("revoke: %d %s", w.Code, w.Body)
	}
	natstest.Until(t, "the key is refused", func() bool { return m.Do("GET", "/whoami", "", meshtest.As(k.Key)...).Code == 401 })
	if got := meshtest.Decode[api.APIKey](t, m.Do("GET", "/keys/"+k.KeyID, "", meshtest.As(admin)...).Body); got.Status != "revoked" || got.RevokedAt.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestARequestForAKeyThatComesAgainShowsNoSecret(t *testing.T) {
	m, admin := keyed(t)
	with := append(meshtest.As(admin), "Idempotency-Key", `"once"`)
	first := m.Do("POST", "/keys", `{"scopes":["*"]}`, with...)
	k := meshtest.Decode[api.APIKey](t, first.Body)
	w := m.Do("POST", "/keys", `{"scopes":["*"]}`, with...)
	if p := meshtest.Problem(t, w); first.Code != 201 || w.Code != 409 || p.Code != "key_exists" || !strings.Contains(p.Detail, k.KeyID) || strings.Contains(w.Body.String(), k.Key) {
		t.Errorf("%d, then %d %s", first.Code, w.Code, w.Body)
	}
}

func TestARotatedKeyAndItsHeirBothServe(t *testing.T) {
	m, admin := keyed(t)
	k := makeKey(t, m, admin, `{"tenant":"blue","scopes":["tasks:read"]}`)
	w := m.Do("POST", "/keys/"+k.KeyID+"/rotate", `{"overlap":"1h"}`, meshtest.As(admin)...)
	heir := meshtest.Decode[api.APIKey](t, w.Body)
	if w.Code != 201 || w.Header().Get("Cache-Control") != "no-store" || heir.Tenant != "blue" || heir.Key == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, key := range []string{k.Key, heir.Key} {
		if w := m.Do("GET", "/whoami", "", meshtest.As(key)...); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := m.Do("POST", "/keys/"+k.KeyID+"/rotate", `{"overlap":"soon"}`, meshtest.As(admin)...); w.Code != 422 || !strings.Contains(w.Body.String(), `"/overlap"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWrongKeysAreToldNothingAndLockedOut(t *testing.T) {
	m, admin := keyed(t)
	k := makeKey(t, m, admin, `{"scopes":["*"]}`)
	parts := strings.Split(k.Key, "_")
	other := strings.Split(makeKey(t, m, admin, `{"scopes":["*"]}`).Key, "_")
	for _, bad := range []string{k.Key[:len(k.Key)-1] + "-", strings.Join([]string{parts[0], parts[1], parts[2], other[3], other[4]}, "_"), auth.NewKey().Reveal(), auth.NewTaskKey("default", "tsk_0190f3c0a0007000800000000000abcd").Reveal()} {
		w := m.Do("GET", "/tasks", "", meshtest.As(bad)...)
		if p := meshtest.Problem(t, w); w.Code != 401 || p.Code != "unauthenticated" || strings.Contains(w.Body.String(), parts[2]) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	for range 9 {
		m.Do("GET", "/tasks", "", meshtest.As(auth.NewKey().Reveal())...)
	}
	w := m.Do("GET", "/tasks", "", meshtest.As(auth.NewKey().Reveal())...)
	if w.Code != 429 || w.Header().Get("Retry-After") != "60" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	// The keys that are known go on, and so do agents.
	natstest.Until(t, "the keys are read, and a known one is taken", func() bool { return m.Do("GET", "/tasks", "", meshtest.As(k.Key)...).Code == 200 })
	if w := m.Do("GET", "/tasks", "", meshtest.As(auth.NewTaskKey("default", "tsk_0190f3c0a0007000800000000000abcd").Reveal())...); w.Code != 401 {
		t.Errorf("the key of a task from the address: %d", w.Code)
	}
}

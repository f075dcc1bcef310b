package cli

import (
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
)

// The commands of keys do what an admin needs, with MESH_API_KEY.
func TestKeyCommands(t *testing.T) {
	m := newMesh(t)
	admin := auth.NewKey()
	if err := mesh.FirstKey(t.Context(), m.Store, "test", func() (auth.Key, error) { return admin, nil }); err != nil {
		t.Fatal(err)
	}
	m.Ask(mesh.NewKeyAuthenticator(m.Store, meshtest.Quiet()))
	srv, _ := m.Serve()
	run := func(key string, want int, args ...string) string {
		t.Helper()
		t.Setenv("MESH_API_KEY", key)
		code, out, errs := cli(t, append(args, "--gateway", srv.URL)...)
		if code != want {
			t.Errorf("mesh %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		return out + errs
	}
	contains := func(text string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("no %q in:\n%s", p, text)
			}
		}
	}
	root := admin.Reveal()
	contains(run("", 1, "keys", "list"), "unauthenticated", "Authorization: Bearer")
	k := meshtest.Decode[client.APIKey](t, strings.NewReader(run(root, 0, "keys", "create", "--tenant", "blue", "--scopes", "tasks:read", "--expires", "90d", "--name", "ci", "-o", "json")))
	if days := time.Until(k.ExpiresAt).Hours() / 24; days < 89 || days > 90 || k.Tenant != "blue" {
		t.Errorf("%+v", k)
	}
	contains(run(k.Key, 0, "whoami"), "blue", "tasks:read", k.KeyID)
	contains(run(k.Key, 1, "keys", "list"), "forbidden", "admin")
	contains(run(root, 0, "keys", "create"), "amk_live_", "shown this once")
	listed := run(root, 0, "keys", "list")
	contains(listed, k.KeyID, "blue", "live", "ci", "* admin")
	if shown := run(root, 0, "keys", "get", k.KeyID); strings.Contains(listed+shown, "amk_") {
		t.Errorf("a secret is shown again:\n%s%s", listed, shown)
	}
	contains(run(root, 0, "keys", "rotate", k.KeyID, "--overlap", "1h"), "amk_live_", "ci")
	contains(run(root, 0, "keys", "get", k.KeyID), "rotated to")
	run(root, 0, "keys", "revoke", k.KeyID)
	contains(run(root, 1, "keys", "revoke", admin.ID()), "last_admin_key", "force")
	contains(run(root, 1, "keys", "get", "0123456789"), "key_not_found")
	contains(run(root, 1, "keys", "create", "--scopes", "task:read"), "/scopes/0", "tasks:read")
	contains(run(root, 2, "keys", "create", "--expires", "soon"), "90d")
}

func TestAnExpiryIsATimeOrAWhile(t *testing.T) {
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"": "", "90d": "2026-08-17T10:30:00Z", "12h": "2026-05-19T22:30:00Z", "2027-01-01T00:00:00+01:00": "2027-01-01T00:00:00+01:00",
	} {
		if got, err := expiry(text, now); err != nil || got != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"d", "-1d", "0s", "1w", "99999999999999d", "tomorrow", "1.5d"} {
		if got, err := expiry(bad, now); err == nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
)

// fleetServer is a server of its own for a fleet of processes.
func fleetServer(t *testing.T) *embedded {
	t.Helper()
	return fleetServerAt(t, "127.0.0.1:0")
}

func fleetServerAt(t *testing.T, address string) *embedded {
	t.Helper()
	cfg := defaultUp()
	cfg.server.Data, cfg.server.NATS, cfg.server.Sync = t.TempDir(), address, "2m"
	cfg.server.Token = noToken // it stands for the server of an operator
	cfg.gateway.HTTP, cfg.admin.Admin = "127.0.0.1:0", "off"
	at, err := takePlace(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.close)
	srv, err := startServer(at, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.stop)
	return srv
}

// A fleet of one process for each role, against a server of its own: the outcome
// of a task reaches the callback and the webhook, signed with keys that the
// roles share through the store.
func TestFleetCallsBack(t *testing.T) {
	srv := fleetServer(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL()}
	common := []string{"--replicas", "1", "--admin", "off", "--log-format", "json"}
	for role, args := range map[string][]string{
		"gateway":  {"--http", address, "--allow-private-callbacks", "127.0.0.0/8"},
		"worker":   nil,
		"notifier": {"--allow-private-callbacks", "127.0.0.0/8"},
	} {
		p, output := meshtest.Spawn(t, env, append(append([]string{role}, args...), common...)...)
		go p.Drain(output)
	}
	got := make(chan meshtest.Received, 10)
	r := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		if json.NewDecoder(r.Body).Decode(&body) == nil {
			got <- meshtest.Received{At: time.Now(), Header: r.Header, Path: r.URL.Path, Body: body}
		}
	}))
	defer r.Close()
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	natstest.Until(t, "the gateway is ready and an agent served", func() bool {
		agents, err := c.Agents.List(ctx)
		return err == nil && len(agents) > 0
	})
	hookURL, events := r.URL+"/webhook", []string{"action.completed"}
	hook, err := c.Webhooks.Create(ctx, client.WebhookRequest{URL: &hookURL, Events: &events})
	if err != nil {
		t.Fatal(err)
	}
	action, err := c.Actions.Create(ctx, client.Request{Agent: "echo", Instruction: "x", CallbackURL: r.URL + "/callback"}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Webhooks.KeySet(ctx, "")
	if err != nil || len(set) != 1 {
		t.Fatalf("key set %+v, %v", set, err)
	}
	seen := map[string]bool{}
	for range 2 {
		select {
		case one := <-got:
			seen[one.Path] = true
			if one.JSON()["action_id"] != action.ActionID {
				t.Errorf("body = %s", one.Body)
			}
			keys := []signature.VerifyingKey{meshtest.SecretOf(t, hook.Secret)}
			if one.Path == "/callback" {
				keys = publicKeys(t, set)
			}
			meshtest.Verify(t, one, keys...)
		case <-ctx.Done():
			t.Fatalf("only %v was told", seen)
		}
	}
	if !seen["/webhook"] || !seen["/callback"] {
		t.Errorf("told: %v", seen)
	}
}

// publicKeys are those of a key set.
func publicKeys(t *testing.T, set []client.Key) (keys []signature.VerifyingKey) {
	t.Helper()
	for _, k := range set {
		raw, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil {
			t.Fatal(err)
		}
		public, err := signature.ParsePublicKey("whpk_" + base64.StdEncoding.EncodeToString(raw))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, public)
	}
	return keys
}

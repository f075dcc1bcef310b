package main

import (
	"net/http"
	"testing"

	"agentmesh/shared/keyring"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// The runbook's way to replace the secret key, `new,old` and then `new`: webhooks still get
// what is theirs, signed with their own secret, and hooks still believe their senders.
func TestWebhooksAndHooksOutliveTheSecretKey(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	r := m.Receive(nil)
	v := m.Subscribe(`{"url":"` + r.URL + `"}`)
	if w := m.Do("POST", "/hooks", `{"verify":{"style":"token","header":"X-Token","id":"none","secrets":["a-secret-of-the-sender"]},"task":{"agent":"echo"}}`); w.Code != http.StatusCreated {
		t.Fatalf("POST /hooks = %d %s", w.Code, w.Body)
	}
	fresh := secret.NewKey()
	for _, keys := range []string{fresh + "," + meshtest.TestKey, fresh} {
		k, err := secret.New(keys)
		if err != nil {
			t.Fatal(err)
		}
		m.Keys = keyring.New(k)
		if err := reseal(t.Context(), m.Store, m.Keys, meshtest.Quiet()); err != nil {
			t.Fatal(err)
		}
	}
	e, err := m.Store.Webhooks.Get(t.Context(), "default", webhook.ID(v.WebhookID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Keys.Open(e); err != nil {
		t.Error(err)
	}
	m.Gateway = m.NewGateway(m.Store)
	m.Notify()
	m.End(m.Create(`{"agent":"echo","input":1}`))
	natstest.Until(t, "the webhook is told", func() bool { return len(r.All()) > 0 })
	meshtest.Verify(t, r.All()[0], meshtest.SecretOf(t, v.Secret))
	hooks, err := m.Store.Hooks.List(t.Context(), "")
	if err != nil || len(hooks) != 1 {
		t.Fatal(hooks, err)
	}
	if w := m.Do("POST", "/hooks/"+string(hooks[0].ID), `{"n":1}`, "X-Token", "a-secret-of-the-sender"); w.Code != http.StatusAccepted {
		t.Errorf("POST of the sender = %d %s", w.Code, w.Body)
	}
}

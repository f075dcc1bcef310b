package notifier_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// A webhook whose secrets were sealed with a key that is lost says so, gets
// nothing, can be disabled and deleted, and works again with a new secret and, if
// it had some, new headers.
func TestWebhookWhoseSecretCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		r := m.Receive(nil)
		plain := m.Subscribe(`{"url":"` + r.URL + `"}`)
		rich := m.Subscribe(`{"url":"` + r.URL + `/rich","headers":{"Authorization":"Bearer x"}}`)
		gone := m.Subscribe(`{"url":"` + r.URL + `/gone"}`)
		m.Keys = meshtest.RingOf(t, secret.NewKey())
		m.Gateway = m.NewGateway(m.Store)
		m.Notify()
		list := meshtest.Decode[api.WebhookList](t, m.Do("GET", "/webhooks", "").Body)
		for _, w := range list.Webhooks {
			if !strings.Contains(w.Unreadable, "rotate-secret") {
				t.Errorf("it does not say that it cannot be opened: %+v", w)
			}
		}
		if v := m.PatchWebhook(plain.WebhookID, `{"enabled":false,"description":"off"}`); v.Enabled || v.Unreadable == "" || v.Description != "off" {
			t.Errorf("disabled: %+v", v)
		}
		if w := m.Do("PATCH", "/webhooks/"+rich.WebhookID, `{"headers":{"X":"y"}}`, "Content-Type", "application/json"); w.Code != http.StatusConflict || meshtest.Problem(t, w).Code != "webhook_unreadable" {
			t.Errorf("headers without a key = %d %s", w.Code, w.Body)
		}
		if w := m.Do("DELETE", "/webhooks/"+gone.WebhookID, ""); w.Code != http.StatusNoContent {
			t.Errorf("delete = %d %s", w.Code, w.Body)
		}
		m.End(m.Create(`{"agent":"echo","input":1}`))
		time.Sleep(time.Second)
		if n := len(r.All()); n != 0 {
			t.Errorf("%d requests without a key", n)
		}
		rotate := func(id string) api.Webhook {
			w := m.Do("POST", "/webhooks/"+id+"/rotate-secret", `{}`)
			v := meshtest.Decode[api.Webhook](t, w.Body)
			if w.Code != http.StatusOK || v.Secret == "" || len(v.Keys) != 1 {
				t.Fatalf("rotate = %d %+v", w.Code, v)
			}
			return v
		}
		if v := rotate(plain.WebhookID); v.Unreadable != "" {
			t.Errorf("after the new secret: %+v", v)
		}
		key := rotate(rich.WebhookID)
		if !strings.Contains(key.Unreadable, "headers") {
			t.Errorf("nothing is said of lost headers: %+v", key)
		}
		if v := m.PatchWebhook(rich.WebhookID, `{"headers":{"Authorization":"Bearer y"}}`); v.Unreadable != "" {
			t.Errorf("after the new headers: %+v", v)
		}
		time.Sleep(time.Hour) // the event that had to wait
		all := r.All()
		if len(all) != 1 || all[0].Header.Get("Authorization") != "Bearer y" {
			t.Fatalf("%d requests, want that of the webhook with headers", len(all))
		}
		meshtest.Verify(t, all[0], meshtest.SecretOf(t, key.Secret))
	})
}

// The limit of webhooks holds however many are made at a time, at however many
// gateways, and not one fewer than the limit is let in.
func TestLimitOfWebhooksHolds(t *testing.T) {
	natstest.Long(t)
	m := meshtest.New(t)
	const limit, before = 1000, 990
	for i := range before {
		e := &webhook.Endpoint{ID: webhook.ID(fmt.Sprintf("whk_%032x", i+1)), Tenant: "default", URL: "https://example.com/", CreatedAt: time.Now().UTC()}
		if err := m.Keys.Seal(e, webhook.Secrets{}); err != nil {
			t.Fatal(err)
		}
		if err := m.Store.Webhooks.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	other := m.NewGateway(m.Store)
	var made, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		h := m.Gateway.Handler()
		if i%2 == 0 {
			h = other.Handler()
		}
		all.Go(func() {
			for {
				switch w := meshtest.Call(h, "POST", "/webhooks", `{"url":"https://example.com/"}`); w.Code {
				case http.StatusCreated:
					made.Add(1)
				case http.StatusUnprocessableEntity:
					refused.Add(1)
				case http.StatusConflict:
					continue
				default:
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
		})
	}
	all.Wait()
	list, err := m.Store.Webhooks.List(t.Context(), "default")
	if err != nil || len(list) != limit || made.Load() != limit-before || refused.Load() != 40-(limit-before) {
		t.Errorf("%d webhooks, %d made, %d refused, %v", len(list), made.Load(), refused.Load(), err)
	}
}

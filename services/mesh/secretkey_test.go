package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// A webhook whose secrets were sealed with a key that is lost says so, gets
// nothing, can be disabled and deleted, and works again with a new secret and, if
// it had some, new headers.
func TestWebhookWhoseSecretCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		r := m.receive(nil)
		plain := m.subscribe(`{"url":"` + r.url + `"}`)
		rich := m.subscribe(`{"url":"` + r.url + `/rich","headers":{"Authorization":"Bearer x"}}`)
		gone := m.subscribe(`{"url":"` + r.url + `/gone"}`)
		m.keys = ringOf(t, secret.NewKey())
		m.g = m.newGateway(m.st)
		m.notify()
		list := decode[gateway.WebhookList](t, m.do("GET", "/webhooks", "").Body)
		for _, w := range list.Webhooks {
			if !strings.Contains(w.Unreadable, "rotate-secret") {
				t.Errorf("it does not say that it cannot be opened: %+v", w)
			}
		}
		if v := m.patch(plain.WebhookID, `{"enabled":false,"description":"off"}`); v.Enabled || v.Unreadable == "" || v.Description != "off" {
			t.Errorf("disabled: %+v", v)
		}
		if w := m.do("PATCH", "/webhooks/"+rich.WebhookID, `{"headers":{"X":"y"}}`, "Content-Type", "application/json"); w.Code != http.StatusConflict || problem(t, w).Code != "webhook_unreadable" {
			t.Errorf("headers without a key = %d %s", w.Code, w.Body)
		}
		if w := m.do("DELETE", "/webhooks/"+gone.WebhookID, ""); w.Code != http.StatusNoContent {
			t.Errorf("delete = %d %s", w.Code, w.Body)
		}
		m.end(m.create(`{"agent":"echo","input":1}`))
		time.Sleep(time.Second)
		if n := len(r.all()); n != 0 {
			t.Errorf("%d requests without a key", n)
		}
		rotate := func(id string) gateway.Webhook {
			w := m.do("POST", "/webhooks/"+id+"/rotate-secret", `{}`)
			v := decode[gateway.Webhook](t, w.Body)
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
		if v := m.patch(rich.WebhookID, `{"headers":{"Authorization":"Bearer y"}}`); v.Unreadable != "" {
			t.Errorf("after the new headers: %+v", v)
		}
		time.Sleep(time.Hour) // the event that had to wait
		all := r.all()
		if len(all) != 1 || all[0].header.Get("Authorization") != "Bearer y" {
			t.Fatalf("%d requests, want that of the webhook with headers", len(all))
		}
		verify(t, all[0], secretOf(t, key.Secret))
	})
}

// The limit of webhooks holds however many are made at a time, at however many
// gateways, and not one fewer than the limit is let in.
func TestLimitOfWebhooksHolds(t *testing.T) {
	m := newMesh(t)
	const limit, before = 1000, 990
	for i := range before {
		e := &webhook.Endpoint{ID: fmt.Sprintf("whk_%032x", i+1), Tenant: "default", URL: "https://example.com/", CreatedAt: time.Now().UTC()}
		if err := m.keys.Seal(e, webhook.Secrets{}); err != nil {
			t.Fatal(err)
		}
		if err := m.st.SaveWebhook(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	other := m.newGateway(m.st)
	var made, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		h := m.g.Handler()
		if i%2 == 0 {
			h = other.Handler()
		}
		all.Go(func() {
			for {
				switch w := call(h, "POST", "/webhooks", `{"url":"https://example.com/"}`); w.Code {
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
	list, err := m.st.Webhooks(t.Context(), "default")
	if err != nil || len(list) != limit || made.Load() != limit-before || refused.Load() != 40-(limit-before) {
		t.Errorf("%d webhooks, %d made, %d refused, %v", len(list), made.Load(), refused.Load(), err)
	}
}

// The mesh does not start with another secret key than the one that its secrets
// were sealed with, and says what to do; a replaced one goes in front of the old.
func TestStartWithAnotherSecretKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, keyFile)
	log := quiet()
	start := func(st *store.Store, c secretConfig) error {
		_, err := (&callbackConfig{secret: c}).embeddedKeys(t.Context(), st, dir, log)
		return err
	}
	m := newMesh(t)
	if err := start(m.st, secretConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := start(m.st, secretConfig{}); err != nil {
		t.Errorf("the second start: %v", err)
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	says := func(err error, words ...string) {
		t.Helper()
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the error is %v, it says nothing of %q", err, word)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	says(start(m.st, secretConfig{}), file, "missing", "backup", "--replace-secret-key", "rotate-secret")
	if _, err := os.Stat(file); err == nil {
		t.Error("a new key was made in silence")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says(start(m.st, secretConfig{}), file, "empty")
	says(start(m.st, secretConfig{Replace: true}), file, "empty")
	fresh := secret.NewKey()
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	says(start(m.st, secretConfig{}), "another key", "--replace-secret-key")
	if err := os.WriteFile(file, []byte(fresh+"\n"+string(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(m.st, secretConfig{}); err != nil {
		t.Errorf("both keys: %v", err)
	}
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(m.st, secretConfig{}); err != nil {
		t.Errorf("the new one alone, after both: %v", err)
	}
	if err := start(m.st, secretConfig{File: file}); err != nil {
		t.Errorf("the same by --secret-key-file: %v", err)
	}
	says(start(m.st, secretConfig{File: file, Key: "x"}), "choose one")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := start(m.st, secretConfig{Replace: true}); err != nil {
		t.Errorf("replaced: %v", err)
	}
	// A mesh of an earlier version has noted no key, but has webhooks.
	early := newMesh(t)
	early.subscribe(`{"url":"https://example.com/"}`)
	says(start(early.st, secretConfig{}), "another key")
	if err := os.WriteFile(file, []byte(testKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(early.st, secretConfig{}); err != nil {
		t.Errorf("the key of an earlier version: %v", err)
	}
	if _, err := (&callbackConfig{}).fleetKeys(t.Context(), early.st, log); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a fleet without its key: %v", err)
	}
	if left, err := filepath.Glob(file + "*"); err != nil || !slices.Equal(left, []string{file}) {
		t.Errorf("left over: %v, %v", left, err)
	}
}

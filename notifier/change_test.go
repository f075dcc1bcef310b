package notifier_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/signature"
)

// TestBothSecretsSignWhileOneIsRotated rotates a secret between two attempts: both sign, and after the old
// one's end only the new one.
func TestBothSecretsSignWhileOneIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(meshtest.Answer(500))
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		old := meshtest.SecretOf(t, hook.Secret)
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/rotate-secret", `{"overlap":"1h"}`)
		rotated := meshtest.Decode[api.Webhook](t, w.Body)
		fresh := meshtest.SecretOf(t, rotated.Secret)
		if w.Code != 200 || len(rotated.Keys) != 2 || rotated.Keys[1].ExpiresAt.IsZero() {
			t.Fatalf("rotate = %d %+v", w.Code, rotated)
		}
		time.Sleep(5 * time.Hour)
		all := r.All()
		if len(all) < 5 {
			t.Fatalf("%d requests, want at least 5", len(all))
		}
		same(t, all)
		for i, r := range all {
			signatures := len(strings.Fields(r.Header.Get("Webhook-Signature")))
			switch {
			case i < 2:
				meshtest.Verify(t, r, old)
			case i < 4: // 5m and 30m after: both
				meshtest.Verify(t, r, old)
				meshtest.Verify(t, r, fresh)
				if signatures != 2 {
					t.Errorf("attempt %d has %d signatures", i+1, signatures)
				}
			default:
				meshtest.Verify(t, r, fresh)
				if signatures != 1 {
					t.Errorf("attempt %d has %d signatures", i+1, signatures)
				}
			}
		}
		if v := meshtest.Decode[api.Webhook](t, m.Do("GET", "/webhooks/"+hook.WebhookID, "").Body); v.Secret != "" || len(v.Keys) != 1 {
			t.Errorf("webhook = %+v", v)
		}
	})
}

// TestAReceiverOfEitherKindVerifiesWhileTheKindIsRotated rotates from a shared secret to ed25519: a receiver of either kind
// verifies in between.
func TestAReceiverOfEitherKindVerifiesWhileTheKindIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		rotated := meshtest.Decode[api.Webhook](t, m.Do("POST", "/webhooks/"+hook.WebhookID+"/rotate-secret", `{"scheme":"v1a","overlap":"1h"}`).Body)
		if rotated.Secret != "" || rotated.Keys[0].Public == "" {
			t.Fatalf("rotate = %+v", rotated)
		}
		public, err := signature.ParsePublicKey(rotated.Keys[0].Public)
		if err != nil {
			t.Fatal(err)
		}
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(2 * time.Hour)
		m.Create(`{"agent":"echo","instruction":"y"}`)
		time.Sleep(time.Second)
		all := r.All()
		if len(all) != 2 {
			t.Fatalf("%d requests, want 2", len(all))
		}
		meshtest.Verify(t, all[0], meshtest.SecretOf(t, hook.Secret))
		meshtest.Verify(t, all[0], public)
		meshtest.Verify(t, all[1], public)
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{meshtest.SecretOf(t, hook.Secret)}}).Verify(all[1].Header, all[1].Body, all[1].At); err == nil {
			t.Error("the old secret still verifies after its end")
		}
	})
}

// TestAnEditCountsForTheNextAttempt edits the URL between two attempts.
func TestAnEditCountsForTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		before, after := m.Receive(meshtest.Answer(500)), m.Receive(nil)
		hook := m.Subscribe(`{"url":"` + before.URL + `"}`)
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		m.PatchWebhook(hook.WebhookID, `{"url":"`+after.URL+`"}`)
		time.Sleep(time.Hour)
		if len(before.All()) != 2 || len(after.All()) != 1 {
			t.Fatalf("%d and %d requests, want 2 and 1", len(before.All()), len(after.All()))
		}
		same(t, append(before.All(), after.All()...))
	})
}

// TestADeletedWebhookGetsNothingMore deletes the webhook between two attempts.
func TestADeletedWebhookGetsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(meshtest.Answer(500))
		hook := m.Subscribe(`{"url":"` + r.URL + `"}`)
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		if w := m.Do("DELETE", "/webhooks/"+hook.WebhookID, ""); w.Code != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Hour)
		if ds := m.DeliveriesBy("status=canceled"); len(ds) != 1 || len(r.All()) != 2 {
			t.Errorf("%d requests, canceled %+v", len(r.All()), ds)
		}
		if w := m.Do("GET", "/webhooks/"+hook.WebhookID, ""); w.Code != 404 {
			t.Errorf("GET = %d", w.Code)
		}
	})
}

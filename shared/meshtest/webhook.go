package meshtest

import (
	"net/http"
	"testing"

	"agentmesh/gateway/api"
	"agentmesh/shared/signature"
	"agentmesh/worker/agents/echo"
)

// Action accepts an action and returns its id.
func (m *Mesh) Action(body string, headers ...string) string {
	m.T.Helper()
	w := m.Do("POST", "/actions", body, headers...)
	if w.Code != http.StatusAccepted {
		m.T.Fatalf("POST /actions = %d %s", w.Code, w.Body)
	}
	return Decode[api.AcceptedAction](m.T, w.Body).ActionID
}

// Deliveries lists what was sent of an action.
func (m *Mesh) Deliveries(id string) []api.Delivery {
	m.T.Helper()
	w := m.Do("GET", "/actions/"+id+"/deliveries", "")
	if w.Code != http.StatusOK {
		m.T.Fatalf("GET deliveries = %d %s", w.Code, w.Body)
	}
	return Decode[api.DeliveryList](m.T, w.Body).Deliveries
}

// CallbackSecret is the mesh's own key for callbacks.
func (m *Mesh) CallbackSecret() signature.Secret {
	m.T.Helper()
	s, err := m.Keys.CallbackSecret("default")
	if err != nil {
		m.T.Fatal(err)
	}
	return s
}

// Verify checks the signature of a request at the time at which it came.
func Verify(t *testing.T, r Received, keys ...signature.VerifyingKey) {
	t.Helper()
	if _, err := (signature.Verifier{Keys: keys}).Verify(r.Header, r.Body, r.At); err != nil {
		t.Errorf("%s: %v", r.ID(), err)
	}
}

// Subscribe makes a webhook.
func (m *Mesh) Subscribe(body string) api.Webhook {
	m.T.Helper()
	w := m.Do("POST", "/webhooks", body)
	if w.Code != http.StatusCreated {
		m.T.Fatalf("POST /webhooks = %d %s", w.Code, w.Body)
	}
	return Decode[api.Webhook](m.T, w.Body)
}

// PatchWebhook changes a webhook.
func (m *Mesh) PatchWebhook(id, body string) api.Webhook {
	m.T.Helper()
	w := m.Do("PATCH", "/webhooks/"+id, body, "Content-Type", "application/json")
	if w.Code != http.StatusOK {
		m.T.Fatalf("PATCH /webhooks = %d %s", w.Code, w.Body)
	}
	return Decode[api.Webhook](m.T, w.Body)
}

// DeliveriesBy reads deliveries by a query.
func (m *Mesh) DeliveriesBy(query string) []api.Delivery {
	m.T.Helper()
	var all []api.Delivery
	for cursor := ""; ; {
		w := m.Do("GET", "/deliveries?limit=200&"+query+"&cursor="+cursor, "")
		if w.Code != http.StatusOK {
			m.T.Fatalf("GET /deliveries?%s = %d %s", query, w.Code, w.Body)
		}
		page := Decode[api.DeliveryList](m.T, w.Body)
		all = append(all, page.Deliveries...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// SecretOf reads a secret as the API shows it.
func SecretOf(t *testing.T, text string) signature.Secret {
	t.Helper()
	s, err := signature.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Started is a mesh with a worker and a notifier.
func Started(t *testing.T) *Mesh {
	m := New(t)
	m.StopWorker = m.Work(echo.Agent())
	m.Notify()
	return m
}

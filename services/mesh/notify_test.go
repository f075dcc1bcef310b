package main

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/worker/agents/echo"
)

// action accepts an action and returns its id.
func (m *mesh) action(body string, headers ...string) string {
	m.t.Helper()
	w := m.do("POST", "/actions", body, headers...)
	if w.Code != http.StatusAccepted {
		m.t.Fatalf("POST /actions = %d %s", w.Code, w.Body)
	}
	return decode[api.AcceptedAction](m.t, w.Body).ActionID
}

// deliveries lists what was sent of an action.
func (m *mesh) deliveries(id string) []gateway.Delivery {
	m.t.Helper()
	w := m.do("GET", "/actions/"+id+"/deliveries", "")
	if w.Code != http.StatusOK {
		m.t.Fatalf("GET deliveries = %d %s", w.Code, w.Body)
	}
	return decode[gateway.DeliveryList](m.t, w.Body).Deliveries
}

// Initiate and call back: 202 with the action, and the signed outcome at the
// callback.
func TestInitiateAndCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		m.notify()
		r := m.receive(nil)
		w := m.do("POST", "/actions", `{"agent":"echo","instruction":"book a flight","input":{"a":1},"callback_url":"`+r.url+`"}`)
		got := decode[api.AcceptedAction](t, w.Body)
		if w.Code != 202 || got.Status != "initiated" || got.Message != "Processing your request. We'll notify you at the provided callback URL." ||
			got.StatusURL != "/actions/"+got.ActionID || w.Header().Get("Location") != got.StatusURL {
			t.Fatalf("POST /actions = %d %+v", w.Code, got)
		}
		time.Sleep(time.Second)
		all := r.all()
		if len(all) != 1 {
			t.Fatalf("%d requests at the callback, want 1", len(all))
		}
		v := all[0].json()
		if v["type"] != "action.completed" || v["action_id"] != got.ActionID || v["status"] != "completed" || v["timestamp"] == nil || v["result"] == nil || v["task_id"] != nil {
			t.Errorf("body = %s", all[0].body)
		}
		verify(t, all[0], m.callbackSecret())
		if trace, _ := v["trace_id"].(string); trace == "" || !strings.Contains(all[0].header.Get("Traceparent"), trace) {
			t.Errorf("trace %q, traceparent %q", trace, all[0].header.Get("Traceparent"))
		}
		ds := m.deliveries(got.ActionID)
		if len(ds) != 1 || ds[0].Status != "delivered" || ds[0].DeliveryID != all[0].id() || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].StatusCode != 200 {
			t.Errorf("deliveries = %+v", ds)
		}
		if v := decode[api.Task](t, m.do("GET", "/actions/"+got.ActionID, "").Body); v.ActionID != got.ActionID || v.Status != "completed" {
			t.Errorf("GET action = %+v", v)
		}
	})
}

// A repeated request with the same key makes one action and one callback; an
// action that was retried calls back too; cancel tells as well.
func TestActionLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(nil)
		body := `{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`
		first := m.do("POST", "/actions", body, "Idempotency-Key", "k")
		again := m.do("POST", "/actions", body, "Idempotency-Key", "k")
		if first.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("answers %s and %s", first.Body, again.Body)
		}
		// To wait for it is possible too.
		w := m.do("POST", "/actions", body, "Prefer", "wait=10")
		if v := decode[api.Task](t, w.Body); w.Code != 200 || v.Status != "completed" || v.ActionID == "" || v.CallbackURL != r.url {
			t.Errorf("waited: %d %+v", w.Code, v)
		}
		later := m.action(`{"agent":"echo","instruction":"x","delay":"1h","callback_url":"` + r.url + `"}`)
		if v := decode[api.Task](t, m.do("GET", "/actions/"+later, "").Body); v.Status != "initiated" || v.StatusURL != "/actions/"+later {
			t.Errorf("pending action = %+v", v)
		}
		if w := m.do("POST", "/actions/"+later+"/redeliver", ""); w.Code != 409 || problem(t, w).Code != "nothing_to_redeliver" {
			t.Errorf("redeliver before the end = %d %s", w.Code, w.Body)
		}
		m.do("POST", "/actions/"+later+"/cancel", "")
		retried := decode[api.AcceptedAction](t, m.do("POST", "/actions/"+later+"/retry", "").Body)
		if retried.RetriedFrom != later || retried.Status != "initiated" {
			t.Errorf("retry = %+v", retried)
		}
		time.Sleep(time.Minute)
		types := map[string]int{}
		for _, got := range r.all() {
			types[got.json()["type"].(string)]++
		}
		if types["action.completed"] != 3 || types["action.canceled"] != 1 || len(r.all()) != 4 {
			t.Errorf("told %v", types)
		}
		// Redelivering an action sends its callback again, with the same id.
		if w := m.do("POST", "/actions/"+retried.ActionID+"/redeliver", ""); w.Code != 202 {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if all := r.all(); len(all) != 5 || m.deliveries(retried.ActionID)[0].DeliveryID != all[4].id() {
			t.Errorf("%d requests", len(all))
		}
	})
}

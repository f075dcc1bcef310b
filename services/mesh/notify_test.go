package main

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/worker/agents/echo"
)

// action accepts an action and returns its id.
func (m *mesh) action(body string, headers ...string) string {
	m.t.Helper()
	w := m.do("POST", "/actions", body, headers...)
	if w.Code != http.StatusAccepted {
		m.t.Fatalf("POST /actions = %d %s", w.Code, w.Body)
	}
	return decode[gateway.AcceptedAction](m.t, w.Body).ActionID
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

// The pattern of the design: 202 with the action, and the signed outcome at the
// callback.
func TestInitiateAndCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		m.notify()
		r := m.receive(nil)
		w := m.do("POST", "/actions", `{"agent":"echo","instruction":"book a flight","input":{"a":1},"callback_url":"`+r.url+`"}`)
		got := decode[gateway.AcceptedAction](t, w.Body)
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
		ds := m.deliveries(got.ActionID)
		if len(ds) != 1 || ds[0].Status != "delivered" || ds[0].DeliveryID != all[0].id() || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].StatusCode != 200 {
			t.Errorf("deliveries = %+v", ds)
		}
		if v := decode[gateway.Task](t, m.do("GET", "/actions/"+got.ActionID, "").Body); v.ActionID != got.ActionID || v.Status != "completed" {
			t.Errorf("GET action = %+v", v)
		}
	})
}

package notifier_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// Initiate and call back: 202 with the action, and the signed outcome at the
// callback.
func TestAnActionCallsBackWithItsSignedOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Notify()
		r := m.Receive(nil)
		w := m.Do("POST", "/actions", `{"agent":"echo","instruction":"book a flight","input":{"a":1},"callback_url":"`+r.URL+`"}`)
		got := meshtest.Decode[api.AcceptedAction](t, w.Body)
		if w.Code != 202 || got.Status != "initiated" || got.Message != "Processing your request. We'll notify you at the provided callback URL." ||
			got.StatusURL != "/actions/"+got.ActionID || w.Header().Get("Location") != got.StatusURL {
			t.Fatalf("POST /actions = %d %+v", w.Code, got)
		}
		time.Sleep(time.Second)
		all := r.All()
		if len(all) != 1 {
			t.Fatalf("%d requests at the callback, want 1", len(all))
		}
		v := all[0].JSON()
		if v["type"] != "action.completed" || v["action_id"] != got.ActionID || v["status"] != "completed" || v["timestamp"] == nil || v["result"] == nil || v["task_id"] != nil {
			t.Errorf("body = %s", all[0].Body)
		}
		meshtest.Verify(t, all[0], m.CallbackSecret())
		if trace, _ := v["trace_id"].(string); trace == "" || !strings.Contains(all[0].Header.Get("Traceparent"), trace) {
			t.Errorf("trace %q, traceparent %q", trace, all[0].Header.Get("Traceparent"))
		}
		ds := m.Deliveries(got.ActionID)
		if len(ds) != 1 || ds[0].Status != "delivered" || ds[0].DeliveryID != all[0].ID() || len(ds[0].Attempts) != 1 || ds[0].Attempts[0].StatusCode != 200 {
			t.Errorf("deliveries = %+v", ds)
		}
		if v := meshtest.Decode[api.Task](t, m.Do("GET", "/actions/"+got.ActionID, "").Body); v.ActionID != got.ActionID || v.Status != "completed" {
			t.Errorf("GET action = %+v", v)
		}
	})
}

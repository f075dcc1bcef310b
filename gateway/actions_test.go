package gateway_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// A repeated request with the same key makes one action and one callback; an
// action that was retried calls back too; cancel tells as well.
func TestARepeatedActionIsOneAndCallsBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		r := m.Receive(nil)
		body := `{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`
		first := m.Do("POST", "/actions", body, "Idempotency-Key", "k")
		again := m.Do("POST", "/actions", body, "Idempotency-Key", "k")
		if first.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("answers %s and %s", first.Body, again.Body)
		}
		// To wait for it is possible too.
		w := m.Do("POST", "/actions", body, "Prefer", "wait=10")
		if v := meshtest.Decode[api.Task](t, w.Body); w.Code != 200 || v.Status != "completed" || v.ActionID == "" || v.CallbackURL != r.URL {
			t.Errorf("waited: %d %+v", w.Code, v)
		}
		later := m.Action(`{"agent":"echo","instruction":"x","delay":"1h","callback_url":"` + r.URL + `"}`)
		if v := meshtest.Decode[api.Task](t, m.Do("GET", "/actions/"+later, "").Body); v.Status != "initiated" || v.StatusURL != "/actions/"+later {
			t.Errorf("pending action = %+v", v)
		}
		if w := m.Do("POST", "/actions/"+later+"/redeliver", ""); w.Code != 409 || meshtest.Problem(t, w).Code != "nothing_to_redeliver" {
			t.Errorf("redeliver before the end = %d %s", w.Code, w.Body)
		}
		m.Do("POST", "/actions/"+later+"/cancel", "")
		retried := meshtest.Decode[api.AcceptedAction](t, m.Do("POST", "/actions/"+later+"/retry", "").Body)
		if retried.RetriedFrom != later || retried.Status != "initiated" {
			t.Errorf("retry = %+v", retried)
		}
		time.Sleep(time.Minute)
		types := map[string]int{}
		for _, got := range r.All() {
			types[got.JSON()["type"].(string)]++
		}
		if types["action.completed"] != 3 || types["action.canceled"] != 1 || len(r.All()) != 4 {
			t.Errorf("told %v", types)
		}
		// Redelivering an action sends its callback again, with the same id.
		if w := m.Do("POST", "/actions/"+retried.ActionID+"/redeliver", ""); w.Code != 202 {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if all := r.All(); len(all) != 5 || m.Deliveries(retried.ActionID)[0].DeliveryID != all[4].ID() {
			t.Errorf("%d requests", len(all))
		}
	})
}

// What an action has come to is told as it is: how many deliveries were looked at, and
// whether there is a result to wait for.
func TestWhatIsNotThereIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Notify()
		receiver := m.Receive(nil)
		done := m.Create(`{"agent":"echo","input":1,"callback_url":"` + receiver.URL + `"}`)
		m.End(done)
		time.Sleep(time.Minute)
		if list := meshtest.Decode[api.DeliveryList](t, m.Do("GET", "/tasks/"+done+"/deliveries", "").Body); len(list.Deliveries) != 1 || list.Scanned != 1 {
			t.Errorf("%d deliveries of %d that were looked at", len(list.Deliveries), list.Scanned)
		}
		later := m.Create(`{"agent":"echo","input":1,"delay":"1h"}`)
		ask := func() string {
			p := meshtest.Problem(t, m.Do("GET", "/tasks/"+later+"/result", ""))
			if p.Code != "result_not_ready" {
				t.Errorf("%+v", p)
			}
			return p.Detail
		}
		if got := ask(); !strings.Contains(got, "Prefer: wait") {
			t.Errorf("a task that goes on: %s", got)
		}
		m.Do("POST", "/tasks/"+later+"/cancel", "")
		if got := ask(); strings.Contains(got, "wait") || !strings.Contains(got, "canceled") {
			t.Errorf("a task that has ended: %s", got)
		}
	})
}

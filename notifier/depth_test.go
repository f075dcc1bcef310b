package notifier_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// A relay that answers each failure with a retry makes a chain of events, which
// gets deeper with every event, and ends.
func TestAChainOfEventsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Notify()
		refused := make(chan string, 32)
		r := m.Receive(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get("Webhook-Id")
			if id == "" || r.Header.Get("Mesh-Event-Depth") == "" {
				t.Errorf("no depth in %v", r.Header)
			}
			d := meshtest.Decode[api.Delivery](t, m.Do("GET", "/deliveries/"+id, "").Body)
			got := m.Do("POST", "/tasks/"+d.TaskID+"/retry", "", "Mesh-Event-Depth", r.Header.Get("Mesh-Event-Depth"))
			if got.Code == http.StatusUnprocessableEntity {
				refused <- meshtest.Problem(t, got).Code
			}
			w.WriteHeader(http.StatusOK)
		})
		m.Subscribe(`{"url":"` + r.URL + `","events":["task.failed"]}`)
		m.End(m.Create(`{"agent":"echo","input":{"echo_fail_permanent":"x"}}`))
		time.Sleep(time.Minute)
		all := r.All()
		if len(all) != 17 || len(refused) != 1 {
			t.Fatalf("%d events, %d refused", len(all), len(refused))
		}
		if code := <-refused; code != "event_chain_too_deep" {
			t.Errorf("refused as %s", code)
		}
		for i, got := range all {
			if depth := got.Header.Get("Mesh-Event-Depth"); depth != strconv.Itoa(i+1) {
				t.Errorf("event %d has the depth %s", i, depth)
			}
		}
	})
}

// Every POST refuses a chain that is too deep, or says nonsense of it, and what is
// made on the way carries its depth: tasks, children, retries, turns.
func TestEachPostKeepsTheDepthOfItsChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		session := meshtest.Decode[api.Session](t, m.Do("POST", "/sessions", `{"agent":"echo"}`).Body).SessionID
		id := m.Create(`{"agent":"echo","input":{"echo_delay":"1m"}}`, "Mesh-Event-Depth", "7")
		time.Sleep(time.Second)
		child := m.Create(`{"agent":"echo","input":{"echo_fail_permanent":"x"}}`, "Mesh-Parent-Task", id)
		m.End(child)
		retried := meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks/"+child+"/retry", "").Body).TaskID
		turn := meshtest.Decode[api.TurnReply](t, m.Do("POST", "/sessions/"+session+"/messages", `{"text":"x"}`, "Mesh-Event-Depth", "16").Body).TurnID
		slow := m.Do("POST", "/sessions/"+session+"/messages", `{"text":"{\"echo_delay\":\"2s\"}"}`, "Prefer", "respond-async")
		queued := meshtest.Decode[api.AcceptedTurn](t, m.Do("POST", "/sessions/"+session+"/messages", `{"text":"x","on_busy":"wait"}`, "Prefer", "respond-async", "Mesh-Event-Depth", "5").Body).TurnID
		if slow.Code != http.StatusAccepted || queued == "" {
			t.Fatalf("messages = %d %s, %q", slow.Code, slow.Body, queued)
		}
		time.Sleep(time.Minute)
		m.End(id)
		for id, want := range map[string]int{id: 7, child: 7, retried: 7, turn: 16, queued: 5} {
			if got := m.Record(id).EventDepth; got != want {
				t.Errorf("%s has the depth %d, want %d", id, got, want)
			}
		}
		for _, path := range []string{"/tasks", "/actions", "/tasks/" + child + "/retry", "/tasks/" + id + "/cancel", "/sessions", "/sessions/" + session + "/messages", "/webhooks"} {
			for _, depth := range []string{"17", "-1", "x", "99999999999999999999"} {
				w := m.Do("POST", path, `{"agent":"echo","input":1}`, "Mesh-Event-Depth", depth)
				if w.Code != http.StatusUnprocessableEntity || meshtest.Problem(t, w).Code != "event_chain_too_deep" {
					t.Errorf("POST %s with the depth %s = %d %s", path, depth, w.Code, w.Body)
				}
			}
		}
	})
}

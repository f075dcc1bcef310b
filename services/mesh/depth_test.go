package main

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/worker/agents/echo"
)

// A relay that answers each failure with a retry makes a chain of events, which
// gets deeper with every event, and ends.
func TestChainOfEventsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		m.notify()
		var refused []string
		r := m.receive(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get("Webhook-Id")
			if id == "" || r.Header.Get("Mesh-Event-Depth") == "" {
				t.Errorf("no depth in %v", r.Header)
			}
			d := decode[gateway.Delivery](t, m.do("GET", "/deliveries/"+id, "").Body)
			got := m.do("POST", "/tasks/"+d.TaskID+"/retry", "", "Mesh-Event-Depth", r.Header.Get("Mesh-Event-Depth"))
			if got.Code == http.StatusUnprocessableEntity {
				refused = append(refused, problem(t, got).Code)
			}
			w.WriteHeader(http.StatusOK)
		})
		m.subscribe(`{"url":"` + r.url + `","events":["task.failed"]}`)
		m.end(m.create(`{"agent":"echo","input":{"echo_fail_permanent":"x"}}`))
		time.Sleep(time.Minute)
		all := r.all()
		if len(all) != 17 || len(refused) != 1 || refused[0] != "event_chain_too_deep" {
			t.Errorf("%d events, refused %v", len(all), refused)
		}
		for i, got := range all {
			if depth := got.header.Get("Mesh-Event-Depth"); depth != strconv.Itoa(i+1) {
				t.Errorf("event %d has the depth %s", i, depth)
			}
		}
	})
}

// Every POST refuses a chain that is too deep, or says nonsense of it, and what is
// made on the way carries its depth: tasks, children, retries, turns.
func TestDepthOfEventsIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent())
		session := decode[api.Session](t, m.do("POST", "/sessions", `{"agent":"echo"}`).Body).SessionID
		id := m.create(`{"agent":"echo","input":{"echo_delay":"1m"}}`, "Mesh-Event-Depth", "7")
		time.Sleep(time.Second)
		child := m.create(`{"agent":"echo","input":{"echo_fail_permanent":"x"}}`, "Mesh-Parent-Task", id)
		m.end(child)
		retried := decode[api.Accepted](t, m.do("POST", "/tasks/"+child+"/retry", "").Body).TaskID
		turn := decode[api.TurnReply](t, m.do("POST", "/sessions/"+session+"/messages", `{"text":"x"}`, "Mesh-Event-Depth", "16").Body).TurnID
		slow := m.do("POST", "/sessions/"+session+"/messages", `{"text":"{\"echo_delay\":\"2s\"}"}`, "Prefer", "respond-async")
		queued := decode[api.AcceptedTurn](t, m.do("POST", "/sessions/"+session+"/messages", `{"text":"x","on_busy":"wait"}`, "Prefer", "respond-async", "Mesh-Event-Depth", "5").Body).TurnID
		if slow.Code != http.StatusAccepted || queued == "" {
			t.Fatalf("messages = %d %s, %q", slow.Code, slow.Body, queued)
		}
		time.Sleep(time.Minute)
		m.end(id)
		for id, want := range map[string]int{id: 7, child: 7, retried: 7, turn: 16, queued: 5} {
			if got := m.record(id).EventDepth; got != want {
				t.Errorf("%s has the depth %d, want %d", id, got, want)
			}
		}
		for _, path := range []string{"/tasks", "/actions", "/tasks/" + child + "/retry", "/tasks/" + id + "/cancel", "/sessions", "/sessions/" + session + "/messages", "/webhooks"} {
			for _, depth := range []string{"17", "-1", "x", "99999999999999999999"} {
				w := m.do("POST", path, `{"agent":"echo","input":1}`, "Mesh-Event-Depth", depth)
				if w.Code != http.StatusUnprocessableEntity || problem(t, w).Code != "event_chain_too_deep" {
					t.Errorf("POST %s with the depth %s = %d %s", path, depth, w.Code, w.Body)
				}
			}
		}
	})
}

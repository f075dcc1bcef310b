package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/api"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

func (g *guarded) tasks(m *meshtest.Mesh) {
	large := `"` + strings.Repeat("y", store.InlineLimit) + `"`
	for name, body := range map[string]string{
		"plain": `{"agent":"alpha","instruction":"x"}`, "retried": `{"agent":"alpha","instruction":"fail once"}`,
		"scheduled": `{"agent":"alpha","instruction":"x","delay":"300ms"}`, "a parent": `{"agent":"alpha","instruction":"call"}`,
		"large": `{"agent":"alpha","input":{"text":` + large + `}}`,
	} {
		id := m.Create(body, "Idempotency-Key", strconv.FormatInt(time.Now().UnixNano(), 10))
		v := m.End(id)
		if v.Status != "completed" {
			g.t.Errorf("%s: %+v %+v", name, v, v.Error)
		}
		for _, path := range []string{"", "/result", "/input", "/events?limit=1"} {
			if w := m.Do("GET", "/tasks/"+id+path, "", "Accept", "application/json"); w.Code >= 500 {
				g.t.Errorf("GET %s of %s = %d %s", path, name, w.Code, meshtest.Clipped(w.Body.Bytes()))
			}
		}
	}
	running, scheduled := m.Create(`{"agent":"alpha","instruction":"hang"}`), m.Create(`{"agent":"alpha","instruction":"x","delay":"1h"}`)
	natstest.Until(g.t, "it hangs", func() bool { return m.Get(running).Status == "processing" })
	if w := m.Do("POST", "/tasks", `{"agent":"beta","input":1}`, "Mesh-Parent-Task", running); w.Code != http.StatusAccepted {
		g.t.Errorf("child = %d %s", w.Code, w.Body)
	}
	srv, _ := m.Serve()
	events, done := meshtest.FollowTask(g.t, srv.URL, running, "")
	<-events
	done()
	for _, id := range []string{running, scheduled} {
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			g.t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
	}
	natstest.Until(g.t, "its agent has ended", func() bool { return !m.Record(running).StoppedAt.IsZero() })
	if w := m.Do("POST", "/tasks/"+scheduled+"/retry", ""); w.Code != http.StatusAccepted {
		g.t.Errorf("retry = %d %s", w.Code, w.Body)
	}
}

// told has an agent keep a step through the gateway.
func (g *guarded) told(m *meshtest.Mesh) {
	running := m.Create(`{"agent":"alpha","instruction":"hang"}`)
	var lease any
	natstest.Until(g.t, "its agent has a lease", func() (ok bool) { lease, ok = g.leases.Load(running); return ok })
	if w := m.Do("POST", "/tasks/"+running+"/steps", `{"type":"step","name":"told","value":1}`, meshtest.As(lease.(string))...); w.Code != http.StatusCreated {
		g.t.Errorf("step = %d %s", w.Code, w.Body)
	}
	m.Do("POST", "/tasks/"+running+"/cancel", "")
}

func (g *guarded) sessions(m *meshtest.Mesh) {
	id := m.Session("alpha")
	srv, _ := m.Serve()
	events, done := meshtest.FollowSession(g.t, srv.URL, id, "")
	for i := range 4 { // over the window: messages leave the record
		if v := m.Say(http.StatusOK, id, strings.Repeat("word ", 200)); !strings.HasPrefix(v.Message, strconv.Itoa(i+1)) {
			g.t.Errorf("turn %d: %+v", i+1, v)
		}
	}
	post := func(text, onBusy string) string { // the answer may come before the turn has ended, or after
		w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"`+text+`","on_busy":"`+onBusy+`"}`, "Prefer", "respond-async")
		if w.Code != http.StatusAccepted && w.Code != http.StatusOK {
			g.t.Fatalf("message = %d %s", w.Code, meshtest.Clipped(w.Body.Bytes()))
		}
		return meshtest.Decode[meshtest.TurnView](g.t, w.Body).TurnID
	}
	var turns []string
	for range 5 {
		turns = append(turns, post(strings.Repeat("long", 2<<10), "wait"))
	}
	m.Do("POST", "/sessions/"+id+"/turns/"+turns[3]+"/cancel", "")
	post("now", "interrupt")
	m.Idle(id)
	<-events // of the first turns, at least
	done()
	for _, path := range []string{"", "/messages", "/turns/" + turns[0]} {
		if w := m.Do("GET", "/sessions/"+id+path, ""); w.Code != http.StatusOK {
			g.t.Errorf("GET %s = %d %s", path, w.Code, w.Body)
		}
	}
	if w := m.Do("DELETE", "/sessions/"+id, ""); w.Code >= 400 {
		g.t.Errorf("DELETE session = %d %s", w.Code, w.Body)
	}
}

func (g *guarded) callbacks(m *meshtest.Mesh) {
	good, bad := m.Receive(nil), m.Receive(meshtest.Answer(http.StatusGone)) // which disables a webhook
	hook, gone := m.Subscribe(`{"url":"`+good.URL+`"}`), m.Subscribe(`{"url":"`+bad.URL+`"}`)
	id := m.Action(`{"instruction":"x","agent":"alpha","callback_url":"` + good.URL + `"}`)
	natstest.Until(g.t, "callback and webhook have come", func() bool { return len(good.All()) >= 3 && len(bad.All()) >= 1 })
	if w := m.Do("POST", "/actions/"+id+"/redeliver", ""); w.Code >= 400 {
		g.t.Errorf("redeliver = %d %s", w.Code, w.Body)
	}
	natstest.Until(g.t, "the callbacks have come again", func() bool { return len(good.All()) >= 4 })
	natstest.Until(g.t, "the endpoint that is gone is disabled", func() bool {
		return strings.Contains(m.Do("GET", "/webhooks/"+gone.WebhookID, "").Body.String(), "disabled")
	})
	for _, one := range []struct{ method, path, body string }{
		{"POST", "/webhooks/" + hook.WebhookID + "/test", ""}, {"POST", "/webhooks/" + hook.WebhookID + "/rotate-secret", ""},
		{"GET", "/deliveries?status=dead", ""}, {"GET", "/webhooks", ""}, {"PATCH", "/webhooks/" + hook.WebhookID, `{"enabled":false}`},
		{"DELETE", "/webhooks/" + hook.WebhookID, ""}, {"DELETE", "/webhooks/" + gone.WebhookID, ""}, {"GET", "/actions/" + id + "/deliveries", ""},
	} {
		if w := m.Do(one.method, one.path, one.body, "Content-Type", "application/json"); w.Code >= 400 {
			g.t.Errorf("%s %s = %d %s", one.method, one.path, w.Code, w.Body)
		}
	}
	failing := m.Receive(meshtest.Answer(http.StatusInternalServerError))
	id = m.Action(`{"instruction":"x","agent":"alpha","callback_url":"` + failing.URL + `"}`)
	natstest.Until(g.t, "an attempt is scheduled", func() bool {
		all := m.Deliveries(id)
		return len(all) > 0 && len(all[0].Attempts) > 0
	})
	if w := m.Do("POST", "/deliveries/"+m.Deliveries(id)[0].DeliveryID+"/redeliver", ""); w.Code >= 400 {
		g.t.Errorf("redeliver = %d %s", w.Code, w.Body)
	}
	all := meshtest.Decode[api.DeliveryList](g.t, m.Do("GET", "/deliveries", "").Body)
	if len(all.Deliveries) == 0 {
		g.t.Error("no deliveries are listed")
	}
}

// pushes has a receiver of A2A told of a task.
func (g *guarded) pushes(m *meshtest.Mesh) {
	told := m.Receive(nil)
	ask := func(method, params string) string {
		w := m.Do("POST", "/agents/alpha/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, "A2A-Version", "1.0")
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"error"`) {
			g.t.Errorf("%s = %d %s", method, w.Code, w.Body)
		}
		return w.Body.String()
	}
	ask("SendMessage", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},"configuration":{"taskPushNotificationConfig":{"id":"p","url":"`+told.URL+`"}}}`)
	var sent []api.Delivery
	natstest.Until(g.t, "the receiver is told, and that is on record", func() bool {
		sent = m.DeliveriesBy("type=a2a.status")
		return len(told.All()) > 0 && len(sent) > 0
	})
	id := sent[0].TaskID
	ask("ListTaskPushNotificationConfigs", `{"taskId":"`+id+`"}`)
	ask("DeleteTaskPushNotificationConfig", `{"taskId":"`+id+`","id":"p"}`)
}

// leftovers are what clients do while no worker runs.
func (g *guarded) leftovers(m *meshtest.Mesh) {
	id := m.Session("alpha")
	w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`, "Prefer", "respond-async")
	turn := meshtest.Decode[meshtest.TurnView](g.t, w.Body).TurnID
	for _, one := range [][2]string{{"POST", "/sessions/" + id + "/turns/" + turn + "/cancel"}, {"POST", "/agents/alpha/pause"}, {"POST", "/agents/alpha/resume"}, {"DELETE", "/agents/beta"}} {
		if w := m.Do(one[0], one[1], ""); w.Code >= 400 {
			g.t.Errorf("%s %s = %d %s", one[0], one[1], w.Code, w.Body)
		}
	}
}

// asks asks for everything that there is once by each route that needs no id.
func (g *guarded) asks(m *meshtest.Mesh) {
	for _, path := range []string{"/tasks", "/tasks?status=pending", "/tasks?order=created", "/agents", "/agents/alpha", "/sessions", "/stats", "/stats/history", "/keys", "/audit", "/audit?action=tenant.delete", "/audit?before=2026-01-01T00:00:00Z", "/readyz"} {
		if w := m.Do("GET", path, ""); w.Code != http.StatusOK {
			g.t.Errorf("GET %s = %d %s", path, w.Code, meshtest.Clipped(w.Body.Bytes()))
		}
	}
	acme := &tenant.Tenant{Name: "acme"}
	err := m.Store.Tenants.Save(g.t.Context(), acme)
	if err == nil {
		acme, err = m.Store.Tenants.Get(g.t.Context(), "acme")
	}
	if err == nil {
		err = m.Store.Tenants.Delete(g.t.Context(), acme)
	}
	if err != nil {
		g.t.Errorf("tenant: %v", err)
	}
	if w := m.Do("POST", "/keys", `{"tenant":"default","scopes":["tasks:read"]}`); w.Code != http.StatusCreated {
		g.t.Errorf("POST /keys = %d %s", w.Code, w.Body)
	} else {
		m.Do("DELETE", "/keys/"+meshtest.Decode[struct {
			KeyID string `json:"key_id"`
		}](g.t, w.Body).KeyID, "")
	}
	m.Do("DELETE", "/agents/none", "")
	if w := m.Do("GET", "/tasks/"+m.Create(`{"agent":"alpha","instruction":"x"}`)+"/deliveries", ""); w.Code != http.StatusOK {
		g.t.Errorf("GET deliveries of a task = %d %s", w.Code, w.Body)
	}
	srv, _ := m.Serve()
	ctx, cancel := context.WithTimeout(g.t.Context(), 300*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events", nil)
	req.Header.Set("Last-Event-ID", "1")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		if resp.StatusCode != http.StatusOK {
			g.t.Errorf("GET /events = %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	if err := core.NewReconciler(m.Store, "test", meshtest.Quiet()).Look(g.t.Context()); err != nil {
		g.t.Errorf("reconciler: %v", err)
	}
}

// journals is what becomes of steps: of one task that ends, and of one whose worker
// has died.
func (g *guarded) journals(m *meshtest.Mesh) {
	if v := m.End(m.Create(`{"agent":"alpha","instruction":"step"}`)); v.Status != "completed" {
		g.t.Errorf("steps: %+v %+v", v, v.Error)
	}
	id := task.NewID(task.KindTask, uuid.Must(uuid.NewV7()))
	if _, err := m.Store.Steps.Append(g.t.Context(), "default", id, &task.Entry{Kind: task.EntryStep, Name: "left"}, 0); err != nil {
		g.t.Error(err)
	}
	entries, err := m.Store.Steps.Read(g.t.Context(), "default", id, 0)
	if err == nil {
		err = m.Store.Steps.Purge(g.t.Context(), "default", id, 0)
	}
	if err != nil || len(entries) != 1 {
		g.t.Errorf("%d entries, %v", len(entries), err)
	}
}

// upkeep is what roles do beside their work.
func (g *guarded) upkeep(m *meshtest.Mesh, w *worker.Worker, alpha agent.Agent) {
	alpha.MaxInFlight, alpha.Version = 7, "2.0.0"
	if err := w.Reload(g.t.Context(), []agent.Agent{alpha}); err != nil {
		g.t.Error(err)
	}
	js, err := jetstream.New(m.NC)
	if err != nil {
		g.t.Fatal(err)
	}
	for stream, durable := range map[string]string{topology.Tasks: topology.AgentDurable("beta"), topology.Deliveries: topology.DeliverDurable} {
		if err := js.DeleteConsumer(g.t.Context(), stream, durable); err != nil {
			g.t.Fatal(err)
		}
		natstest.Until(g.t, durable+" is made again", func() bool {
			_, err := js.Consumer(g.t.Context(), stream, durable)
			return err == nil
		})
	}
	other := meshtest.Named("alpha", meshtest.Says("another"))
	other.Description, other.Version = "another", "2.0.0"
	_, stop := g.work("worker.one", other)
	stop()
	secrets := g.look(topology.NotifierUser).Secrets
	if _, err := secrets.Shared(g.t.Context(), func() string { return "a key" }); err != nil {
		g.t.Error(err)
	}
	print := strconv.FormatInt(time.Now().UnixNano(), 16)
	if err := secrets.Adopt(g.t.Context(), []string{print}, true, func(*webhook.Endpoint) bool { return true }); err != nil {
		g.t.Error(err)
	}
	for _, user := range []string{topology.GatewayUser, "worker.one", topology.NotifierUser} {
		st := g.look(user)
		err := st.Registry.AnnounceListeners(g.t.Context(), "test", store.Listeners{Host: "h"})
		if err == nil && !strings.HasPrefix(user, "worker.") {
			_, err = st.Registry.Listeners(g.t.Context())
		}
		if err == nil {
			err = st.Registry.WithdrawListeners(g.t.Context(), "test")
		}
		if err != nil {
			g.t.Errorf("%s: %v", user, err)
		}
	}
	if v := m.End(m.Create(`{"agent":"alpha","instruction":"x"}`)); v.Status != "completed" {
		g.t.Errorf("after it all: %+v", v.Error)
	}
}

func (g *guarded) schedules(m *meshtest.Mesh) {
	asJSON := []string{"Content-Type", "application/json"}
	const path = "/schedules/often"
	told := m.Receive(nil)
	hook := m.Subscribe(`{"url":"` + told.URL + `","events":["schedule.paused"]}`)
	if w := m.Do("PUT", path, `{"every":"1s","overlap":"allow","task":{"agent":"alpha","instruction":"x"}}`, asJSON...); w.Code != http.StatusCreated {
		g.t.Fatalf("schedule = %d %s", w.Code, w.Body)
	}
	natstest.Until(g.t, "it has started a task", func() bool {
		return strings.Contains(m.Do("GET", path+"/runs", "").Body.String(), `"fired"`)
	})
	ask := func(method, path string) {
		if w := m.Do(method, path, ""); w.Code >= 300 {
			g.t.Errorf("%s %s = %d %s", method, path, w.Code, w.Body)
		}
	}
	ask("POST", path+"/pause")
	natstest.Until(g.t, "its pause is told", func() bool { return len(told.All()) == 1 })
	ask("GET", "/schedules")
	ask("DELETE", path)
	ask("DELETE", "/webhooks/"+hook.WebhookID)
}

func (g *guarded) hooks(m *meshtest.Mesh) {
	w := m.Do("POST", "/hooks", `{"verify":{"style":"token","header":"X-Token","id":"none","secrets":["s"]},"session":{"agent":"alpha","key":"/k","text":"/t"}}`)
	if w.Code != http.StatusCreated {
		g.t.Fatalf("hook = %d %s", w.Code, w.Body)
	}
	path := w.Header().Get("Location")
	if w := m.Do("POST", path, `{"k":"a","t":"hi"}`, "X-Token", "s"); w.Code != http.StatusAccepted {
		g.t.Errorf("delivery = %d %s", w.Code, w.Body)
	}
	for _, w := range []*httptest.ResponseRecorder{m.Do("POST", path+"/pause", ""), m.Do("GET", "/hooks", ""), m.Do("GET", path+"/recent", ""), m.Do("DELETE", path, "")} {
		if w.Code >= 300 {
			g.t.Errorf("hooks = %d %s", w.Code, w.Body)
		}
	}
}

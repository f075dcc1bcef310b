package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/api"
	"agentmesh/shared/egress"
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

// guarded is a NATS server with the users of `mesh nats-users`, and what it did not
// let them do.
type guarded struct {
	t     *testing.T
	srv   *natstest.Server
	users []topology.Permissions

	mu     sync.Mutex
	denied []string
	used   map[string]map[string]bool // by user: what it has published to and subscribed to
}

// guard starts one with workers of the agents alpha and beta, and users who are told
// of the tenants default and other. The configuration is read as the server reads it.
func guard(t *testing.T) *guarded {
	t.Helper()
	users, err := natsUsers([]string{"one=alpha", "two=beta"}, []string{"default", "other"})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		t.Setenv(passwordOf(u.User), "pw-"+u.User)
	}
	t.Setenv(passwordOf("sys"), "pw-sys")
	var text strings.Builder
	writeNATSUsers(&text, users)
	file := filepath.Join(t.TempDir(), "users.conf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.StoreDir, opts.MaxPayload = t.TempDir(), maxPayload
	return &guarded{t: t, srv: natstest.StartWith(t, *opts), users: users, used: map[string]map[string]bool{}}
}

// as connects as a user, and notes what it may not do.
func (g *guarded) as(user string) *nats.Conn {
	g.t.Helper()
	return g.srv.Connect(g.t, nats.InProcessServer(&tap{g, user}), nats.UserInfo(user, "pw-"+user), nats.CustomInboxPrefix("_INBOX."+user), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.denied = append(g.denied, user+": "+err.Error())
		}))
}

// tap is the way of a user to the server, on which its subjects are noted.
type tap struct {
	g    *guarded
	user string
}

func (p *tap) InProcessConn() (net.Conn, error) {
	c, err := p.g.srv.InProcessConn()
	return &tapped{Conn: c, tap: p}, err
}

type tapped struct {
	net.Conn
	tap  *tap
	line []byte // the beginning of the one that is being written
}

func (c *tapped) Write(b []byte) (int, error) {
	for part := range bytes.Lines(b) {
		if c.line = append(c.line, part[:min(len(part), 512)]...); part[len(part)-1] == '\n' {
			c.tap.note(strings.Fields(string(c.line)))
			c.line = c.line[:0]
		}
	}
	return c.Conn.Write(b)
}

func (p *tap) note(fields []string) {
	if len(fields) < 3 || fields[0] != "PUB" && fields[0] != "HPUB" && fields[0] != "SUB" {
		return
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if p.g.used[p.user] == nil {
		p.g.used[p.user] = map[string]bool{}
	}
	p.g.used[p.user][strings.TrimPrefix(fields[0], "H")+" "+fields[1]] = true
}

// idle are the permissions of a user that nothing has used.
func (g *guarded) idle(u topology.Permissions) (left []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for verb, subjects := range map[string][]string{"PUB": u.Publish, "SUB": u.Subscribe} {
		for _, allowed := range subjects {
			used := false
			for one := range g.used[u.User] {
				subject, ok := strings.CutPrefix(one, verb+" ")
				used = used || ok && server.SubjectsCollide(subject, allowed)
			}
			if !used {
				left = append(left, verb+" "+allowed)
			}
		}
	}
	slices.Sort(left)
	return left
}

// settled fails the test if a role tried what it may not do.
func (g *guarded) settled(during string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.denied {
		g.t.Errorf("%s: %s", during, d)
	}
	g.denied = nil
}

func (g *guarded) look(user string) *store.Store {
	g.t.Helper()
	st, err := store.Look(g.t.Context(), g.as(user))
	if err != nil {
		g.t.Fatalf("%s: %v", user, err)
	}
	return st
}

// work starts a worker, which may be told to serve something else.
func (g *guarded) work(user string, agents ...agent.Agent) (w *worker.Worker, stop func()) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	w, err := worker.New(ctx, worker.Default(), g.look(user), agents, meshtest.Quiet())
	if err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Error(err)
		}
	})
	g.t.Cleanup(stop)
	return w, stop
}

// mesh starts a gateway and a notifier, until stop.
func (g *guarded) mesh() (m *meshtest.Mesh, stop func()) {
	g.t.Helper()
	m = &meshtest.Mesh{T: g.t, Server: g.srv, Hosts: meshtest.NewHosts(), NC: g.as(topology.AdminUser)}
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, m.Hosts).WithDial(m.Hosts.Dial)
	m.Keys = meshtest.RingOf(g.t, meshtest.TestKey)
	var err error
	if m.Store, err = store.Open(g.t.Context(), g.as(topology.GatewayUser), store.Options{Replicas: 1}); err != nil {
		g.t.Fatal(err)
	}
	m.Gateway = m.NewGateway(m.Store)
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Gateway.Run(ctx) }()
	stopNotifier := m.NotifyWith(g.look(topology.NotifierUser))
	return m, sync.OnceFunc(func() {
		stopNotifier()
		cancel()
		if err := <-ended; err != nil {
			g.t.Error(err)
		}
	})
}

// guardedAgents are those of the two workers: alpha fails at first when asked to,
// calls beta, gives back what it gets, and holds conversations.
func guardedAgents() (alpha, beta agent.Agent) {
	failed, talk := sync.Map{}, meshtest.Counter()
	alpha = meshtest.WithRetry(meshtest.Named("alpha", func(ctx context.Context, job *agent.Job) (any, error) {
		if job.Turn != nil {
			return talk.Handler(ctx, job)
		}
		job.Progress(50, "half")
		job.Output(strings.Repeat("text ", 10<<10))
		if err := job.Milestone(ctx, "seen", "", nil); err != nil {
			return nil, err
		}
		switch job.Instruction {
		case "fail once":
			if _, before := failed.LoadOrStore(job.TaskID, true); !before {
				return nil, fmt.Errorf("not yet")
			}
		case "hang":
			<-ctx.Done()
			return nil, context.Cause(ctx)
		case "call":
			return job.Call(ctx, "beta", json.RawMessage(`{"text":"`+strings.Repeat("x", store.InlineLimit)+`"}`))
		}
		return map[string]any{"input": job.Input}, nil
	}))
	alpha.History, alpha.MaxTranscript = task.HistoryWindow, 1024
	return alpha, meshtest.Named("beta", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
}

// Every role of a mesh does its whole work as the user that is made for it, and
// never tries what that user may not do.
func TestEachNATSUserDoesItsWholeWork(t *testing.T) {
	g := guard(t)
	early := g.srv.Connect(t, nats.UserInfo(topology.GatewayUser, "pw-"+topology.GatewayUser), nats.CustomInboxPrefix("_INBOX."+topology.GatewayUser))
	if _, err := store.Open(t.Context(), early, store.Options{Replicas: 1}); err == nil || !strings.Contains(err.Error(), "mesh init") {
		t.Errorf("a gateway without streams: %v", err)
	}
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	alpha, beta := guardedAgents()
	for _, life := range []string{"first", "after a restart"} {
		m, stop := g.mesh()
		w, stopOne := g.work("worker.one", alpha)
		_, stopTwo := g.work("worker.two", beta)
		g.settled(life + ": start")
		g.tasks(m)
		g.settled(life + ": tasks")
		g.sessions(m)
		g.settled(life + ": sessions")
		g.callbacks(m)
		g.settled(life + ": callbacks")
		g.asks(m)
		g.settled(life + ": the gateway's routes")
		g.upkeep(m, w, alpha)
		g.settled(life + ": upkeep")
		stopOne()
		stopTwo()
		g.leftovers(m)
		stop()
		g.settled(life + ": stop")
	}
	for _, u := range []topology.Permissions{topology.Gateway(), topology.Notifier(), topology.Worker("one", "alpha")} {
		for _, left := range g.idle(u) {
			if !slices.ContainsFunc(seldom, func(s string) bool { return strings.Contains(left, s) }) {
				t.Errorf("%s does not need %s", u.User, left)
			}
		}
	}
}

// seldom are permissions that a run of a few seconds does not need for certain.
var seldom = []string{
	"$JS.ACK.*.*.", "$JS.FC.", // other forms of a subject, pauses of those who are slow
	"$JS.API.CONSUMER.CREATE.MESH_T",                                    // an agent is removed while a task of it is accepted
	"mesh.deliveries.later.*",                                           // of the gateway: a delivery is asked for while its attempt ends
	"$KV.sessions.*.*.*", "mesh.control.cancel.*", "mesh.tasks.later.*", // of a worker: a waiting turn that a crash has left, a long backoff
	"mesh.tasks.bulk.", ".bulk-alpha.>", // nobody has that many tasks
	"$JS.API.STREAM.PURGE.KV_keys", "$KV.keys._used.", // keys that have ended, or that callers show
}

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

// leftovers are what clients do while no worker runs.
func (g *guarded) leftovers(m *meshtest.Mesh) {
	id := m.Session("alpha")
	w := m.Do("POST", "/sessions/"+id+"/messages", `{"text":"x"}`, "Prefer", "respond-async")
	turn := meshtest.Decode[meshtest.TurnView](g.t, w.Body).TurnID
	for _, one := range [][2]string{{"POST", "/sessions/" + id + "/turns/" + turn + "/cancel"}, {"DELETE", "/agents/beta"}} {
		if w := m.Do(one[0], one[1], ""); w.Code >= 400 {
			g.t.Errorf("%s %s = %d %s", one[0], one[1], w.Code, w.Body)
		}
	}
}

// asks asks for everything that there is once by each route that needs no id.
func (g *guarded) asks(m *meshtest.Mesh) {
	for _, path := range []string{"/tasks", "/tasks?status=pending", "/tasks?order=created", "/agents", "/agents/alpha", "/sessions", "/stats", "/keys", "/audit", "/audit?before=2026-01-01T00:00:00Z", "/readyz"} {
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

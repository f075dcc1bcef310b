package main

import (
	"context"
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

	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// may reports whether the server lets a user do something.
func (g *guarded) may(user, verb, subject string) bool {
	g.t.Helper()
	nc := g.srv.Connect(g.t, nats.UserInfo(user, "pw-"+user), nats.CustomInboxPrefix("_INBOX."+user), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	defer nc.Close()
	var err error
	if verb == "subscribe" {
		_, err = nc.SubscribeSync(subject)
	} else {
		err = nc.Publish(subject, []byte("not what is expected there"))
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	last := nc.LastError() // the server says so before it answers the flush
	return last == nil || !strings.Contains(last.Error(), strconv.Quote(subject))
}

// refuses fails the test for each subject that a user may use.
func (g *guarded) refuses(user, verb string, subjects ...string) {
	g.t.Helper()
	for _, s := range subjects {
		if g.may(user, verb, s) {
			g.t.Errorf("%s may %s %s", user, verb, s)
		}
	}
}

// No user may do what is another one's.
func TestNoNATSUserDoesWhatIsAnothers(t *testing.T) {
	g := guard(t)
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range g.users {
		names = append(names, u.User)
	}
	for _, user := range names {
		g.refuses(user, "subscribe", ">", "_INBOX.>", "$SYS.>", "$SYS.ACCOUNT.*.CONNECT", "$KV.>", "$O.>", "$JS.API.>", "$JS.>")
		g.refuses(user, "publish", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.$G.INFO", "anything") // of itself each may ask: mesh doctor
		for _, other := range names {
			if other != user {
				g.refuses(user, "subscribe", "_INBOX."+other+".>", "_INBOX."+other+".x.*")
			}
		}
		if user == topology.AdminUser {
			continue
		}
		g.refuses(user, "publish", "_INBOX.gateway.x", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.NAMES", "$JS.API.SERVER.REMOVE")
		for _, s := range topology.Streams(topology.Settings{Replicas: 1}) {
			for _, verb := range []string{"CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN"} {
				if !mayStream(user, verb, s.Name) {
					g.refuses(user, "publish", "$JS.API.STREAM."+verb+"."+s.Name)
				}
			}
			g.refuses(user, "publish", "$JS.API.CONSUMER.CREATE."+s.Name, "$JS.API.CONSUMER.CREATE."+s.Name+".x", "$JS.API.CONSUMER.DURABLE.CREATE."+s.Name+".x",
				"$JS.API.DIRECT.GET."+s.Name, "$JS.API.DIRECT.GET."+s.Name+".x")
			if pauses := user == topology.GatewayUser && (s.Name == topology.Tasks || s.Name == topology.Turns); !pauses { // agents, for an admin
				g.refuses(user, "publish", "$JS.API.CONSUMER.PAUSE."+s.Name+".x")
			}
		}
	}
}

// mayStream reports whether a user but the admin may do so with a stream.
func mayStream(user, verb, stream string) bool {
	switch verb {
	case "SNAPSHOT":
		return user == topology.BackupUser
	case "PURGE": // keys that have ended are forgotten, and journals of tasks that have
		ends := user == topology.GatewayUser || strings.HasPrefix(user, "worker")
		return stream == "KV_keys" && user == topology.GatewayUser || stream == topology.Steps && ends
	}
	return false
}

// A worker reads no input of an agent that it does not serve while that waits: not by
// the agent's consumer, nor by one of its own, nor by sequence or subject.
func TestAWorkersNATSUserReadsNoQueueOfOtherAgents(t *testing.T) {
	g := guard(t)
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	const user = "worker.one"
	for _, queue := range []string{topology.Tasks, topology.Turns} {
		beta, filter := topology.AgentDurable("beta"), topology.AgentReady
		if queue == topology.Turns {
			filter = topology.AgentTurns
		}
		alpha := "$JS.API.CONSUMER.CREATE." + queue + "." + topology.AgentDurable("alpha")
		g.refuses(user, "publish",
			"$JS.API.CONSUMER.MSG.NEXT."+queue+"."+beta, "$JS.API.CONSUMER.CREATE."+queue+"."+beta+"."+filter("beta"),
			"$JS.API.CONSUMER.DELETE."+queue+"."+beta, "$JS.API.CONSUMER.DELETE."+queue+"."+topology.AgentDurable("alpha"),
			alpha, alpha+"."+filter("beta"), alpha+"."+filter("*"), alpha+".>", alpha+".mesh.>", "$JS.API.CONSUMER.CREATE."+queue+".mine."+filter("alpha"),
			"$JS.API.STREAM.MSG.GET."+queue, "$JS.API.STREAM.MSG.DELETE."+queue,
			"$JS.ACK."+queue+"."+beta+".1.1.1.1.0", "$JS.ACK._.hash."+queue+"."+beta+".1.1.1.1.0.x")
	}
	bulk := topology.BulkDurable("beta")
	g.refuses(user, "publish", topology.PullSubject(topology.Tasks, bulk), "$JS.API.CONSUMER.CREATE.MESH_TASKS."+bulk+"."+topology.AgentBulk("beta"), "$JS.ACK.MESH_TASKS."+bulk+".1.1.1.1.0",
		topology.TaskBulk("default", "alpha", "tsk_x"))
	g.refuses(user, "publish", "$KV.agents.beta", topology.Turn("default", "beta", "ses_x"), "$KV.keys.x", "$KV.tenants.x", "$KV.idempotency.default.x",
		topology.Webhook("default", "whk_x"), topology.DeliveryDue("default", "dlv_x"), "mesh.audit.default.task.canceled", topology.TaskEvents("default", "tsk_x"))
	for _, s := range []string{topology.Deliveries, topology.Audit, "KV_webhooks", "KV_keys", "KV_tenants", "KV_idempotency", "KV_deliveries"} {
		g.refuses(user, "publish", "$JS.API.STREAM.MSG.GET."+s)
	}
	g.refuses(user, "subscribe", topology.AgentReady("beta"), topology.AgentReady("alpha"), "mesh.turns.>", "mesh.output.>", "mesh.deliveries.>", "mesh.audit.>")

	// And none comes to it: what waits for beta is beta's.
	m, stop := g.mesh()
	defer stop()
	_, stopBeta := g.work("worker.two", meshtest.Named("beta", func(_ context.Context, job *agent.Job) (any, error) { return job.Instruction, nil }))
	stopBeta()
	m.Create(`{"agent":"beta","instruction":"for beta only"}`)
	nc := g.as(user)
	inbox, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{topology.Tasks, topology.Turns} {
		for _, body := range []string{`{"seq":1}`, `{"last_by_subj":"` + topology.AgentReady("beta") + `"}`, `{"next_by_subj":">","seq":1}`} {
			_ = nc.PublishRequest("$JS.API.STREAM.MSG.GET."+s, inbox.Subject, []byte(body))
		}
		_ = nc.PublishRequest(topology.PullSubject(s, topology.AgentDurable("beta")), inbox.Subject, []byte(`{"batch":1,"no_wait":true}`))
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := inbox.Pending(); n != 0 {
		msg, _ := inbox.NextMsg(time.Second)
		t.Errorf("it was answered: %s", msg.Data)
	}
	if _, err := worker.New(t.Context(), worker.Default(), g.look(user), []agent.Agent{meshtest.Named("beta", nil)}, meshtest.Quiet()); err == nil {
		t.Error("it serves beta")
	}
	if _, err := worker.New(t.Context(), worker.Default(), g.look(user), []agent.Agent{meshtest.Named("beta", meshtest.Says("x"))}, meshtest.Quiet()); err == nil || !strings.Contains(err.Error(), "this NATS user may not") {
		t.Errorf("it serves beta: %v", err)
	}
}

// Who is told what happens in a tenant is told that, and nothing of another one.
func TestAnEventsNATSUserSeesOneTenantOnly(t *testing.T) {
	g := guard(t)
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	const user = "events.default"
	g.refuses(user, "subscribe", "mesh.>", "mesh.events.>", "mesh.events.*.*", "mesh.events.other.*", "mesh.events.default.*.*",
		"mesh.output.default.*", "mesh.sessions.>", "mesh.control.>", "mesh.tasks.>", "_INBOX."+user+".>")
	g.refuses(user, "publish", "mesh.events.default.tsk_x", "$KV.tasks.default.tsk_x", "$JS.API.INFO", "$JS.API.STREAM.INFO.KV_tasks", "x")
	events := map[string]*nats.Subscription{}
	for _, tenant := range []string{"default", "other"} {
		sub, err := g.as(topology.EventsUser(tenant)).SubscribeSync(topology.TaskEvents(tenant, "*"))
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
		events[tenant] = sub
	}
	m, stop := g.mesh()
	defer stop()
	alpha, _ := guardedAgents(&sync.Map{})
	g.work("worker.one", alpha)
	id := m.Create(`{"agent":"alpha","instruction":"x"}`)
	m.End(id)
	if msg, err := events["default"].NextMsg(10 * time.Second); err != nil || msg.Subject != "mesh.events.default."+id {
		t.Errorf("its own tenant: %v, %v", msg, err)
	}
	if n, _, _ := events["other"].Pending(); n != 0 {
		t.Errorf("the other tenant was told %d times", n)
	}
	g.settled("events")
}

// The face of a protocol speaks it, whoever it is, and its callers do; neither reads
// or writes anything of the mesh.
func TestTheFacesNATSUserServesCallersAndNothingElse(t *testing.T) {
	g := guard(t)
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	m := &meshtest.Mesh{T: t, Server: g.srv, Store: g.look(topology.GatewayUser)}
	if err := m.Store.Registry.AnnounceGateway(t.Context(), "test", store.Gateway{URL: "http://gateway"}); err != nil {
		t.Error(err)
	}
	alpha, _ := guardedAgents(&sync.Map{})
	g.work("worker.one", alpha)
	g.prompts(m, topology.FaceUser)
	g.settled("face")
	for _, user := range []string{topology.FaceUser, topology.CallerUser} {
		g.refuses(user, "publish", "$KV.keys.x", "$KV.tasks.default.x", "$KV.agents.alpha", topology.TaskReady("default", "alpha", "x"), "mesh.control.cancel.x", "$JS.API.STREAM.MSG.GET.KV_tasks",
			"$JS.API.STREAM.INFO.MESH_TASKS", "_INBOX.gateway.x", "_INBOX.other.x", topology.PullSubject(topology.Tasks, topology.AgentDurable("alpha")))
		g.refuses(user, "subscribe", "mesh.>", topology.TaskEvents("default", "*"), "agents.>")
	}
	g.refuses(topology.CallerUser, "subscribe", "agents.prompt.agentmesh.default.alpha", "_INBOX.agents.>", "$SRV.PING")
	if left := g.idle(topology.Face()); len(left) > 0 {
		t.Errorf("the face does not need %v", left)
	}
}

// The configuration of deploy/nats is what the code says, loads as it stands, and
// three servers with it keep a mesh.
func TestGoldenNATSConfiguration(t *testing.T) {
	natstest.LongUnderRace(t)
	const folder = "../../deploy/nats"
	users, err := natsUsers([]string{"samples=echo,summarize,travel"}, []string{"default"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	writeNATSUsers(&text, users)
	manualtest.File(t, filepath.Join(folder, "users.conf"), text.String())
	t.Setenv("NATS_STORE", t.TempDir())
	for _, u := range append(users, topology.Permissions{User: "sys"}) {
		t.Setenv(passwordOf(u.User), "pw-"+u.User)
	}
	var nodes []*server.Options
	for _, name := range []string{"n1", "n2", "n3"} {
		opts, err := server.ProcessConfigFile(filepath.Join(folder, name+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		if opts.ServerName != name || !opts.JetStream || !opts.SyncAlways || opts.Cluster.Name != "mesh" || len(opts.Routes) != 3 || opts.MaxPayload != maxPayload || opts.SystemAccount != "SYS" || len(opts.Users) != len(users)+1 {
			t.Errorf("%s: %+v", name, opts)
		}
		nodes = append(nodes, opts)
	}
	for name, routes := range map[string]int{"n4": 5, "n5": 5, "one": 0} {
		if opts, err := server.ProcessConfigFile(filepath.Join(folder, name+".conf")); err != nil || !opts.SyncAlways || len(opts.Routes) != routes || opts.MaxPayload != maxPayload || len(opts.Users) != len(users)+1 {
			t.Errorf("%s: %+v, %v", name, opts, err)
		}
	}
	cluster := natstest.StartClusterWith(t, func(i int, o *server.Options) {
		o.Accounts, o.Users, o.SystemAccount, o.SyncAlways, o.MaxPayload = nodes[i].Accounts, nodes[i].Users, nodes[i].SystemAccount, true, nodes[i].MaxPayload
	})
	connect := func(node int, user string) *nats.Conn {
		return cluster.Nodes[node].Connect(t, nats.UserInfo(user, "pw-"+user), nats.CustomInboxPrefix("_INBOX."+user))
	}
	var made []string
	natstest.Until(t, "the streams are made", func() bool {
		made, err = store.Init(t.Context(), connect(0, topology.AdminUser), store.Options{Replicas: 3})
		return err == nil
	})
	for i, user := range []string{topology.GatewayUser, "worker.samples", topology.NotifierUser} {
		if _, err := store.Look(t.Context(), connect(i, user)); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	js, err := jetstream.New(connect(1, topology.AdminUser))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := js.Stream(t.Context(), topology.Tasks); err != nil || s.CachedInfo().Config.Replicas != 3 {
		t.Errorf("made %v: %v", made, err)
	}
}

// The command says what it does not take, and no password is in what it prints.
func TestNATSUsersArePrinted(t *testing.T) {
	code, out, _ := command(t, "nats-users", "--worker", "research=research,pricing", "--events", "acme")
	for _, want := range []string{`user: "worker.research", password: $NATS_WORKER_RESEARCH_PASSWORD`, `"$JS.API.CONSUMER.MSG.NEXT.MESH_TASKS.agent-pricing"`, `"mesh.events.acme.*"`} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %s", code, want)
		}
	}
	for flag, want := range map[string]string{"--worker=research": "NAME=AGENT", "--worker=a.b=x": "NAME=AGENT", "--worker=a=b,>": "NAME=AGENT", "--events=a.>": "name of a tenant"} {
		if code, _, errs := command(t, "nats-users", flag); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", flag, code, errs)
		}
	}
	for _, u := range []topology.Permissions{topology.Gateway(), topology.Notifier(), topology.Face(), topology.Caller(), topology.Worker("x", "a"), topology.Events("default")} {
		if slices.Contains(u.Publish, ">") || slices.Contains(u.Subscribe, ">") {
			t.Errorf("%s may everything", u.User)
		}
	}
}

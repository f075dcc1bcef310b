package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// guarded is a NATS server with the users of `mesh nats-users`, and what it did not
// let them do.
type guarded struct {
	leases sync.Map // by task
	t      *testing.T
	srv    *natstest.Server
	users  []topology.Permissions

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
	nc := g.as(user)
	if _, err := store.RightsOf(g.t.Context(), nc); err != nil { // as mesh doctor asks
		g.t.Errorf("%s: %v", user, err)
	}
	st, err := store.Look(g.t.Context(), nc)
	if err != nil {
		g.t.Fatalf("%s: %v", user, err)
	}
	return st
}

// work starts a worker, which may be told to serve something else.
func (g *guarded) work(user string, agents ...agent.Agent) (w *worker.Worker, stop func()) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	st := g.look(user)
	if all, err := st.Registry.Gateways(ctx); err != nil || len(all) == 0 {
		g.t.Errorf("%s sees the gateways %v, %v", user, all, err)
	}
	w, err := worker.New(ctx, worker.Default(), st, agents, meshtest.Quiet())
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
	nc := g.as(topology.GatewayUser)
	if _, err := store.RightsOf(g.t.Context(), nc); err != nil {
		g.t.Error(err)
	}
	if m.Store, err = store.Open(g.t.Context(), nc, store.Options{Replicas: 1}); err != nil {
		g.t.Fatal(err)
	}
	if err := m.Store.Registry.AnnounceGateway(g.t.Context(), "test", store.Gateway{URL: "http://gateway"}); err != nil {
		g.t.Error(err)
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
func guardedAgents(leases *sync.Map) (alpha, beta agent.Agent) {
	failed, talk := sync.Map{}, meshtest.Counter()
	budget := []task.Budget{{Tenant: "*", Period: task.Daily, Tokens: 1 << 30}}
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
			_ = job.Now(ctx, "first") // the second attempt reads it
			if _, before := failed.LoadOrStore(job.TaskID, true); !before {
				return nil, fmt.Errorf("not yet")
			}
		case "step":
			_, settle, err := job.Reserve(ctx, budget, task.Amount{Tokens: 9}, task.Amount{Tokens: 9})
			if err != nil {
				return nil, err
			}
			settle(task.Amount{Tokens: 7}, "m")
			return agent.Step(ctx, job, "large", func(context.Context, agent.StepInfo) (string, error) {
				return strings.Repeat("x", store.InlineLimit), nil
			})
		case "ask":
			yes, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Sure?"})
			return yes, err
		case "hang":
			lines, err := job.Lines()
			if err != nil {
				return nil, err
			}
			defer lines.Listen(func(line []byte) ([]byte, error) { return []byte(`{"type":"ok"}`), nil })()
			leases.Store(job.TaskID, job.Key.Reveal())
			<-ctx.Done()
			return nil, context.Cause(ctx)
		case "call":
			return job.Call(ctx, "beta", json.RawMessage(`{"text":"`+strings.Repeat("x", store.InlineLimit)+`"}`))
		}
		return map[string]any{"input": job.Input}, nil
	}))
	alpha.Tells, alpha.Budgets = true, budget
	alpha.History, alpha.MaxTranscript = task.HistoryWindow, 1024
	return alpha, meshtest.Named("beta", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
}

// Every role of a mesh does its whole work as the user that is made for it, and
// never tries what that user may not do.
func TestEachNATSUserDoesItsWholeWork(t *testing.T) {
	natstest.LongUnderRace(t)
	g := guard(t)
	early := g.srv.Connect(t, nats.UserInfo(topology.GatewayUser, "pw-"+topology.GatewayUser), nats.CustomInboxPrefix("_INBOX."+topology.GatewayUser))
	if _, err := store.Open(t.Context(), early, store.Options{Replicas: 1}); err == nil || !strings.Contains(err.Error(), "mesh init") {
		t.Errorf("a gateway without streams: %v", err)
	}
	if _, err := store.Init(t.Context(), g.as(topology.AdminUser), store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	g.migrates()
	if all, err := g.look("worker.one").Registry.Gateways(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("a worker sees the gateways %v, %v", all, err)
	}
	if all, err := g.look(topology.NotifierUser).Registry.Listeners(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("a notifier sees the listeners %v, %v", all, err)
	}
	alpha, beta := guardedAgents(&g.leases)
	for _, life := range []string{"first", "after a restart"} {
		m, stop := g.mesh()
		w, stopOne := g.work("worker.one", alpha)
		_, stopTwo := g.work("worker.two", beta)
		g.settled(life + ": start")
		g.tasks(m)
		g.told(m)
		g.settled(life + ": tasks")
		g.sessions(m)
		g.settled(life + ": sessions")
		g.callbacks(m)
		g.pushes(m)
		g.settled(life + ": callbacks")
		g.schedules(m)
		g.settled(life + ": schedules")
		g.journals(m)
		g.settled(life + ": steps")
		g.hooks(m)
		g.settled(life + ": hooks")
		g.prompts(m, topology.GatewayUser)
		g.settled(life + ": prompts")
		g.asks(m)
		g.settled(life + ": the gateway's routes")
		g.upkeep(m, w, alpha)
		g.settled(life + ": upkeep")
		g.copies(m)
		g.settled(life + ": backup")
		stopOne()
		stopTwo()
		g.leftovers(m)
		stop()
		g.settled(life + ": stop")
	}
	for _, u := range []topology.Permissions{topology.Gateway(), topology.Notifier(), topology.Worker("one", "alpha"), topology.Backup()} {
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
	"mesh.turns.*.alpha.*",              // of a worker: the turn that waits next, which a gateway may open first
	"mesh.tasks.bulk.", ".bulk-alpha.>", // nobody has that many tasks
	"$JS.API.STREAM.PURGE.KV_keys", "$KV.keys._used.", // keys that have ended, or that callers show
}

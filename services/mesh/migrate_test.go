package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// earlier makes the streams of a mesh of an earlier version: no tasks in bulk,
// sessions compressed.
func earlier(t *testing.T, js jetstream.JetStream, republish bool) {
	t.Helper()
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		switch c.Name {
		case topology.Tasks:
			c.Subjects = []string{topology.TaskReady("*", "*", "*"), topology.TasksLater}
		case topology.BucketStream(topology.SessionsBucket):
			c.Compression = jetstream.S2Compression
		case topology.Turns:
			if !republish {
				c.RePublish = nil
			}
		case topology.Schedules, topology.BucketStream(topology.SchedulesBucket):
			continue
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func dial(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// mesh migrate shows what it would do and changes nothing, does it, and has nothing to
// do after that; each has an exit status of its own.
func TestMigrateShowsThenDoesThenHasNothingToDo(t *testing.T) {
	srv := fleetServer(t)
	js := jetStream(t, dial(t, srv.ClientURL()))
	earlier(t, js, true)
	migrate := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := command(t, append([]string{"migrate", "--nats-url", srv.ClientURL()}, args...)...)
		if code != want {
			t.Fatalf("mesh migrate %v: exit %d, want %d: %s%s", args, code, want, out, errs)
		}
		return out
	}
	for range 2 {
		table := migrate(exitDiffers, "--dry-run")
		for _, row := range []string{"MESH_TASKS", "subjects", "KV_sessions", "compression", "KV_schedules", "missing", "in place", "created", "Nothing was changed: mesh migrate --apply"} {
			if !strings.Contains(table, row) {
				t.Errorf("no %q in\n%s", row, table)
			}
		}
	}
	var plan struct {
		Applied       bool
		Done, Differs []topology.Difference
	}
	if err := json.Unmarshal([]byte(migrate(exitDiffers, "--dry-run", "--json")), &plan); err != nil || plan.Applied || len(plan.Done) != 0 || len(plan.Differs) != 4 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if out := migrate(0, "--apply"); strings.Count(out, ", done") != 4 {
		t.Errorf("applied:\n%s", out)
	}
	for _, how := range []string{"--dry-run", "--apply"} {
		if out := migrate(0, how); !strings.Contains(out, "nothing to do") {
			t.Errorf("again: %s", out)
		}
	}
	for _, wrong := range [][]string{{}, {"--apply", "--dry-run"}, {"--apply", "--replicas", "2"}} {
		if code, out, errs := command(t, append([]string{"migrate", "--nats-url", srv.ClientURL()}, wrong...)...); code != 2 {
			t.Errorf("mesh migrate %v: exit %d: %s%s", wrong, code, out, errs)
		}
	}
}

// A role finds a setting that it can do without, says so in one line and serves; what
// is missing it makes. After mesh migrate the same processes use the new setting.
func TestARoleServesOnSettingsOfAnEarlierVersionAndChangesNone(t *testing.T) {
	srv := fleetServer(t)
	js := jetStream(t, dial(t, srv.ClientURL()))
	earlier(t, js, true)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL(), "MESH_REPLICAS=1", "MESH_ADMIN=off"}
	for _, args := range [][]string{{"gateway", "--http", address}, {"worker"}, {"notifier"}} {
		p, output := meshtest.Spawn(t, env, append(args, "--log-format", "json")...)
		go p.Drain(output)
		natstest.Until(t, args[0]+" says what differs", func() bool {
			return strings.Count(p.Output.String(), "see `mesh migrate --dry-run`") == 1 && strings.Contains(p.Output.String(), "KV_sessions compression, MESH_TASKS subjects")
		})
	}
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the worker serves", func() bool {
		agents, err := c.Agents.List(t.Context())
		return err == nil && len(agents) > 0
	})
	run := func() {
		t.Helper()
		v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Instruction: "x"}, client.CreateOptions{})
		if err == nil {
			v, err = c.Tasks.Wait(t.Context(), v.TaskID)
		}
		if err != nil || v.Status != "completed" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	run()
	st, err := store.Look(t.Context(), dial(t, srv.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	if workers, err := st.Registry.Workers(t.Context()); err != nil || len(workers) != 1 || store.TakesBulk(workers, "echo") {
		t.Errorf("a worker takes tasks in bulk from a stream that has none: %+v, %v", workers, err)
	}
	for stream, same := range map[string]func(jetstream.StreamConfig) bool{
		topology.Tasks: func(c jetstream.StreamConfig) bool { return len(c.Subjects) == 2 },
		"KV_sessions":  func(c jetstream.StreamConfig) bool { return c.Compression == jetstream.S2Compression },
		"KV_schedules": func(jetstream.StreamConfig) bool { return true },
	} {
		s, err := js.Stream(t.Context(), stream)
		if err != nil || !same(s.CachedInfo().Config) {
			t.Errorf("a role changed %s, or did not make it: %v", stream, err)
		}
	}
	if code, out, errs := command(t, "migrate", "--apply", "--nats-url", srv.ClientURL()); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	run()
	if !st.Tasks.HasBulk(t.Context()) {
		t.Error("the stream that was migrated takes no tasks in bulk")
	}
}

// A role waits for a setting that it cannot do without, says how to get it, and serves
// once it is there.
func TestARoleWaitsForASettingThatItNeeds(t *testing.T) {
	srv := fleetServer(t)
	earlier(t, jetStream(t, dial(t, srv.ClientURL())), false)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL(), "MESH_REPLICAS=1", "MESH_ADMIN=off"}
	p, output := meshtest.Spawn(t, env, "gateway", "--http", address, "--log-format", "json")
	go p.Drain(output)
	natstest.Until(t, "the gateway says what it waits for", func() bool {
		return strings.Contains(p.Output.String(), "MESH_TURNS exists with another republish") && strings.Contains(p.Output.String(), "mesh migrate --apply")
	})
	if code, out, errs := command(t, "migrate", "--apply", "--nats-url", srv.ClientURL()); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the gateway serves", func() bool {
		_, err := c.Agents.List(t.Context())
		return err == nil
	})
}

// The store of mesh up is its own: it gets the settings of this version when it starts.
func TestUpMigratesItsOwnStore(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "nats")
	srv := natstest.StartIn(t, dir)
	nc := srv.Connect(t)
	earlier(t, jetStream(t, nc), false)
	nc.Close()
	srv.Stop()
	p, output := meshtest.Spawn(t, []string{"MESH_TEST_MAIN=1", "MESH_DATA=" + data, "MESH_ADMIN=off", "MESH_NATS=off", "MESH_HTTP=127.0.0.1:0"}, "up", "--log-format", "json")
	meshtest.WaitLine(t, p, output, "  agentmesh is up.")
	go p.Drain(output)
	for _, field := range []string{"compression", "subjects", "republish"} {
		if !strings.Contains(p.Output.String(), `"field":"`+field+`"`) {
			t.Errorf("it does not say that it changed %s:\n%s", field, p.Output.String())
		}
	}
	p.Kill()
	srv = natstest.StartIn(t, dir)
	if plan, err := store.PlanMigration(t.Context(), srv.Connect(t), store.Options{}); err != nil || len(plan) > 0 {
		t.Errorf("it left %v, %v", plan, err)
	}
}

// migrates changes settings as the operator's user: no other may.
func (g *guarded) migrates() {
	g.t.Helper()
	admin := g.as(topology.AdminUser)
	s, err := jetStream(g.t, admin).Stream(g.t.Context(), topology.BucketStream(topology.SessionsBucket))
	if err != nil {
		g.t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Compression = jetstream.S2Compression
	if _, err := jetStream(g.t, admin).UpdateStream(g.t.Context(), c); err != nil {
		g.t.Fatal(err)
	}
	if done, _, err := store.Migrate(g.t.Context(), admin, store.Options{}); err != nil || len(done) != 1 {
		g.t.Errorf("migrated %v, %v", done, err)
	}
	if _, _, err := store.Migrate(g.t.Context(), g.as(topology.GatewayUser), store.Options{}); !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "CONSUMER.LIST") {
		g.t.Errorf("the gateway's user migrates: %v", err)
	}
	g.mu.Lock()
	g.denied = nil // of that
	g.mu.Unlock()
	g.settled("migrate")
}

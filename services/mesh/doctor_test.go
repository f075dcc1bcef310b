package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/secret"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// natsAt is a NATS server on a port of its own.
func natsAt(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir()
	srv, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats server not ready")
	}
	return srv
}

// diagnosis is what mesh doctor says as JSON.
func diagnosis(t *testing.T, args ...string) (code int, r report) {
	t.Helper()
	code, out, errs := command(t, append([]string{"doctor", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("mesh doctor %v: exit %d, %s%s", args, code, out, errs)
	}
	return code, r
}

// of is the finding of a check.
func (r report) of(check string) finding {
	if i := slices.IndexFunc(r.Findings, func(f finding) bool { return f.Check == check }); i >= 0 {
		return r.Findings[i]
	}
	return finding{Status: "none"}
}

// A fleet that lacks something is told what, and what to do; one that lacks nothing is
// told so.
func TestTheDoctorNamesEachFaultAndItsRemedy(t *testing.T) {
	lone := natsAt(t, server.Options{JetStream: true, MaxPayload: maxPayload})
	nc, err := nats.Connect(lone.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	guarded := natsAt(t, server.Options{JetStream: true, Authorization: "of-the-server"})
	check := func(want finding, code int, args ...string) {
		t.Helper()
		got, r := diagnosis(t, append([]string{"--nats-url", lone.ClientURL()}, args...)...)
		f := r.of(want.Check)
		if got != code || f.Status != want.Status || !strings.Contains(f.Says, want.Says) || !strings.Contains(f.Do, want.Do) || r.OK != (code == 0) {
			t.Errorf("mesh doctor %s: exit %d, want %d with %+v; it says %+v", strings.Join(args, " "), got, code, want, r.Findings)
		}
	}
	check(finding{"streams", fault, "KV_tasks", "mesh init"}, 1)
	if _, err := store.Init(t.Context(), nc, store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	check(finding{"streams", good, "all ", ""}, 0)
	check(finding{"nats", good, server.VERSION, ""}, 0)
	check(finding{"nats", fault, "Authorization", "the server answers"}, 1, "--nats-url", guarded.ClientURL())
	check(finding{"nats", fault, "no servers available", "firewall"}, 1, "--nats-url", "nats://127.0.0.1:1")
	check(finding{"clock", good, "within", ""}, 0)
	check(finding{"settings", good, "", ""}, 0)
	check(finding{"replicas", warning, "one server", "mesh backup"}, 0)
	check(finding{"replicas", fault, "replicas is 3", "--replicas 1"}, 1, "--replicas", "3")
	check(finding{"permissions", skipped, "", "--role"}, 0)
	check(finding{"permissions", good, "worker", ""}, 0, "--role", "worker")

	check(finding{"gateway", warning, "no gateway runs", "--gateway-url"}, 0, "--role", "worker")
	check(finding{"gateway", fault, "refused", "--gateway-url (MESH_GATEWAY_URL)"}, 1, "--role", "worker", "--gateway-url", "http://127.0.0.1:1")
	mesh := httptest.NewServer(nil) // it knows no /healthz
	defer mesh.Close()
	check(finding{"gateway", fault, "404", ""}, 1, "--role", "worker", "--gateway-url", mesh.URL)
	check(finding{"gateway", warning, "404", "--public-url"}, 0, "--role", "gateway", "--public-url", mesh.URL)

	check(finding{"callbacks", skipped, "", "--callback"}, 0, "--role", "notifier")
	check(finding{"callbacks", good, "connected", ""}, 0, "--callback", mesh.URL, "--allow-private-callbacks", "127.0.0.0/8")
	check(finding{"callbacks", fault, "127.0.0.1", "--allow-private-callbacks"}, 1, "--callback", mesh.URL)
	check(finding{"callbacks", fault, "refused", "firewall"}, 1, "--callback", "http://127.0.0.1:1", "--allow-private-callbacks", "127.0.0.0/8")
	check(finding{"callbacks", fault, "egress-proxy", ""}, 1, "--role", "notifier", "--egress-proxy", "x")

	broken := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(broken, []byte("agents: [{name: A}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(finding{"agents", fault, broken, "mesh agents check"}, 1, "--role", "worker", "--agents", broken)
	check(finding{"agents", warning, "sample agents", ""}, 0, "--role", "worker")

	check(finding{"secret key", warning, "there is none", "MESH_SECRET_KEY"}, 0, "--role", "notifier")
	st, err := store.Look(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Secrets.Adopt(t.Context(), []string{"another"}, false, nil); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MESH_SECRET_KEY", secret.NewKey())
	check(finding{"secret key", fault, "fingerprint another", "the new one first"}, 1, "--role", "gateway")

	js := jetStream(t, nc)
	for stream, want := range map[string]finding{
		topology.Turns:        {"settings", fault, "MESH_TURNS republish", "mesh migrate"},
		"KV_" + "idempotency": {"settings", warning, "max_consumers", "mesh migrate"},
	} {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		before := c
		if c.MaxConsumers = 500; want.Status == fault {
			c.RePublish = nil
		}
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		code := 0
		if want.Status == fault {
			code = 1
		}
		check(want, code)
		if _, err := js.UpdateStream(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, _ := command(t, "doctor", "--nats-url", lone.ClientURL()); code != 0 || !strings.Contains(out, "-> run three servers") || !strings.Contains(out, "0 faults") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if code, _, errs := command(t, "doctor", "--role", "boss"); code != 2 || !strings.Contains(errs, "gateway, worker, notifier, face, caller, backup and admin") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// Servers that are away, keep no streams or take small messages only are faults of their
// own.
func TestTheDoctorSeesWhatNATSLacks(t *testing.T) {
	if code, r := diagnosis(t, "--nats-url", "nats://127.0.0.1:1"); code != 1 || r.of("nats").Status != fault || !strings.Contains(r.of("nats").Says, "127.0.0.1:1") {
		t.Errorf("without a server: exit %d, %+v", code, r)
	}
	plain := natsAt(t, server.Options{})
	code, r := diagnosis(t, "--nats-url", plain.ClientURL())
	if f := r.of("jetstream"); code != 1 || f.Status != fault || !strings.Contains(f.Do, "jetstream {}") {
		t.Errorf("without JetStream: exit %d, %+v", code, r)
	}
	if f := r.of("max_payload"); f.Status != warning || !strings.Contains(f.Do, "4MB") {
		t.Errorf("with small messages: %+v", f)
	}
	for version, want := range map[string]bool{"2.14.8": false, "2.14.9": true, "2.15.1": false, "2.15.2": true, "2.16.0": true, "2.12.4": false, "3.0.0": true, "dev": true} {
		if recentNATS(version) != want {
			t.Errorf("%s is recent: %v", version, !want)
		}
	}
	for _, tt := range []struct {
		ahead, within time.Duration
		want          string
	}{
		{100 * time.Millisecond, time.Millisecond, good}, {-3 * time.Second, 4 * time.Second, good},
		{-3 * time.Second, time.Millisecond, warning}, {40 * time.Second, time.Second, fault},
	} {
		if f := clockFinding(topology.Clock{Ahead: tt.ahead, Within: tt.within}); f.Status != tt.want {
			t.Errorf("%v ahead, give or take %v: %+v", tt.ahead, tt.within, f)
		}
	}
}

// A user that may less than its role needs is named with what it lacks.
func TestTheDoctorComparesWhatAUserMay(t *testing.T) {
	user := func(p topology.Permissions, less ...string) *server.User {
		allow := slices.DeleteFunc(slices.Clone(p.Publish), func(s string) bool { return slices.Contains(less, s) })
		return &server.User{Username: p.User, Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: allow}, Subscribe: &server.SubjectPermission{Allow: p.Subscribe}}}
	}
	srv := natsAt(t, server.Options{JetStream: true, MaxPayload: maxPayload, Users: []*server.User{
		{Username: "root", Password: "p"}, user(topology.Gateway(), "mesh.tasks.later.*"), user(topology.Notifier()),
		user(topology.Worker("samples", "echo", "summarize")), user(topology.Worker("old", "echo"), topology.UserInfo),
	}})
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("root", "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := store.Init(t.Context(), nc, store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]finding{
		"gateway":        {Status: fault, Says: "publish mesh.tasks.later.*", Do: "mesh nats-users"},
		"notifier":       {Status: good, Says: "a notifier needs"},
		"worker.samples": {Status: fault, Says: "travel", Do: "with its agents"}, // it serves the samples, all three
		"worker.old":     {Status: warning, Says: "not known", Do: topology.UserInfo},
	} {
		_, r := diagnosis(t, "--nats-url", srv.ClientURL(), "--nats-user", name, "--nats-password", "p")
		if f := r.of("permissions"); f.Status != want.Status || !strings.Contains(f.Says, want.Says) || !strings.Contains(f.Do, want.Do) {
			t.Errorf("%s: %+v, want %+v", name, f, want)
		}
	}
}

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/store"
)

// Programs reach the gateway that its operator names, or one of their machine; the
// loopback of another machine leads nowhere.
func TestProgramsAreToldOfAGatewayThatTheyReach(t *testing.T) {
	public := store.Gateway{Host: "a", URL: "https://mesh.example", Public: true}
	here, there := store.Gateway{Host: "me", URL: "http://127.0.0.1:8080"}, store.Gateway{Host: "b", URL: "http://127.0.0.1:8080"}
	far := store.Gateway{Host: "b", URL: "http://10.0.0.7:8080"}
	for _, tt := range []struct {
		all  []store.Gateway
		want string
	}{
		{nil, ""},
		{[]store.Gateway{there}, ""},
		{[]store.Gateway{there, far}, far.URL},
		{[]store.Gateway{far, here}, here.URL},
		{[]store.Gateway{here, far, public}, public.URL},
		{[]store.Gateway{{Host: "me", URL: "http://%zz"}}, ""},
	} {
		if got := nearest(tt.all, "me"); got != tt.want {
			t.Errorf("of %v: %q, want %q", tt.all, got, tt.want)
		}
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if at := best(reachable(l.Addr())); !at.IsValid() || at.Addr().IsUnspecified() {
		t.Errorf("a listener of all addresses is named as %v", at)
	}
}

// A fleet against one NATS server with no more settings than where that is: it keeps
// one copy of each stream and says so, and programs of agents find a gateway.
func TestAFleetNeedsNoSettingsButItsNATS(t *testing.T) {
	srv := fleetServer(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(file, []byte(`agents: [{name: asks, exec: {command: [sh, -c, 'echo "$MESH_GATEWAY_URL"']}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL(), "MESH_ADMIN=off"}
	w, output := meshtest.Spawn(t, env, "worker", "--agents", file, "--log-format", "json")
	go w.Drain(output)
	g, output := meshtest.Spawn(t, env, "gateway", "--http", address, "--log-format", "json")
	go g.Drain(output)
	c := served(t, address)
	v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "asks", Instruction: "x"}, client.CreateOptions{})
	if err == nil {
		v, err = c.Tasks.Wait(t.Context(), v.TaskID)
	}
	if err != nil || !strings.Contains(string(v.Result), "http://"+address) {
		t.Errorf("a program of an agent is told %s of the gateway, want %s: %v", v.Result, address, err)
	}
	if !strings.Contains(g.Output.String(), "has one copy") {
		t.Errorf("the gateway does not say that there is one copy of the streams:\n%s", g.Output)
	}
}

// Whoever asks for three copies of one server is told what to do instead, at once.
func TestThreeCopiesOnOneServerAreRefusedWithARemedy(t *testing.T) {
	srv := fleetServer(t)
	for _, args := range [][]string{{"gateway", "--http", "127.0.0.1:0", "--admin", "off", "--replicas", "3"}, {"init", "--replicas", "3"}} {
		code, _, errs := command(t, append(args, "--nats-url", srv.ClientURL(), "--log-level", "error")...)
		if code != 1 || !strings.Contains(errs, "set --replicas 1 (MESH_REPLICAS=1), or run it as one of three (deploy/nats)") {
			t.Errorf("mesh %s: exit %d, %s", strings.Join(args, " "), code, errs)
		}
	}
	code, out, errs := command(t, "init", "--nats-url", srv.ClientURL())
	if code != 0 || !strings.HasPrefix(out, "made ") {
		t.Errorf("mesh init: exit %d, %s%s", code, out, errs)
	}
	if code, _, errs := command(t, "migrate", "--apply", "--replicas", "3", "--nats-url", srv.ClientURL()); code != 1 || !strings.Contains(errs, "set --replicas 1") {
		t.Errorf("mesh migrate: exit %d, %s", code, errs)
	}
}

package main

import (
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// The roles of a fleet come up in any order: a worker and a notifier wait for the
// streams, and say so.
func TestAFleetStartsInAnyOrder(t *testing.T) {
	srv := fleetServer(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL(), "MESH_REPLICAS=1", "MESH_ADMIN=off"}
	for _, role := range []string{"worker", "notifier"} {
		p, output := meshtest.Spawn(t, env, role, "--log-format", "json")
		go p.Drain(output)
		natstest.Until(t, role+" says what it waits for", func() bool {
			return strings.Contains(p.Output.String(), "is missing: a gateway makes the streams, or `mesh init`")
		})
	}
	gateway, output := meshtest.Spawn(t, env, "gateway", "--http", address, "--log-format", "json")
	go gateway.Drain(output)
	c := served(t, address)
	v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Instruction: "x"}, client.CreateOptions{})
	if err == nil {
		v, err = c.Tasks.Wait(t.Context(), v.TaskID)
	}
	if err != nil || v.Status != "completed" {
		t.Errorf("%+v, %v", v, err)
	}
}

// mesh init makes the streams, says which, and has nothing to do after that.
func TestInitMakesTheStreamsOnce(t *testing.T) {
	srv := fleetServer(t)
	for _, want := range []string{"made KV_agents, ", "every stream is there, nothing to do"} {
		code, out, errs := command(t, "init", "--nats-url", srv.ClientURL(), "--replicas", "1")
		if code != 0 || !strings.HasPrefix(out, want) {
			t.Errorf("exit %d: %s%s; want %q", code, out, errs, want)
		}
	}
	for flag, want := range map[string]string{"--replicas=2": "allowed are 1, 3 and 5", "--nats-user=u": "go together"} {
		if code, out, errs := command(t, "init", "--nats-url", srv.ClientURL(), flag); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s%s", flag, code, out, errs)
		}
	}
}

// served is a client of the gateway at an address, once a worker serves an agent there.
func served(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the worker serves", func() bool {
		agents, err := c.Agents.List(t.Context())
		return err == nil && len(agents) > 0
	})
	return c
}

package main

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// A role that starts while NATS is away waits for it: the process is alive and
// not ready, says why once, refuses what it is asked, and serves when NATS is
// there. A worker that is told to end while it waits ends well.
func TestRolesWaitForNATS(t *testing.T) {
	var free [3]string
	for i := range free {
		var err error
		if free[i], err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	api, admin, nats := free[0], free[1], free[2]
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=nats://" + nats}
	common := []string{"--replicas", "1", "--log-format", "json"}
	g, output := meshtest.Spawn(t, env, append([]string{"gateway", "--http", api, "--admin", admin}, common...)...)
	go g.Drain(output)
	w, output := meshtest.Spawn(t, env, append([]string{"worker", "--admin", "off"}, common...)...)
	go w.Drain(output)
	own, output := meshtest.Spawn(t, []string{"MESH_TEST_SERVE=1", "NATS_URL=nats://" + nats, "MESH_REPLICAS=1"})
	go own.Drain(output)
	status := func(method, url string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+url, strings.NewReader(`{"agent":"echo","input":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	natstest.Until(t, "both say that they wait", func() bool {
		return strings.Contains(g.Output.String(), "waiting for the store") && strings.Contains(w.Output.String(), "waiting for the store")
	})
	for _, tt := range []struct {
		method, url, want string
		status            int
	}{
		{"GET", api + "/healthz", `"ok"`, 200},
		{"GET", api + "/readyz", `"ready":false`, 503},
		{"GET", api + "/readyz", "no servers available", 503},
		{"POST", api + "/tasks", `"code":"store_unavailable"`, 503},
		{"GET", admin + "/healthz", "ok", 200},
		{"GET", admin + "/readyz", "no servers available", 503},
	} {
		if code, body := status(tt.method, tt.url); code != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s = %d %s, want %d with %s", tt.method, tt.url, code, body, tt.status, tt.want)
		}
	}
	w.Signal(syscall.SIGTERM)
	select {
	case <-w.Done:
		if code := w.Cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("a worker that waits ended with %d\n%s", code, w.Output)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("a worker that waits does not end\n%s", w.Output)
	}
	fleetServerAt(t, nats)
	natstest.Until(t, "the gateway is ready", func() bool {
		code, _ := status("GET", api+"/readyz")
		return code == 200
	})
	natstest.Until(t, "a worker of one's own serves", func() bool {
		code, _ := status("GET", api+"/agents/caller")
		return code == 200
	})
	if code, body := status("GET", admin+"/readyz"); code != 200 {
		t.Errorf("admin: %d %s", code, body)
	}
	if n := strings.Count(g.Output.String(), "waiting for the store"); n != 1 {
		t.Errorf("it said %d times that it waits\n%s", n, g.Output)
	}
}

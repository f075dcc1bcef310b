package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/meshtest"
)

// The admin listener refuses to be reached by others, as the other listeners do.
func TestAdminListensOnLoopbackOnly(t *testing.T) {
	for _, role := range []string{"up", "gateway", "worker", "notifier"} {
		for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
			args := []string{role, "--admin", address}
			if role == "up" {
				args = append(args, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--nats", "off")
			}
			if code, _, stderr := command(t, args...); code != cli.ExitUsage || !strings.Contains(stderr, "loopback only") || !strings.Contains(stderr, "--insecure") {
				t.Errorf("%s --admin %s = %d %s", role, address, code, stderr)
			}
		}
	}
	for _, c := range []adminConfig{{Admin: "off"}, {Admin: "localhost:1"}, {Admin: "[::1]:1"}, {Admin: "0.0.0.0:1", Insecure: true}} {
		if err := c.validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The dump of the command line has no value of any flag: some are secrets, others
// hold some, such as the URL of a server with its password.
func TestCommandLineIsDumpedWithoutSecrets(t *testing.T) {
	got := masked([]string{"/bin/mesh", "up", "--secret-key", "K", "--secret-key=K", "--insecure", "--nats-url=nats://u:p@h", "-x", "y", "--", "K"})
	want := []string{"/bin/mesh", "up", "--secret-key", "***", "--secret-key=***", "--insecure", "--nats-url=***", "-x", "***", "--", "***"}
	if !slices.Equal(got, want) {
		t.Errorf("masked = %q", got)
	}
	p := startUp(t, t.TempDir(), "--admin", "127.0.0.1:0", "--secret-key", meshtest.TestKey)
	_, rest, _ := strings.Cut(p.Output.String(), "admin ")
	admin := strings.Fields(rest)[0]
	resp, err := http.Get(admin + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || strings.Contains(string(raw), meshtest.TestKey) || !strings.Contains(string(raw), "--secret-key") {
		t.Errorf("cmdline = %q, %v", raw, err)
	}
	if text := p.Output.String(); !strings.Contains(text, "--secret-key-file") || strings.Contains(text, meshtest.TestKey) {
		t.Errorf("nothing warns of the key on the command line: %s", text)
	}
	// The ways back into the mesh are closed, though loopback is allowed.
	for _, to := range []string{p.Gateway + "/sessions", admin + "/debug/pprof/cmdline", strings.Replace(admin, "127.0.0.1", "localhost", 1), strings.Replace(p.Gateway, "127.0.0.1", "[::1]", 1) + "/tasks"} {
		r, err := http.Post(p.Gateway+"/tasks", "application/json", strings.NewReader(`{"agent":"echo","input":1,"callback_url":"`+to+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(body), "callback_blocked") {
			t.Errorf("a callback to %s = %d %s", to, r.StatusCode, body)
		}
	}
}

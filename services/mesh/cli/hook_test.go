package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// Each style is sent as the hook of the style takes it, and the commands of hooks show
// what came of it.
func TestHookCommands(t *testing.T) {
	m := newMesh(t)
	m.Work(echo.Agent())
	srv, _ := m.Serve()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := cli(t, args...)
		if code != want {
			t.Errorf("mesh %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		return out + errs
	}
	has := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in:\n%s", part, text)
			}
		}
	}
	gateway := []string{"--gateway", srv.URL}
	made := map[string]client.Hook{}
	for _, style := range []string{"standard", "github", "stripe", "slack", "hmac", "token"} {
		args := []string{"hook", "create", "--style", style, "--secret", "@" + secret, "--agent", "echo", "-o", "json"}
		send := []string{"hook", "send", "--style", style, "--secret", "@" + secret, "--body", `{"id":"evt_1","event_id":"Ev1"}`}
		if style == "hmac" || style == "token" {
			args, send = append(args, "--id", "X-ID", "--header", "X-Sign"), append(send, "--id", "X-ID", "--signature-header", "X-Sign")
		}
		out := run(0, append(args, gateway...)...)
		if strings.Contains(out, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") {
			t.Errorf("%s: the secret is shown: %s", style, out)
		}
		made[style] = meshtest.Decode[client.Hook](t, strings.NewReader(out))
		url := srv.URL + "/hooks/" + made[style].HookID
		send = append(send, "--delivery", "d1", url)
		has(run(0, send...), "202 Accepted", "tsk_")
		has(run(0, send...), "200 OK", "tsk_") // the same delivery
		has(run(0, append([]string{"hook", "recent", made[style].HookID}, gateway...)...), "accepted", "repeated")
	}
	url := srv.URL + "/hooks/" + made["github"].HookID
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	has(run(1, "hook", "send", "--style", "github", "--secret", "@"+wrong, "--body", "{}", url), "401", "hook_rejected")
	has(run(2, "hook", "send", "--style", "github", "--body", "{}", url), "MESH_HOOK_SECRET")
	has(run(2, "hook", "send", "--style", "github", "--secret", "plain", "--body", "{}", url), "other users")
	has(run(2, "hook", "send", "--style", "gitlab", "--secret", "@"+secret, "--body", "{}", url), "gitlab")
	id := made["github"].HookID
	for _, c := range []struct {
		args string
		want []string
	}{
		{"hook pause " + id, []string{"paused"}}, {"hook resume " + id, []string{"active"}}, {"hook show " + id, []string{id, "github", "starts a task of echo"}},
		{"hook list", []string{id, "slack"}}, {"hook rotate " + id + " --secret @" + wrong, []string{"believed until"}}, {"hook recent " + id, []string{"rejected"}},
	} {
		has(run(0, append(strings.Fields(c.args), gateway...)...), c.want...)
	}
	has(run(0, "hook", "send", "--style", "github", "--secret", "@"+wrong, "--body", "{}", url), "202") // the new secret
	run(0, append([]string{"hook", "delete", id}, gateway...)...)
	has(run(1, "hook", "send", "--style", "github", "--secret", "@"+wrong, "--body", "{}", url), "404")
}

package cli

import (
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

func TestTheShellCompletesAgentsIdsAndStatuses(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	m := newMesh(t)
	a := echo.Agent()
	a.Description = "says\nit\x1b[2J again"
	m.Work(a)
	srv, _ := m.Serve()
	done := m.Create(`{"agent":"echo","instruction":"x"}`)
	m.End(done)
	failed := m.Create(`{"agent":"echo","input":{"echo_fail_permanent":"no"}}`)
	m.End(failed)
	session := meshtest.Decode[client.Session](t, m.Do("POST", "/sessions", `{"agent":"echo"}`).Body).SessionID
	webhook := meshtest.Decode[client.Webhook](t, m.Do("POST", "/webhooks", `{"url":"http://127.0.0.1:1/"}`).Body).WebhookID
	if code, _, errs := cli(t, "context", "add", "here", srv.URL); code != 0 {
		t.Fatal(errs)
	}
	for _, tt := range []struct {
		args string
		want []string
		not  string
	}{
		{"task run --agent ", []string{"echo\tsays it[2J again"}, ""},
		{"task get tsk_", []string{done, failed}, ""},
		{"task retry ", []string{failed}, done},
		{"task get " + done + " ", nil, failed},
		{"task list --status ", []string{"pending", "completed"}, ""},
		{"task list --status failed,can", []string{"failed,canceled"}, "pending"},
		{"task list --agent e", []string{"echo"}, ""},
		{"task list -o ", []string{"text", "json"}, ""},
		{"session show ", []string{session}, ""},
		{"session chat --session ses", []string{session}, ""},
		{"webhook get ", []string{webhook}, ""},
		{"delivery list --status d", []string{"delivered", "dead"}, "pending"},
		{"agents delete ", []string{"echo"}, ""},
		{"events --agent ", []string{"echo"}, ""},
		{"context use ", []string{"here\t" + srv.URL}, ""},
		{"task get --gateway http://127.0.0.1:1 ", nil, "tsk_"},
	} {
		args := append([]string{"__complete"}, strings.Split(tt.args, " ")...)
		code, out, errs := cli(t, args...)
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("mesh %s<TAB>: exit %d\n%s%s\nwant %q", tt.args, code, out, errs, want)
			}
		}
		if tt.not != "" && strings.Contains(out, tt.not) {
			t.Errorf("mesh %s<TAB>:\n%s\nwithout %q", tt.args, out, tt.not)
		}
	}
}

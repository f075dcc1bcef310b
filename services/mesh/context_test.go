package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/worker/agents/echo"
)

// asked is a gateway that notes the key that it was sent.
func asked(t *testing.T, keys *[]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*keys = append(*keys, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(`{"agents":[],"ready":true}`))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// Commands talk to the mesh that was chosen, with its key, and send a key to no
// other address.
func TestContextsKeepURLAndKeyOfSeveralMeshes(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	var prodKeys, testKeys []string
	prod, test := asked(t, &prodKeys), asked(t, &testKeys)
	keyFile := filepath.Join(home, "key")
	if err := os.WriteFile(keyFile, []byte("amk_prod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"context", "list"}, 0, "NAME"},
		{[]string{"context", "use", "prod"}, 2, "there are: none"},
		{[]string{"context", "add", "prod", prod, "--key", "@" + keyFile}, 0, ""},
		{[]string{"context", "add", "test", "--gateway", test}, 0, ""},
		{[]string{"context", "add", "bad", "mesh.example.com"}, 2, "must look like"},
		{[]string{"context", "add", "../bad", prod}, 2, "must match"},
		{[]string{"context", "add"}, 2, "a name and a URL"},
		{[]string{"context", "list"}, 0, "prod  yes      yes  " + prod},
		{[]string{"agents", "list"}, 0, ""},
		{[]string{"agents", "list", "--context", "test"}, 0, ""},
		{[]string{"agents", "list", "--gateway", test}, 0, ""},
		{[]string{"agents", "list", "--gateway", test, "--context", "prod"}, 2, "choose one"},
		{[]string{"agents", "list", "--context", "nope"}, 2, "there are: prod, test"},
		{[]string{"agents", "list", "--curl"}, 0, `"Authorization: Bearer $MESH_API_KEY"`},
		{[]string{"context", "use", "test"}, 0, ""},
		{[]string{"agents", "list"}, 0, ""},
		{[]string{"context", "delete", "test"}, 0, ""},
		{[]string{"context", "list", "-o", "json"}, 0, `[{"name":"prod","url":"` + prod + `","current":false,"has_key":true}]`},
	} {
		code, out, errs := cli(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) || strings.Contains(out+errs, "amk_") {
			t.Errorf("mesh %s: exit %d\n%s%s\nwant %d and %s", strings.Join(tt.args, " "), code, out, errs, tt.code, tt.want)
		}
	}
	if got := strings.Join(prodKeys, ","); got != "Bearer amk_prod" {
		t.Errorf("prod was sent %s", got)
	}
	if got := strings.Join(testKeys, ","); got != ",," {
		t.Errorf("test was sent %s", got)
	}
	file := filepath.Join(home, "agentmesh", "contexts.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, env := range []struct{ name, value, sent string }{
		{"MESH_CONTEXT", "prod", "Bearer amk_prod"}, {"MESH_GATEWAY_URL", prod, ""}, {"MESH_API_KEY", "amk_other", "Bearer amk_other"},
	} {
		t.Setenv(env.name, env.value)
		if code, _, errs := cli(t, "agents", "list"); code != 0 || prodKeys[len(prodKeys)-1] != env.sent {
			t.Errorf("%s=%s: exit %d %s, sent %q", env.name, env.value, code, errs, prodKeys[len(prodKeys)-1])
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cli(t, "context", "list"); code != 1 || !strings.Contains(errs, file) {
		t.Errorf("a broken file: exit %d %s", code, errs)
	}
}

func TestHealthcheckAsksTheGatewayThatTheOthersAsk(t *testing.T) {
	var keys []string
	url := asked(t, &keys)
	for _, args := range [][]string{{"--gateway", url}, {"--gateway", url + "/"}, {"--url", url + "/readyz"}} {
		if code, _, errs := cli(t, append([]string{"healthcheck"}, args...)...); code != 0 {
			t.Errorf("%s: exit %d %s", args, code, errs)
		}
	}
	t.Setenv("MESH_GATEWAY_URL", url)
	if code, _, errs := cli(t, "healthcheck"); code != 0 || len(keys) != 4 {
		t.Errorf("by the environment: exit %d %s, asked %d times", code, errs, len(keys))
	}
	t.Setenv("MESH_GATEWAY_URL", "http://127.0.0.1:1")
	if code, _, errs := cli(t, "healthcheck"); code != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("of a gateway that is away: exit %d %s", code, errs)
	}
}

func TestTheShellCompletesAgentsIdsAndStatuses(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	m := newMesh(t)
	a := echo.Agent()
	a.Description = "says\nit\x1b[2J again"
	m.work(a)
	srv, _ := m.serve()
	done := m.create(`{"agent":"echo","instruction":"x"}`)
	m.end(done)
	failed := m.create(`{"agent":"echo","input":{"echo_fail_permanent":"no"}}`)
	m.end(failed)
	session := decode[map[string]any](t, m.do("POST", "/sessions", `{"agent":"echo"}`).Body)["session_id"].(string)
	webhook := decode[map[string]any](t, m.do("POST", "/webhooks", `{"url":"http://127.0.0.1:1/"}`).Body)["webhook_id"].(string)
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

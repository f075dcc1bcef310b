package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// asking is a real mesh that asks for API keys.
type asking struct {
	t *testing.T
	*meshtest.Process
}

func upWithKeys(t *testing.T, dir string, args ...string) asking {
	t.Helper()
	return asking{t, startUp(t, dir, append([]string{"--auth", "keys"}, args...)...)}
}

// call sends a request with a key, as curl does.
func (p asking) call(key, method, path, body string, headers ...string) (int, []byte) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.Gateway+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (p asking) status(key, path string) int {
	p.t.Helper()
	status, _ := p.call(key, "GET", path, "")
	return status
}

// create makes a key.
func (p asking) create(admin, body string) (k api.APIKey) {
	p.t.Helper()
	status, answer := p.call(admin, "POST", "/keys", body)
	if err := json.Unmarshal(answer, &k); err != nil || status != 201 {
		p.t.Fatalf("%d %s", status, answer)
	}
	return k
}

// fileKey is the key that the mesh has left for its operator.
func fileKey(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, adminKeyFile)
	stat, err := os.Stat(name)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", stat, err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// The first start leaves an admin's key in a file that only its owner reads, says
// where and never which, and another start leaves it as it is. With it the operator
// makes the others, which live as long as the data.
func TestAMeshThatAsksForKeysLeavesOneForItsOperator(t *testing.T) {
	dir := t.TempDir()
	p := upWithKeys(t, dir)
	admin := fileKey(t, dir)
	for _, c := range []struct {
		who, key, path string
		want           int
	}{{"a stranger", "", "/tasks", 401}, {"a stranger", "", "/readyz", 200}, {"the operator", admin, "/tasks", 200}, {"the operator", admin, "/keys", 200}} {
		if got, answer := p.call(c.key, "GET", c.path, ""); got != c.want {
			t.Errorf("GET %s by %s = %d %s, want %d", c.path, c.who, got, answer, c.want)
		}
	}
	k := p.create(admin, `{"tenant":"blue","scopes":["tasks:read","tasks:write"],"name":"ci"}`)
	status, answer := p.call(k.Key, "POST", "/tasks", `{"agent":"echo","instruction":"x"}`, "Prefer", "wait=10")
	if status != 200 || p.status(k.Key, "/keys") != 403 {
		t.Errorf("with the key that was made: %d %s", status, answer)
	}
	var done api.Task
	if err := json.Unmarshal(answer, &done); err != nil || done.Status != "completed" {
		t.Fatalf("%s %v", answer, err)
	}
	if p.status(admin, "/tasks/"+done.TaskID) != 404 { // of tenant default
		t.Error("another tenant's task is seen")
	}
	cli := func(key string, args ...string) (int, string) {
		var out bytes.Buffer
		t.Setenv("MESH_API_KEY", key)
		code := run(t.Context(), append(args, "--gateway", p.Gateway), &out, &out)
		return code, out.String()
	}
	if code, out := cli(k.Key, "task", "get", done.TaskID); code != 0 {
		t.Errorf("mesh task get: %d %s", code, out)
	}
	if code, out := cli("", "task", "list"); code != 1 || !strings.Contains(out, "unauthenticated") {
		t.Errorf("mesh task list without a key: %d %s", code, out)
	}
	gone := p.create(admin, `{"scopes":["*"]}`)
	if code, out := cli(admin, "keys", "revoke", gone.KeyID); code != 0 {
		t.Errorf("mesh keys revoke: %d %s", code, out)
	}
	natstest.Until(t, "the key is refused", func() bool { return p.status(gone.Key, "/tasks") == 401 })
	p.Kill()

	p = upWithKeys(t, dir)
	if fileKey(t, dir) != admin || p.status(admin, "/keys") != 200 || p.status(k.Key, "/tasks/"+done.TaskID) != 200 || p.status(gone.Key, "/tasks") != 401 {
		t.Error("another start has changed who may call")
	}
	if out := p.Output.String(); !strings.Contains(out, filepath.Join(dir, adminKeyFile)) || strings.Contains(out, admin) {
		t.Errorf("the output must have the path and not the key: %s", out)
	}
}

// The operator may set the key instead; another one takes its place.
func TestTheOperatorSetsTheAdminsKey(t *testing.T) {
	dir := t.TempDir()
	a, b := auth.NewKey().Reveal(), auth.NewKey().Reveal()
	t.Setenv("MESH_ADMIN_KEY", a)
	p := upWithKeys(t, dir)
	if p.status(a, "/keys") != 200 {
		t.Error("the key that was set is refused")
	}
	if _, err := os.Stat(filepath.Join(dir, adminKeyFile)); err == nil {
		t.Error("a file was made")
	}
	p.Kill()
	t.Setenv("MESH_ADMIN_KEY", b)
	p = upWithKeys(t, dir)
	if p.status(a, "/keys") != 401 || p.status(b, "/keys") != 200 {
		t.Error("the key that was set before goes on, or the new one does not hold")
	}
	p.Kill()
	t.Setenv("MESH_ADMIN_KEY", "amk_live_typo")
	var out bytes.Buffer
	if code := run(t.Context(), []string{"up", "--data", dir, "--auth", "keys"}, &out, &out); code != 2 || !strings.Contains(out.String(), "mesh keys make") || strings.Contains(out.String(), "typo") {
		t.Errorf("%d %s", code, &out)
	}
}

func TestKeysMakeMakesAKeyForTheSetting(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"keys", "make"}, &out, &out); code != 0 {
		t.Fatalf("%d %s", code, &out)
	}
	if _, err := auth.ParseKey(strings.TrimSpace(out.String())); err != nil {
		t.Errorf("%s: %v", &out, err)
	}
}

// A program that the mesh runs calls it back with the key that it finds in its
// environment, here by the mesh's own command, and stays in its task's tenant.
func TestAProgramOfAMeshThatAsksCallsItBack(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agents.yaml")
	script := `"$MESH" whoami -o json && "$MESH" task run --agent echo --wait -o json again`
	text := "agents:\n  - name: echo\n    builtin: echo\n  - name: calls\n    exec:\n      command: [sh, -c, '" + script + "']\n      env: {MESH_TEST_MAIN: \"1\", MESH: \"" + os.Args[0] + "\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("keys", func(t *testing.T) {
		p := upWithKeys(t, dir, "--agents", file)
		calledBack(p, p.create(fileKey(t, dir), `{"tenant":"blue","scopes":["*"]}`).Key, "blue")
	})
	t.Run("oidc", func(t *testing.T) {
		issuer := newLogin(t)
		p := startUp(t, t.TempDir(), "--agents", file, "--auth", "oidc", "--oidc-issuer", issuer.URL, "--oidc-audience", "agentmesh",
			"--oidc-tenant-claim", "org", "--oidc-scope-claim", "groups", "--oidc-scopes", "mesh-user=*", "--oidc-client-id", "console")
		if status, page := p.Ask(t, 10*time.Second, "GET", "/console/login", ""); status != 200 || !strings.Contains(string(page), `href="./signin"`) {
			t.Errorf("nobody logs in to the console at the issuer: %d %s", status, page)
		}
		calledBack(asking{t, p}, issuer.token(t, "mesh-user"), "acme")
	})
}

// calledBack has the program run for a caller of a tenant, and looks at what it was.
func calledBack(p asking, bearer, tenant string) {
	p.t.Helper()
	status, answer := p.call(bearer, "POST", "/tasks", `{"agent":"calls","instruction":"x"}`, "Prefer", "wait=30")
	var v struct {
		Status string
		Result struct{ Text string }
	}
	if err := json.Unmarshal(answer, &v); err != nil || status != 200 || v.Status != "completed" {
		p.t.Fatalf("%d %s", status, answer)
	}
	who, task, _ := strings.Cut(v.Result.Text, "\n")
	var me api.WhoAmI
	var again api.Task
	if err := errors.Join(json.Unmarshal([]byte(who), &me), json.Unmarshal([]byte(task), &again)); err != nil {
		p.t.Fatalf("%v: %s", err, v.Result.Text)
	}
	if me.Tenant != tenant || strings.Join(me.Scopes, " ") != "tasks:read tasks:write agents:read" || again.Status != "completed" || p.status(bearer, "/tasks/"+again.TaskID) != 200 {
		p.t.Errorf("the program was %+v, and its task %+v", me, again)
	}
}

// Gateways of a fleet have no data folder: the operator sets the key of each. A key
// that one of them revokes is refused by the other within 5 s.
func TestAFleetBeginsWithTheKeyOfItsOperator(t *testing.T) {
	srv := fleetServer(t)
	admin := auth.NewKey().Reveal()
	env := []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL(), "MESH_ADMIN_KEY=" + admin}
	var gateways [2]asking
	for i := range gateways {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		p, output := meshtest.Spawn(t, env, "gateway", "--auth", "keys", "--http", address, "--replicas", "1", "--admin", "off")
		go p.Drain(output)
		p.Gateway = "http://" + address
		gateways[i] = asking{t, p}
		natstest.Until(t, "the gateway is ready", func() bool {
			status, _ := p.Ask(t, time.Second, "GET", "/readyz", "")
			return status == 200
		})
	}
	one, two := gateways[0], gateways[1]
	k := one.create(admin, `{"tenant":"blue","scopes":["tasks:read"]}`)
	if one.status(k.Key, "/tasks") != 200 || two.status(k.Key, "/tasks") != 200 {
		t.Error("a new key is refused")
	}
	if status, answer := one.call(admin, "DELETE", "/keys/"+k.KeyID, ""); status != 204 {
		t.Fatalf("%d %s", status, answer)
	}
	revoked := time.Now()
	natstest.Until(t, "both refuse it", func() bool { return one.status(k.Key, "/tasks") == 401 && two.status(k.Key, "/tasks") == 401 })
	t.Logf("refused by both after %v", time.Since(revoked).Round(time.Millisecond))
	if out := one.Output.String() + two.Output.String(); strings.Contains(out, strings.Split(admin, "_")[3]) || strings.Contains(out, strings.Split(k.Key, "_")[3]) {
		t.Errorf("a secret is in the log: %s", out)
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
)

// secrets are texts that nobody may read, by what they are.
type secrets map[string]string

// told lists those that a text tells: as they are, escaped for a URL, in base64 at
// whatever offset, or in hex.
func (s secrets) told(text []byte) (all []string) {
	for what, value := range s {
		forms := [][]byte{[]byte(value), []byte(url.QueryEscape(value)), []byte(url.PathEscape(value)), []byte(hex.EncodeToString([]byte(value)))}
		for offset := range 3 {
			for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				whole := encoding.EncodeToString(append(make([]byte, offset), value...))
				forms = append(forms, []byte(whole[4*min(offset, 1)+offset/2:len(whole)-4]))
			}
		}
		for _, form := range forms {
			if bytes.Contains(text, form) {
				all = append(all, what)
				break
			}
		}
	}
	return all
}

// A test that does not see a secret proves nothing.
func TestToldSecretsAreSeen(t *testing.T) {
	s := secrets{"one": "s3cr3t/of+agent=77", "other": "not there at all"}
	value := s["one"]
	for _, text := range []string{
		"a " + value + " b", "https://h/?k=" + url.QueryEscape(value), hex.EncodeToString([]byte(value)),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte("x" + value + "x")), base64.URLEncoding.EncodeToString([]byte("xx" + value)),
	} {
		if told := s.told([]byte(text)); len(told) != 1 || told[0] != "one" {
			t.Errorf("%s tells %v", text, told)
		}
	}
}

// life is a mesh that meets secrets wherever one may be given to it.
type life struct {
	t      *testing.T
	s      secrets
	col    *collector
	p      *meshtest.Process
	admin  string
	c      *client.Client
	public string          // receivers and agents on this machine
	heard  map[string]bool // secrets that reached who they are for
	texts  map[string][]byte
}

func newLife(t *testing.T) *life {
	l := &life{t: t, col: newCollector(t), texts: map[string][]byte{}, heard: map[string]bool{}}
	key := auth.NewKey()
	l.s = secrets{"admin key": key.Reveal(), "secret key": secret.NewKey(), "wrong key": auth.NewKey().Reveal()}
	for _, what := range []string{"agent url password", "agent url query", "agent header", "agent env", "unreachable agent", "callback query", "webhook query", "webhook header", "bearer", "basic", "idempotency", "gateway url"} {
		l.s[what] = "s3" + strings.ReplaceAll(what, " ", "-") + auth.NewKey().ID()
	}
	service := httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(service.Close)
	l.public = service.URL
	for name, value := range map[string]string{
		"MESH_ADMIN_KEY": l.s["admin key"], "MESH_SECRET_KEY": l.s["secret key"], "AGENT_HEADER": l.s["agent header"], "AGENT_ENV": l.s["agent env"],
		"OTEL_EXPORTER_OTLP_ENDPOINT": l.col.http, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50",
		"OTEL_METRIC_EXPORT_INTERVAL": "200",
	} {
		t.Setenv(name, value)
	}
	l.p = startUp(t, t.TempDir(), "--agents", l.agents(), "--auth", "keys", "--log-level", "debug", "--admin", "127.0.0.1:0")
	_, rest, _ := strings.Cut(l.p.Output.String(), "admin ")
	l.admin = strings.Fields(rest)[0]
	var err error
	if l.c, err = client.New(l.p.Gateway, client.WithKey(l.s["admin key"])); err != nil {
		t.Fatal(err)
	}
	return l
}

// serve is an agent and a receiver: it notes the secrets that are meant for it.
func (l *life) serve(w http.ResponseWriter, r *http.Request) {
	l.col.mu.Lock()
	for _, what := range l.s.told(fmt.Appendf(nil, "%s %v", r.URL, r.Header)) {
		l.heard[what] = true
	}
	body, _ := io.ReadAll(r.Body)
	if strings.HasPrefix(r.URL.Path, "/hook") {
		l.texts["callbacks"] = append(l.texts["callbacks"], body...)
	}
	l.col.mu.Unlock()
	switch r.URL.Path {
	case "/hook/refused":
		w.WriteHeader(http.StatusForbidden)
	case "/agent/refuses":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"fine":true}`)
	}
}

// agents writes agents.yaml.
func (l *life) agents() string {
	at := strings.TrimPrefix(l.public, "http://")
	away, err := freeAddress()
	if err != nil {
		l.t.Fatal(err)
	}
	text := fmt.Sprintf(`
agents:
  - name: good
    http: {url: "http://mesh:%[1]s@%[2]s/agent/good?key=%[3]s", headers: {X-Agent: "${AGENT_HEADER}"}}
  - name: refuses
    retry: {max_attempts: 1}
    http: {url: "http://mesh:%[1]s@%[2]s/agent/refuses?key=%[3]s", headers: {X-Agent: "${AGENT_HEADER}"}}
  - name: away
    retry: {max_attempts: 1}
    http: {url: "http://mesh:%[4]s@%[5]s/?key=%[4]s"}
  - name: program
    retry: {max_attempts: 1}
    exec: {command: [sh, -c, "exit 3", "%[4]s"], env: {KEY: "${AGENT_ENV}"}}
  - name: missing
    retry: {max_attempts: 1}
    exec: {command: [sh, -c, "exec /nonexistent"], env: {KEY: "${AGENT_ENV}"}}
`, l.s["agent url password"], at, l.s["agent url query"], l.s["unreachable agent"], away)
	name := filepath.Join(l.t.TempDir(), "agents.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// keep adds to what was told under a name.
func (l *life) keep(what string, text []byte) {
	l.col.mu.Lock()
	defer l.col.mu.Unlock()
	l.texts[what] = append(append(l.texts[what], text...), '\n')
}

// ask asks the gateway and keeps the answer.
func (l *life) ask(method, at, body string, headers ...string) (status int, answer []byte) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+l.s["admin key"])
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, _ := io.ReadAll(resp.Body)
	l.keep(method+" "+at, fmt.Appendf(raw, "%v", resp.Header))
	return resp.StatusCode, raw
}

// run has tasks end well and badly, with callbacks that are taken and refused.
func (l *life) run() (ids []string) {
	for i, agent := range []string{"good", "refuses", "away", "program", "missing"} {
		callback := fmt.Sprintf(`"callback_url":"%s/hook/%s?token=%s"`, l.public, []string{"good", "refused"}[i%2], l.s["callback query"])
		status, answer := l.ask("POST", l.p.Gateway+"/tasks", `{"agent":"`+agent+`","instruction":"x",`+callback+`}`,
			"Prefer", "wait=20", "Idempotency-Key", l.s["idempotency"]+agent)
		var made struct {
			ID string `json:"task_id"`
		}
		if err := json.Unmarshal(answer, &made); err != nil || status != 200 {
			l.t.Fatalf("%s: %d %s", agent, status, answer)
		}
		ids = append(ids, made.ID)
	}
	return ids
}

// hook makes a webhook that has every secret that one may have. It returns its id.
func (l *life) hook() string {
	cert, private := meshtest.NewAuthority(l.t).Issue(l.t, func(*x509.Certificate) {})
	lines := strings.Split(strings.TrimSpace(string(private)), "\n")
	l.s["client key"] = lines[1]
	body, err := json.Marshal(map[string]any{
		"url": l.public + "/hook/all?token=" + l.s["webhook query"], "headers": map[string]string{"X-Token": l.s["webhook header"]},
		"client_certificate": string(cert), "client_key": string(private),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := l.c.Webhooks.Create(l.t.Context(), decodeRequest(l.t, body))
	if err != nil {
		l.t.Fatal(err)
	}
	l.s["webhook secret"] = resp.Secret
	again, err := l.c.Webhooks.RotateSecret(l.t.Context(), resp.WebhookID, "", time.Hour)
	if err != nil {
		l.t.Fatal(err)
	}
	l.s["webhook secret after"] = again.Secret
	return resp.WebhookID
}

func decodeRequest(t *testing.T, body []byte) (r client.WebhookRequest) {
	t.Helper()
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// refused shows credentials that are none, and asks for what is not there.
func (l *life) refused() {
	gateway := l.p.Gateway
	for _, shown := range []string{"Bearer " + l.s["wrong key"], "Bearer " + l.s["bearer"], "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+l.s["basic"])), l.s["bearer"]} {
		if status, answer := l.ask("GET", gateway+"/tasks", "", "Authorization", shown); status != 401 {
			l.t.Errorf("%d %s", status, answer)
		}
	}
	l.ask("POST", gateway+"/tasks", `{"agent":"nobody","instruction":"x","callback_url":"http://me:`+l.s["callback query"]+`@127.0.0.1/"}`)
	l.ask("POST", gateway+"/tasks", `{"agent":"good","instruction":"x","callback_url":"http://10.0.0.1/?token=`+l.s["callback query"]+`"}`)
	l.ask("POST", gateway+"/tasks", `{"agent":"good","instruction":"x"}`, "Idempotency-Key", l.s["idempotency"]+"!")
	l.ask("POST", gateway+"/webhooks", `{"url":"`+l.public+`","secret":"whsec_`+l.s["webhook header"]+`"}`)
	l.ask("POST", gateway+"/webhooks", `{"url":"`+l.public+`","client_key":"`+l.s["webhook header"]+`"}`)
}

// read reads every route that only reads, the streams of events and what the admin
// listener has.
func (l *life) read(ids []string, hook string) {
	for _, path := range []string{
		"/tasks", "/sessions", "/agents", "/agents/good", "/agents/away", "/stats", "/webhooks", "/webhooks/" + hook, "/deliveries", "/keys", "/tenants", "/audit",
		"/whoami", "/readyz", "/healthz", "/version", "/openapi.json", "/problems", "/.well-known/webhooks/jwks.json",
	} {
		l.ask("GET", l.p.Gateway+path, "")
	}
	for _, id := range ids {
		l.ask("GET", l.p.Gateway+"/tasks/"+id+"?include=input,error_detail", "")
		l.ask("GET", l.p.Gateway+"/tasks/"+id+"/events", "")
		_, answer := l.ask("GET", l.p.Gateway+"/tasks/"+id+"/deliveries", "")
		var all struct {
			Deliveries []struct {
				ID string `json:"delivery_id"`
			}
		}
		_ = json.Unmarshal(answer, &all)
		for _, d := range all.Deliveries {
			l.ask("GET", l.p.Gateway+"/deliveries/"+d.ID, "")
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/healthz", "/readyz"} {
		l.ask("GET", l.admin+path, "")
	}
}

// commands runs the terminal client, also where nobody answers.
func (l *life) commands(hook string) {
	l.t.Setenv("MESH_API_KEY", l.s["admin key"])
	away := "http://me:" + l.s["gateway url"] + "@127.0.0.1:1"
	for _, args := range [][]string{
		{"task", "list", "--gateway", l.p.Gateway}, {"webhook", "get", hook, "--gateway", l.p.Gateway}, {"delivery", "list", "--gateway", l.p.Gateway},
		{"audit", "--gateway", l.p.Gateway}, {"agents", "list", "--gateway", l.p.Gateway}, {"task", "list", "--gateway", away}, {"healthcheck", "--gateway", away}, {"top", "--once", "--gateway", away},
		{"up", "--secret-key", l.s["gateway url"], "--data", l.t.TempDir(), "--http", "127.0.0.1:0", "--admin", "off", "--nats", "off"},
		{"up", "--admin-key", l.s["gateway url"], "--auth", "keys", "--data", l.t.TempDir()},
	} {
		_, out, errs := command(l.t, args...)
		l.keep("mesh "+args[0]+" "+args[1], []byte(out+errs))
	}
	name := filepath.Join(l.t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(name, []byte("secret-key: ["+l.s["gateway url"]+"]\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	_, out, errs := command(l.t, "up", "--config", name)
	l.keep("mesh up with a bad file", []byte(out+errs))
}

// away runs a role whose NATS does not answer.
func (l *life) away() {
	away, err := freeAddress()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Setenv("NATS_URL", "nats://mesh:"+l.s["gateway url"]+"@"+away)
	p, output := meshtest.Spawn(l.t, []string{"MESH_TEST_MAIN=1"}, "gateway", "--http", "127.0.0.1:0", "--admin", "off", "--log-level", "debug")
	go p.Drain(output)
	natstest.Until(l.t, "the gateway says that NATS is away", func() bool { return strings.Contains(p.Output.String(), "NATS") })
	p.Kill()
	l.keep("a gateway without NATS", []byte(p.Output.String()))
}

// Whatever a mesh tells (logs, traces, metrics, answers, streams, callbacks, the
// terminal), and whatever it keeps, nobody finds a secret in it that was given to it.
func TestNothingThatIsToldOrKeptHasASecret(t *testing.T) {
	l := newLife(t)
	hook := l.hook()
	ids := l.run()
	l.refused()
	natstest.Until(t, "callbacks and webhooks are taken and refused", func() bool {
		_, delivered := l.ask("GET", l.p.Gateway+"/deliveries?status=delivered", "")
		_, retrying := l.ask("GET", l.p.Gateway+"/deliveries?status=retrying", "")
		return bytes.Contains(delivered, []byte(hook)) && bytes.Contains(retrying, []byte("/hook/refused"))
	})
	l.read(ids, hook)
	l.commands(hook)
	l.away()
	natstest.Until(t, "traces, metrics and logs are exported", func() bool {
		l.col.mu.Lock()
		defer l.col.mu.Unlock()
		return len(l.col.spans) > 20 && len(l.col.metrics) > 10 && len(l.col.logs) > 5
	})
	l.p.Signal(syscall.SIGTERM)
	<-l.p.Done
	l.keep("the log", []byte(l.p.Output.String()))
	l.keep("what is exported", l.col.raw)
	for _, what := range []string{"agent url password", "agent url query", "agent header", "callback query", "webhook query", "webhook header"} {
		if !l.heard[what] {
			t.Errorf("the %s did not reach whom it is for", what)
		}
	}
	for what, text := range l.texts {
		if told := l.s.told(text); len(told) > 0 {
			t.Errorf("%s tells %v", what, told)
		}
	}
	err := filepath.WalkDir(filepath.Join(l.p.Data, "nats"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if told := l.s.told(text); len(told) > 0 {
			t.Errorf("the file %s has %v", path, told)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

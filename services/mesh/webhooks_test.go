package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/shared/egress"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/signature"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// authority signs certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key, a.pem = key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// issue makes a certificate and its key, in PEM, for an address or a client.
func (a *authority) issue(t *testing.T, ip net.IP, until time.Time) (certificate, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// mutual is the TLS config of a receiver that wants certificates of a.
func (a *authority) mutual(t *testing.T, ip net.IP) *tls.Config {
	t.Helper()
	certificate, key := a.issue(t, ip, time.Now().Add(1000*time.Hour))
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, Time: time.Now}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestH22_ClientCertificateExpires has a client certificate expire: a matter of settings, with the
// schedule's pauses and no storm; with a new one it goes on.
func TestH22_ClientCertificateExpires(t *testing.T) {
	t.Run("revoked", func(t *testing.T) { synctest.Test(t, certificateRevoked) })
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		a := newAuthority(t)
		r := m.receiveTLS(nil, a.mutual(t, net.IPv4(127, 0, 1, 1)))
		certificate, key := a.issue(t, nil, time.Now().Add(time.Hour))
		hook := m.subscribe(encoded(t, map[string]any{"url": r.url, "client_certificate": certificate, "client_key": key, "ca": a.pem}))
		m.create(`{"agent":"echo","instruction":"1"}`)
		time.Sleep(time.Minute)
		if ds := m.list(""); len(ds) != 1 || ds[0].Status != "delivered" {
			t.Fatalf("deliveries = %+v", ds)
		}
		time.Sleep(2 * time.Hour)
		m.create(`{"agent":"echo","instruction":"2"}`)
		time.Sleep(4 * time.Minute)
		ds := m.list("status=retrying")
		if len(ds) != 1 || len(ds[0].Attempts) != 2 || ds[0].Attempts[0].Class != webhook.ClassTLS {
			t.Fatalf("deliveries = %+v", ds)
		}
		certificate, key = a.issue(t, nil, time.Now().Add(100*time.Hour))
		v := m.patch(hook.WebhookID, encoded(t, map[string]any{"client_certificate": certificate, "client_key": key}))
		if raw := encoded(t, v); strings.Contains(raw, "PRIVATE KEY") {
			t.Errorf("the webhook shows its key: %s", raw)
		}
		time.Sleep(time.Hour)
		if got := m.list("status=delivered"); len(got) != 2 || len(r.all()) != 2 {
			t.Errorf("delivered = %+v", got)
		}
	})
}

// certificateRevoked has the receiver refuse the certificate that it took before.
func certificateRevoked(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())
	m.alerts = &transcript{}
	m.notify()
	a := newAuthority(t)
	config := a.mutual(t, net.IPv4(127, 0, 1, 1))
	var revoked atomic.Bool
	config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
		if revoked.Load() {
			return fmt.Errorf("revoked")
		}
		return nil
	}
	r := m.receiveTLS(nil, config)
	certificate, key := a.issue(t, nil, time.Now().Add(100*time.Hour))
	m.subscribe(encoded(t, map[string]any{"url": r.url, "client_certificate": certificate, "client_key": key, "ca": a.pem}))
	m.create(`{"agent":"echo","instruction":"1"}`)
	time.Sleep(time.Minute) // and the connection is not kept
	revoked.Store(true)
	m.create(`{"agent":"echo","instruction":"2"}`)
	time.Sleep(4 * time.Minute)
	ds := m.list("status=retrying")
	if len(ds) != 1 || len(ds[0].Attempts) != 2 || len(r.all()) != 1 {
		t.Fatalf("%d requests, deliveries = %+v", len(r.all()), ds)
	}
	if last := ds[0].Attempts[1]; last.Class != webhook.ClassTLS || !strings.Contains(m.alerts.String(), ds[0].DeliveryID) {
		t.Errorf("attempt = %+v, alerts %s", last, m.alerts)
	}
}

// TestH16_EgressProxyDown has the operator's own proxy fail: nothing is charged to the endpoint.
func TestH16_EgressProxyDown(t *testing.T) {
	// Real sockets: the way to the proxy is not the way that tests replace.
	m := newMesh(t)
	m.work(echo.Agent())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &url.URL{Scheme: "http", Host: closed.Addr().String()}
	_ = closed.Close()
	m.guard = egress.New(egress.Policy{Allow: egress.Loopback(), Proxy: proxy}, m.hosts)
	m.notify()
	id := m.action(`{"agent":"echo","instruction":"x","callback_url":"https://127.0.1.1/hook"}`)
	eventually(t, 10*time.Second, "an attempt through the proxy", func() bool {
		ds := m.deliveries(id)
		return len(ds) == 1 && len(ds[0].Attempts) == 1
	})
	d, err := m.st.Delivery(t.Context(), "default", id, m.deliveries(id)[0].DeliveryID)
	if err != nil {
		t.Fatal(err)
	}
	if d.Failures != 0 || d.Attempts[0].Class != webhook.ClassEgressProxy || d.Status != webhook.Pending || time.Until(d.NextAt) > 15*time.Second {
		t.Errorf("delivery = %+v", d)
	}
}

// Bad input is refused before anything was accepted.
func TestBadCallbacks(t *testing.T) {
	m := newMesh(t)
	m.work(echo.Agent())()
	m.guard = egress.New(egress.Policy{}, m.hosts).WithDial(m.hosts.dial) // nothing private
	m.g = m.newGateway(m.st)
	many := map[string]string{}
	for i := range 21 {
		many[fmt.Sprintf("X-%d", i)] = "x"
	}
	action := func(more string) string { return `{"agent":"echo","instruction":"x",` + more + `}` }
	for _, tt := range []struct {
		name, path, body, code, detail string
	}{
		{"no callback", "/actions", `{"agent":"echo","instruction":"x"}`, "validation_failed", "/callback_url"},
		{"malformed", "/actions", action(`"callback_url":"https://exa mple/%zz"`), "validation_failed", "malformed"},
		{"no URL", "/actions", action(`"callback_url":"hello"`), "validation_failed", "https://"},
		{"ftp", "/actions", action(`"callback_url":"ftp://example.com/x"`), "validation_failed", "https://"},
		{"credentials", "/actions", action(`"callback_url":"https://user:pw@example.com/x"`), "validation_failed", "user name"},
		{"plain http", "/actions", action(`"callback_url":"http://example.com/x"`), "validation_failed", "must be https"},
		{"loopback", "/actions", action(`"callback_url":"http://127.0.0.1:9000/x"`), "callback_blocked", "allow-private-callbacks"},
		{"metadata", "/actions", action(`"callback_url":"http://169.254.169.254/latest"`), "callback_blocked", ""},
		{"localhost", "/tasks", action(`"callback_url":"https://localhost/x"`), "callback_blocked", ""},
		{"port", "/actions", action(`"callback_url":"https://example.com:22/x"`), "validation_failed", "port"},
		{"event", "/actions", action(`"callback_url":"https://example.com/x","callback_events":["action.exploded"]`), "validation_failed", "action.completed"},
		{"event of a task", "/actions", action(`"callback_url":"https://example.com/x","callback_events":["task.completed"]`), "validation_failed", "/callback_events/0"},
		{"events alone", "/tasks", action(`"callback_events":["completed"]`), "validation_failed", "callback_url"},
		{"secret", "/actions", action(`"callback_url":"https://example.com/x","callback_secret_ref":"whk_00000000000000000000000000000000"`), "validation_failed", "/callback_secret_ref"},
		{"secret's form", "/actions", action(`"callback_url":"https://example.com/x","callback_secret_ref":"*"`), "validation_failed", "/callback_secret_ref"},
		{"webhook without URL", "/webhooks", `{}`, "validation_failed", "/url"},
		{"webhook blocked", "/webhooks", `{"url":"https://10.0.0.1/x"}`, "callback_blocked", ""},
		{"webhook event", "/webhooks", `{"url":"https://example.com","events":["task.done"]}`, "validation_failed", "/events/0"},
		{"webhook agent", "/webhooks", `{"url":"https://example.com","agents":["*"]}`, "validation_failed", "/agents/0"},
		{"webhook scheme", "/webhooks", `{"url":"https://example.com","scheme":"md5"}`, "validation_failed", "/scheme"},
		{"webhook secret", "/webhooks", `{"url":"https://example.com","secret":"whsec_c2hvcnQ="}`, "validation_failed", "/secret"},
		{"too many headers", "/webhooks", encoded(t, map[string]any{"url": "https://example.com", "headers": many}), "validation_failed", "allowed are 20"},
		{"header Host", "/webhooks", `{"url":"https://example.com","headers":{"host":"x"}}`, "validation_failed", "/headers/host"},
		{"header Content-Length", "/webhooks", `{"url":"https://example.com","headers":{"Content-Length":"1"}}`, "validation_failed", "/headers/Content-Length"},
		{"header webhook-id", "/webhooks", `{"url":"https://example.com","headers":{"webhook-id":"1"}}`, "validation_failed", "/headers/webhook-id"},
		{"header twice", "/webhooks", `{"url":"https://example.com","headers":{"X-A":"1","x-a":"2"}}`, "validation_failed", "/headers/x-a"},
		{"header with a line break", "/webhooks", `{"url":"https://example.com","headers":{"X-A":"a\r\nB: c"}}`, "validation_failed", "/headers/X-A"},
		{"certificate", "/webhooks", `{"url":"https://example.com","client_certificate":"x"}`, "validation_failed", "/client_certificate"},
		{"authority", "/webhooks", `{"url":"https://example.com","ca":"x"}`, "validation_failed", "PEM"},
	} {
		w := m.do("POST", tt.path, tt.body)
		if w.Code != 422 {
			t.Errorf("%s: %d %s, want 422", tt.name, w.Code, w.Body)
			continue
		}
		if p := problem(t, w); p.Code != tt.code || !strings.Contains(encoded(t, p), tt.detail) {
			t.Errorf("%s: %+v, want %s with %q", tt.name, p, tt.code, tt.detail)
		}
	}
	if w := m.do("POST", "/actions", action(`"callback_url":"https://example.com/x"`), "Mesh-Parent-Task", "tsk_00000000000000000000000000000000"); w.Code != 422 {
		t.Errorf("an action with a parent: %d %s", w.Code, w.Body)
	}
	if n := m.queued(); n != 0 {
		t.Errorf("%d tasks were accepted", n)
	}
	if got := decode[gateway.WebhookList](t, m.do("GET", "/webhooks", "").Body); len(got.Webhooks) != 0 {
		t.Errorf("%d webhooks were made", len(got.Webhooks))
	}
	for path, code := range map[string]string{
		"/webhooks/whk_00000000000000000000000000000000": "webhook_not_found",
		"/webhooks/*": "webhook_not_found",
		"/deliveries/dlv_00000000000000000000000000000000": "delivery_not_found",
		"/deliveries/>": "delivery_not_found",
		"/actions/tsk_00000000000000000000000000000000": "action_not_found",
		"/actions/act_00000000000000000000000000000000": "action_not_found",
	} {
		if w := m.do("GET", path, ""); w.Code != 404 || problem(t, w).Code != code {
			t.Errorf("GET %s = %d %s, want %s", path, w.Code, w.Body, code)
		}
	}
}

// A webhook through its life: filters, headers, a test through the same path,
// secrets sealed at rest, and nothing after its end.
func TestWebhookLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(echo.Agent(), named("other", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(fmt.Errorf("no")) }))
		m.notify()
		r := m.receive(nil)
		hook := m.subscribe(`{"url":"` + r.url + `","events":["task.failed","task.processing"],"agents":["other"],"headers":{"X-Api-Key":"hush"},"description":"ops"}`)
		if hook.Secret == "" || !hook.Enabled || len(hook.Keys) != 1 || strings.Contains(encoded(t, hook), "hush") {
			t.Fatalf("webhook = %+v", hook)
		}
		raw, err := m.st.Webhook(t.Context(), "default", hook.WebhookID)
		if err != nil {
			t.Fatal(err)
		}
		stored := encoded(t, raw)
		if strings.Contains(stored, "hush") || strings.Contains(stored, "whsec_") {
			t.Errorf("stored in the clear: %s", stored)
		}
		w := m.do("POST", "/webhooks/"+hook.WebhookID+"/test", "")
		tested := decode[gateway.Delivery](t, w.Body)
		if w.Code != 200 || tested.Status != "delivered" || len(tested.Attempts) != 1 {
			t.Fatalf("test = %d %+v", w.Code, tested)
		}
		m.create(`{"agent":"echo","instruction":"x"}`)
		m.create(`{"agent":"other","instruction":"x"}`)
		time.Sleep(time.Minute)
		all := r.all()
		types := map[any]int{}
		for _, r := range all {
			types[r.json()["type"]]++
		}
		if len(all) != 3 || types["webhook.test"] != 1 || types["task.processing"] != 1 || types["task.failed"] != 1 {
			t.Fatalf("%d requests: %v", len(all), types)
		}
		for _, r := range all {
			verify(t, r, secretOf(t, hook.Secret))
			if r.header.Get("X-Api-Key") != "hush" {
				t.Errorf("headers = %v", r.header)
			}
		}
		// A test that fails is told and not retried.
		r.answer(status(500))
		if d := decode[gateway.Delivery](t, m.do("POST", "/webhooks/"+hook.WebhookID+"/test", "").Body); d.Status != "dead" || len(d.Attempts) != 1 {
			t.Errorf("failed test = %+v", d)
		}
		time.Sleep(time.Hour)
		if n := len(r.all()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})
}

// A callback may name the webhook whose keys sign, and its own types of events.
func TestCallbackChoices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			return "done", job.Milestone(ctx, "half", "half way", map[string]int{"n": 1})
		}))
		m.notify()
		r, other := m.receive(nil), m.receive(nil)
		hook := m.subscribe(`{"url":"` + other.url + `","events":["action.canceled"]}`)
		id := m.action(`{"agent":"steps","instruction":"x","callback_url":"` + r.url + `","callback_secret_ref":"` + hook.WebhookID + `","callback_events":["action.milestone","completed"]}`)
		m.do("POST", "/tasks", `{"agent":"steps","instruction":"x","callback_url":"`+r.url+`?task"}`)
		time.Sleep(time.Minute)
		if n := len(r.all()); n != 4 || len(other.all()) != 0 {
			t.Fatalf("%d requests, want 4; %d at the webhook", n, len(other.all()))
		}
		types := map[string]int{}
		for _, got := range r.all() {
			v := got.json()
			types[fmt.Sprint(v["type"])]++
			if v["action_id"] == id {
				verify(t, got, secretOf(t, hook.Secret))
			} else if v["task_id"] == nil {
				t.Errorf("body = %s", got.body)
			}
			if strings.HasSuffix(fmt.Sprint(v["type"]), "milestone") {
				if step, ok := v["milestone"].(map[string]any); !ok || step["name"] != "half" || step["n"] != 1.0 {
					t.Errorf("milestone = %s", got.body)
				}
			}
		}
		if fmt.Sprint(types) != "map[action.completed:1 action.milestone:1 task.completed:1 task.milestone:1]" {
			t.Errorf("types = %v", types)
		}
	})
}

// A callback whose keys are gone is not sent unsigned; with another webhook's it
// could be again, so it is retried.
func TestNothingIsSentUnsigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(nil)
		hook := m.subscribe(`{"url":"` + r.url + `","events":["action.canceled"]}`)
		id := m.action(`{"agent":"echo","instruction":"x","delay":"1m","callback_url":"` + r.url + `","callback_secret_ref":"` + hook.WebhookID + `"}`)
		m.do("DELETE", "/webhooks/"+hook.WebhookID, "")
		time.Sleep(2 * time.Minute)
		ds := m.deliveries(id)
		if len(ds) != 1 || ds[0].Status != "retrying" || ds[0].Attempts[0].Class != webhook.ClassKey || len(r.all()) != 0 {
			t.Errorf("%d requests, deliveries = %+v", len(r.all()), ds)
		}
	})
}

// Milestones and outcomes reach the callback although the notifier was away for
// longer than the bucket remembers revisions.
func TestNothingIsLostWhileTheNotifierIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 200
		m := newMesh(t)
		m.work(named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			for n := range steps {
				if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
					return nil, err
				}
				time.Sleep(time.Second)
			}
			return "done", nil
		}))
		stop := m.notify()
		r := m.receive(nil)
		m.action(`{"agent":"steps","instruction":"x","callback_url":"` + r.url + `"}`)
		time.Sleep(3500 * time.Millisecond)
		stop()
		early := len(r.all())
		if early == 0 || early > 5 {
			t.Fatalf("%d events before the notifier went away", early)
		}
		time.Sleep(time.Hour)
		m.notify()
		time.Sleep(time.Minute)
		ids := map[string]int{}
		for _, got := range r.all() {
			ids[got.id()]++
		}
		if len(ids) != steps+1 || len(r.all()) != steps+1 {
			t.Errorf("%d requests with %d ids, want %d of each", len(r.all()), len(ids), steps+1)
		}
	})
}

// The key set has the public keys that verify a callback without any secret.
func TestKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(nil)
		m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
		m.subscribe(`{"url":"` + r.url + `","scheme":"v1a","events":["task.failed"]}`)
		time.Sleep(time.Second)
		var set gateway.KeySet
		w := m.do("GET", "/.well-known/webhooks/jwks.json", "")
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || len(set.Keys) != 2 {
			t.Fatalf("key set = %s", w.Body)
		}
		raw, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
		if err != nil {
			t.Fatal(err)
		}
		public, err := signature.ParsePublicKey("whpk_" + base64.StdEncoding.EncodeToString(raw))
		if err != nil {
			t.Fatal(err)
		}
		verify(t, r.all()[0], public)
	})
}

// The wire forms of events, byte for byte but for ids and times.
func TestWebhookGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			if err := job.Milestone(ctx, "half", "half way", map[string]int{"n": 1}); err != nil {
				return nil, err
			}
			if job.Instruction == "fail" {
				return nil, agent.Permanent(fmt.Errorf("no <flights> & no trains"))
			}
			return map[string]string{"flight": "<b>&"}, nil
		}))
		m.notify()
		r := m.receive(nil)
		all := `"callback_events":["processing","milestone","completed","failed","canceled"]`
		m.do("POST", "/actions", `{"agent":"steps","instruction":"x","labels":{"team":"a"},"metadata":{"k":[1]},"callback_url":"`+r.url+`",`+all+`}`)
		time.Sleep(time.Second)
		m.do("POST", "/tasks", `{"agent":"steps","instruction":"fail","callback_url":"`+r.url+`",`+all+`}`)
		time.Sleep(time.Second)
		id := decode[api.AcceptedAction](t, m.do("POST", "/actions", `{"agent":"steps","instruction":"x","delay":"1h","callback_url":"`+r.url+`"}`).Body).ActionID
		m.do("POST", "/actions/"+id+"/cancel", "")
		time.Sleep(time.Second)
		var parts []string
		for _, got := range r.all() {
			v := got.json()
			for _, k := range []string{"action_id", "task_id", "trace_id", "timestamp"} {
				if s, ok := v[k].(string); ok {
					got.body = []byte(strings.ReplaceAll(string(got.body), s, "<"+k+">"))
				}
			}
			got.header.Set("Webhook-Timestamp", "<unix seconds>")
			got.header.Set("Webhook-Id", got.id()[:4]+"<hash>")
			got.header.Set("Traceparent", "<w3c>")
			got.header.Set("Content-Length", "<n>")
			var schemes []string
			for s := range strings.FieldsSeq(got.header.Get("Webhook-Signature")) {
				scheme, _, _ := strings.Cut(s, ",")
				schemes = append(schemes, scheme+",<base64>")
			}
			got.header.Set("Webhook-Signature", strings.Join(schemes, " "))
			var head strings.Builder
			for _, name := range slices.Sorted(maps.Keys(got.header)) {
				fmt.Fprintf(&head, "%s: %s\n", name, got.header.Get(name))
			}
			parts = append(parts, fmt.Sprintf("%s\n%s\n", head.String(), got.body))
		}
		slices.Sort(parts) // deliveries have no order
		manualtest.File(t, "testdata/webhooks.txt", strings.Join(parts, "\n"))
	})
}

// A receiver's status means what the table of notifier/README.md says.
func TestAnswers(t *testing.T) {
	for code, want := range map[int]struct {
		class  webhook.Class
		status webhook.Status
	}{
		200: {webhook.ClassDelivered, webhook.Delivered}, 202: {webhook.ClassDelivered, webhook.Delivered}, 204: {webhook.ClassDelivered, webhook.Delivered},
		301: {webhook.ClassRedirect, webhook.Retrying}, 302: {webhook.ClassRedirect, webhook.Retrying}, 303: {webhook.ClassRedirect, webhook.Retrying}, 304: {webhook.ClassRedirect, webhook.Retrying},
		307: {webhook.ClassRedirect, webhook.Retrying}, 308: {webhook.ClassRedirect, webhook.Retrying},
		400: {webhook.ClassConfig, webhook.Retrying}, 401: {webhook.ClassConfig, webhook.Retrying}, 403: {webhook.ClassConfig, webhook.Retrying}, 404: {webhook.ClassConfig, webhook.Retrying},
		405: {webhook.ClassConfig, webhook.Retrying}, 413: {webhook.ClassConfig, webhook.Retrying}, 415: {webhook.ClassConfig, webhook.Retrying}, 422: {webhook.ClassConfig, webhook.Retrying},
		408: {webhook.ClassThrottled, webhook.Retrying}, 425: {webhook.ClassThrottled, webhook.Retrying}, 429: {webhook.ClassThrottled, webhook.Retrying},
		410: {webhook.ClassGone, webhook.Dead},
		500: {webhook.ClassServer, webhook.Retrying}, 502: {webhook.ClassServer, webhook.Retrying}, 504: {webhook.ClassServer, webhook.Retrying},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := started(t)
				elsewhere := m.receive(nil)
				r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", elsewhere.url)
					w.WriteHeader(code)
				})
				id := m.action(`{"agent":"echo","instruction":"x","callback_url":"` + r.url + `"}`)
				time.Sleep(time.Second)
				ds := m.deliveries(id)
				if len(ds) != 1 || ds[0].Status != want.status || ds[0].Attempts[0].Class != want.class || ds[0].Attempts[0].StatusCode != code {
					t.Fatalf("deliveries = %+v, want %+v", ds, want)
				}
				if len(elsewhere.all()) != 0 {
					t.Error("the redirect was followed")
				}
				if where := ds[0].Attempts[0].Location; (want.class == webhook.ClassRedirect) != (where == elsewhere.url) {
					t.Errorf("location %q", where)
				}
			})
		})
	}
}

// A webhook that is disabled between two attempts gets no second one: the
// delivery is parked, and comes when it is asked for.
func TestDisabledInMidRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
		r := m.receive(status(500))
		hook := m.subscribe(`{"url":"` + r.url + `"}`)
		m.create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Second)
		m.patch(hook.WebhookID, `{"enabled":false}`)
		time.Sleep(time.Hour)
		parked := m.list("status=parked")
		if len(parked) != 1 || len(r.all()) != 1 {
			t.Fatalf("%d requests, parked %+v", len(r.all()), parked)
		}
		if w := m.do("POST", "/deliveries/"+parked[0].DeliveryID+"/redeliver", ""); w.Code != 409 || problem(t, w).Code != "webhook_disabled" {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		r.answer(nil)
		m.patch(hook.WebhookID, `{"enabled":true}`)
		if w := m.do("POST", "/deliveries/"+parked[0].DeliveryID+"/redeliver", ""); w.Code != 202 {
			t.Errorf("redeliver = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if ds := m.list("status=delivered"); len(ds) != 1 || len(r.all()) != 2 {
			t.Errorf("%d requests, delivered %+v", len(r.all()), ds)
		}
	})
}

// Two notifiers share the changes of one task; each event is told once, also
// while earlier ones are still on their way.
func TestTwoNotifiersTellOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			for n := range 60 {
				if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
					return nil, err
				}
				time.Sleep(3 * time.Second)
			}
			return "done", nil
		}))
		m.notify()
		st, _ := m.openStore()
		m.notifyWith(st)
		var n atomic.Int32
		r := m.receive(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(7 * time.Second)
			if n.Add(1)%10 == 0 {
				w.WriteHeader(404) // comes again by the schedule, and only by it
			}
		})
		hook := m.receive(nil)
		m.subscribe(`{"url":"` + hook.url + `"}`)
		m.action(`{"agent":"steps","instruction":"x","callback_url":"` + r.url + `"}`)
		time.Sleep(time.Hour)
		ids, requests := map[string]int{}, len(r.all())
		for _, got := range r.all() {
			ids[got.id()]++
		}
		refused := int(n.Load()) / 10
		if len(ids) != 61 || requests != 61+refused {
			t.Errorf("%d requests with %d ids, %d refused; want 61 ids, each once more than it was refused", requests, len(ids), refused)
		}
		if len(hook.all()) != 61 {
			t.Errorf("%d requests at the webhook, want 61", len(hook.all()))
		}
	})
}

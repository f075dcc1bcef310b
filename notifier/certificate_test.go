package notifier_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// The owner of a webhook is told what is wrong with the receiver's certificate;
// the webhook's own authority is trusted.
func TestCertificateFaultsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		ours, theirs := newAuthority(t), newAuthority(t)
		for name, tt := range map[string]struct {
			config func(ip net.IP) *tls.Config
			class  webhook.Class
			text   string
		}{
			"good":              {func(ip net.IP) *tls.Config { return receiverTLS(t, ours, ip, time.Hour) }, webhook.ClassDelivered, ""},
			"expired":           {func(ip net.IP) *tls.Config { return receiverTLS(t, ours, ip, -time.Minute) }, webhook.ClassTLS, "has expired"},
			"another name":      {func(net.IP) *tls.Config { return receiverTLS(t, ours, net.IPv4(127, 9, 9, 9), time.Hour) }, webhook.ClassTLS, "another name"},
			"another authority": {func(ip net.IP) *tls.Config { return receiverTLS(t, theirs, ip, time.Hour) }, webhook.ClassTLS, "trusted authority"},
			"old protocol": {func(ip net.IP) *tls.Config {
				c := receiverTLS(t, ours, ip, time.Hour)
				c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				return c
			}, webhook.ClassTLS, ""},
		} {
			var r *meshtest.Receiver
			r = m.ReceiveTLS(nil, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return tt.config(r.Addr.AsSlice()), nil
			}})
			hook := m.Subscribe(encoded(t, map[string]any{"url": r.URL, "ca": ours.pem}))
			w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/test", "")
			d := meshtest.Decode[api.Delivery](t, w.Body)
			if len(d.Attempts) != 1 || d.Attempts[0].Class != string(tt.class) || !strings.Contains(d.Attempts[0].Error, tt.text) {
				t.Errorf("%s: %+v", name, d)
			}
			if (len(r.All()) == 1) != (tt.class == webhook.ClassDelivered) {
				t.Errorf("%s: %d requests", name, len(r.All()))
			}
		}
	})
}

// receiverTLS is the TLS config of a receiver with a certificate of a's.
func receiverTLS(t *testing.T, a *authority, ip net.IP, left time.Duration) *tls.Config {
	c := a.mutual(t, ip)
	c.ClientAuth = tls.NoClientCert
	certificate, key := a.issue(t, ip, time.Now().Add(left))
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c
}

// TestANameThatVanishesIsRetriedAndOneThatLeadsInsideIsNotDialed has the name of a receiver vanish, and then lead
// inside: the first is retried, the second never dialed. A certificate that
// expires during the schedule is retried too, and a person is told.
func TestANameThatVanishesIsRetriedAndOneThatLeadsInsideIsNotDialed(t *testing.T) {
	t.Run("certificate", func(t *testing.T) { synctest.Test(t, certificateExpires) })
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		r := m.Receive(nil)
		// Only the receivers' own network is allowed, so that another address of
		// this machine is inside.
		m.Guard = egress.New(egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}}, m.Hosts).WithDial(m.Hosts.Dial)
		m.Gateway = m.NewGateway(m.Store)
		m.Notify()
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"https://flaps.test/hook"}`)
		time.Sleep(time.Minute)
		ds := m.Deliveries(id)
		if len(ds) != 1 || ds[0].Status != "retrying" || ds[0].Attempts[0].Class != string(webhook.ClassConnection) {
			t.Fatalf("deliveries = %+v", ds)
		}
		m.Hosts.Name("flaps.test", r.Addr, netip.MustParseAddr("169.254.169.254"))
		time.Sleep(time.Hour)
		ds = m.Deliveries(id)
		last := ds[0].Attempts[len(ds[0].Attempts)-1]
		if ds[0].Status != "dead" || last.Class != string(webhook.ClassBlocked) || strings.Contains(last.Error, "169.254") || len(r.All()) != 0 {
			t.Errorf("deliveries = %+v, %d requests", ds, len(r.All()))
		}
	})
}

func certificateExpires(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	m.Alerts = &meshtest.Transcript{}
	m.Notify()
	a := newAuthority(t)
	certificate, key := a.issue(t, net.IPv4(127, 0, 1, 1), time.Now().Add(time.Minute))
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	r := m.ReceiveTLS(meshtest.Answer(500), &tls.Config{Certificates: []tls.Certificate{pair}})
	m.Subscribe(encoded(t, map[string]any{"url": r.URL, "ca": a.pem}))
	m.Create(`{"agent":"echo","instruction":"x"}`)
	time.Sleep(50 * time.Second)
	if m.Alerts.String() != "" || len(r.All()) != 2 {
		t.Fatalf("%d requests, alerts %s", len(r.All()), m.Alerts)
	}
	time.Sleep(time.Hour)
	ds := m.DeliveriesBy("status=retrying")
	if len(ds) != 1 || len(ds[0].Attempts) != 4 || len(r.All()) != 2 {
		t.Fatalf("%d requests, deliveries = %+v", len(r.All()), ds)
	}
	if last := ds[0].Attempts[3]; last.Class != string(webhook.ClassTLS) || !strings.Contains(last.Error, "expired") || !strings.Contains(m.Alerts.String(), ds[0].DeliveryID) {
		t.Errorf("attempt = %+v, alerts %s", last, m.Alerts)
	}
}

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

// TestAnExpiredClientCertificateIsRetriedWithoutAStorm has a client certificate expire: a matter of settings, with the
// schedule's pauses and no storm; with a new one it goes on.
func TestAnExpiredClientCertificateIsRetriedWithoutAStorm(t *testing.T) {
	t.Run("revoked", func(t *testing.T) { synctest.Test(t, certificateRevoked) })
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		a := newAuthority(t)
		r := m.ReceiveTLS(nil, a.mutual(t, net.IPv4(127, 0, 1, 1)))
		certificate, key := a.issue(t, nil, time.Now().Add(time.Hour))
		hook := m.Subscribe(encoded(t, map[string]any{"url": r.URL, "client_certificate": certificate, "client_key": key, "ca": a.pem}))
		m.Create(`{"agent":"echo","instruction":"1"}`)
		time.Sleep(time.Minute)
		if ds := m.DeliveriesBy(""); len(ds) != 1 || ds[0].Status != "delivered" {
			t.Fatalf("deliveries = %+v", ds)
		}
		time.Sleep(2 * time.Hour)
		m.Create(`{"agent":"echo","instruction":"2"}`)
		time.Sleep(4 * time.Minute)
		ds := m.DeliveriesBy("status=retrying")
		if len(ds) != 1 || len(ds[0].Attempts) != 2 || ds[0].Attempts[0].Class != string(webhook.ClassTLS) {
			t.Fatalf("deliveries = %+v", ds)
		}
		certificate, key = a.issue(t, nil, time.Now().Add(100*time.Hour))
		v := m.PatchWebhook(hook.WebhookID, encoded(t, map[string]any{"client_certificate": certificate, "client_key": key}))
		if raw := encoded(t, v); strings.Contains(raw, "PRIVATE KEY") {
			t.Errorf("the webhook shows its key: %s", raw)
		}
		time.Sleep(time.Hour)
		if got := m.DeliveriesBy("status=delivered"); len(got) != 2 || len(r.All()) != 2 {
			t.Errorf("delivered = %+v", got)
		}
	})
}

// certificateRevoked has the receiver refuse the certificate that it took before.
func certificateRevoked(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	m.Alerts = &meshtest.Transcript{}
	m.Notify()
	a := newAuthority(t)
	config := a.mutual(t, net.IPv4(127, 0, 1, 1))
	var revoked atomic.Bool
	config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
		if revoked.Load() {
			return fmt.Errorf("revoked")
		}
		return nil
	}
	r := m.ReceiveTLS(nil, config)
	certificate, key := a.issue(t, nil, time.Now().Add(100*time.Hour))
	m.Subscribe(encoded(t, map[string]any{"url": r.URL, "client_certificate": certificate, "client_key": key, "ca": a.pem}))
	m.Create(`{"agent":"echo","instruction":"1"}`)
	time.Sleep(time.Minute) // and the connection is not kept
	revoked.Store(true)
	m.Create(`{"agent":"echo","instruction":"2"}`)
	time.Sleep(4 * time.Minute)
	ds := m.DeliveriesBy("status=retrying")
	if len(ds) != 1 || len(ds[0].Attempts) != 2 || len(r.All()) != 1 {
		t.Fatalf("%d requests, deliveries = %+v", len(r.All()), ds)
	}
	if last := ds[0].Attempts[1]; last.Class != string(webhook.ClassTLS) || !strings.Contains(m.Alerts.String(), ds[0].DeliveryID) {
		t.Errorf("attempt = %+v, alerts %s", last, m.Alerts)
	}
}

// TestTheOperatorsProxyIsChargedToNoEndpoint has the operator's own proxy fail: nothing is charged to the endpoint.
func TestTheOperatorsProxyIsChargedToNoEndpoint(t *testing.T) {
	// Real sockets: the way to the proxy is not the way that tests replace.
	m := meshtest.New(t)
	m.Work(echo.Agent())
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &url.URL{Scheme: "http", Host: closed.Addr().String()}
	_ = closed.Close()
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback(), Proxy: proxy}, m.Hosts)
	m.Notify()
	id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"https://127.0.1.1/hook"}`)
	natstest.Until(t, "an attempt through the proxy", func() bool {
		ds := m.Deliveries(id)
		return len(ds) == 1 && len(ds[0].Attempts) == 1
	})
	d, err := m.Store.Deliveries.Get(t.Context(), "default", webhook.Source(id), webhook.DeliveryID(m.Deliveries(id)[0].DeliveryID))
	if err != nil {
		t.Fatal(err)
	}
	if d.Failures != 0 || d.Attempts[0].Class != webhook.ClassEgressProxy || d.Status != webhook.Pending || time.Until(d.NextAt) > 15*time.Second {
		t.Errorf("delivery = %+v", d)
	}
}

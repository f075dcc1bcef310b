package main

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/shared/webhook"
)

// The owner of a webhook is told what is wrong with the receiver's certificate;
// the webhook's own authority is trusted.
func TestCertificateFaultsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := started(t)
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
			var r *receiver
			r = m.receiveTLS(nil, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return tt.config(r.addr.AsSlice()), nil
			}})
			hook := m.subscribe(encoded(t, map[string]any{"url": r.url, "ca": ours.pem}))
			w := m.do("POST", "/webhooks/"+hook.WebhookID+"/test", "")
			d := decode[gateway.Delivery](t, w.Body)
			if len(d.Attempts) != 1 || d.Attempts[0].Class != tt.class || !strings.Contains(d.Attempts[0].Error, tt.text) {
				t.Errorf("%s: %+v", name, d)
			}
			if (len(r.all()) == 1) != (tt.class == webhook.ClassDelivered) {
				t.Errorf("%s: %d requests", name, len(r.all()))
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

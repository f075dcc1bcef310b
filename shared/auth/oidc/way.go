package oidc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentmesh/shared/egress"
)

// Bounds of what an issuer is asked.
const (
	askWithin = 10 * time.Second
	maxAnswer = 1 << 20 // bytes
)

// way is how an issuer is reached. Its own host is the operator's word: it may be
// in a private network, at any port. What it refers to elsewhere may not, and
// nothing is followed that redirects.
type way struct {
	issuer       *url.URL
	own, foreign *egress.Guard
	toOwn, out   *egress.Transports
	id           egress.Identity
}

// newWay fails for an issuer that the guard refuses by its form.
func newWay(issuer *url.URL, plainHTTP bool, id egress.Identity, opts Options) (*http.Client, error) {
	inside := egress.Policy{Allow: egress.Private(), Deny: opts.Policy.Deny, Proxy: opts.Policy.Proxy, PlainHTTP: plainHTTP, AnyPort: true}
	outside := egress.Policy{Deny: opts.Policy.Deny, Proxy: opts.Policy.Proxy}
	w := &way{issuer: issuer, own: opts.Guard(inside), foreign: opts.Guard(outside), id: id}
	w.toOwn, w.out = egress.NewTransports(w.own), egress.NewTransports(w.foreign)
	if _, err := w.own.CheckURL(issuer.String()); err != nil {
		return nil, err
	}
	return &http.Client{Transport: w, Timeout: askWithin, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("an issuer must not redirect")
	}}, nil
}

// RoundTrip implements http.RoundTripper.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	guard, transports, id := w.foreign, w.out, egress.Identity{}
	if r.URL.Scheme == w.issuer.Scheme && strings.EqualFold(r.URL.Host, w.issuer.Host) {
		guard, transports, id = w.own, w.toOwn, w.id
	}
	if _, err := guard.CheckURL(r.URL.String()); err != nil {
		return nil, err
	}
	resp, err := transports.Do(r, "", id)
	if err != nil {
		return nil, err
	}
	resp.Body = &capped{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

// CloseIdleConnections serves http.Client.
func (w *way) CloseIdleConnections() {
	w.toOwn.Close()
	w.out.Close()
}

// capped is an answer that fails when it is too long.
type capped struct {
	io.ReadCloser
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the answer has over %d bytes", maxAnswer)
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

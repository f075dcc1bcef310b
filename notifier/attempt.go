package notifier

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentmesh/shared/egress"
	"agentmesh/shared/pause"
	"agentmesh/shared/signature"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// Limits of one attempt.
const (
	attemptTimeout = 15 * time.Second // for all of it, the answer's body included
	maxAnswer      = 64 << 10         // read of the answer
	keepAnswer     = 4 << 10          // kept of it
	userAgent      = "agentmesh-webhooks/1"
	mediaA2A       = "application/a2a+json" // of push notifications
)

// verdict is what an attempt means: the class for the record, what is to become
// of the delivery, and what it says of the endpoint.
type verdict struct {
	attempt webhook.Attempt
	after   next
	disable bool          // the endpoint wants nothing any more
	asked   time.Duration // Retry-After
	health  result
	alert   bool   // a person must look, now
	span    string // of the attempt in W3C form, if it was recorded
}

// next is what becomes of a delivery after an attempt.
type next int

const (
	retry          next = iota // by the schedule
	finished                   // delivered
	giveUp                     // dead: no other attempt would help
	retryUncounted             // again soon, without counting it: our own proxy is at fault
)

// sender sends deliveries to their receivers.
type sender struct {
	guard    *egress.Guard
	outbound *egress.Transports
}

// traced attempts a delivery within a span of its own.
func (s sender) traced(ctx context.Context, d *webhook.Delivery, to target, hdr map[string][]string) verdict {
	ctx, span := startProcess(ctx, d, hdr)
	v := s.attempt(ctx, d, to)
	v.span = telemetry.Recorded(ctx)
	var err error
	if v.after != finished {
		err = errors.New(string(v.attempt.Class))
	}
	telemetry.End(span, err)
	return v
}

// attempt sends the delivery once.
func (s sender) attempt(ctx context.Context, d *webhook.Delivery, to target) verdict {
	began := time.Now()
	v := s.exchange(ctx, d, to)
	v.attempt.At, v.attempt.URL = began.UTC().Truncate(time.Millisecond), shown(to.url)
	v.attempt.Duration = time.Since(began)
	return v
}

func (s sender) exchange(ctx context.Context, d *webhook.Delivery, to target) (v verdict) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// The same check as when the URL was accepted: the policy may have changed.
	url, err := s.guard.CheckURL(to.url)
	if err != nil {
		return failed(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url.String(), bytes.NewReader(d.Body))
	if err != nil {
		return failed(fmt.Errorf("%w: it is malformed", webhook.ErrURL))
	}
	for name, value := range to.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", cmp.Or(to.media, "application/json"))
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set(webhook.DepthHeader, strconv.Itoa(max(d.Depth, 1)))
	ctx, span := telemetry.StartRequest(ctx, req.Method, req.URL)
	defer func() { telemetry.EndRequest(span, v.attempt.StatusCode, kindOf(v)) }()
	req = req.WithContext(ctx)
	telemetry.InjectHTTP(ctx, req.Header)
	// The timestamps of one delivery never go back, whatever the clock does.
	d.Signed = max(time.Now().Unix(), d.Signed)
	if err := signature.Sign(req.Header, string(d.ID), time.Unix(d.Signed, 0), d.Body, to.keys...); err != nil {
		return verdict{attempt: webhook.Attempt{Class: webhook.ClassKey, Error: err.Error()}, alert: true}
	}
	shown := false // our certificate, on a new connection
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { shown = !c.Reused && to.identity.Certificate != "" },
	}))
	resp, err := s.outbound.Do(req, d.Tenant, to.identity)
	if err != nil && shown && failed(err).attempt.Class == webhook.ClassConnection {
		// TLS 1.3 refuses a certificate after the handshake: whether that is read
		// before the connection is closed is a race.
		err = fmt.Errorf("%w: the connection broke when the client certificate was shown", egress.ErrTLS)
	}
	if err != nil {
		if to.identity.Expired(time.Now()) {
			err = fmt.Errorf("%w: the client certificate has expired", egress.ErrTLS)
		}
		return failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return answered(resp, time.Now())
}

// answered reads an answer. The status line decides: an error after it only
// shortens the kept part of the body.
func answered(resp *http.Response, now time.Time) verdict {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	text := kept(body)
	v := verdict{attempt: webhook.Attempt{StatusCode: resp.StatusCode, Answer: text}, health: success}
	says := strings.ToLower(strings.TrimSpace(resp.Header.Get("Webhook-Delivery")))
	v.disable = says == "disable" || resp.StatusCode == http.StatusGone
	code := resp.StatusCode
	switch {
	case code >= 200 && code < 300:
		v.attempt.Class, v.after = webhook.ClassDelivered, finished
		return v
	case v.disable:
		v.attempt.Class, v.after = webhook.ClassGone, giveUp
	case says == "abort-message":
		v.attempt.Class, v.after = webhook.ClassAborted, giveUp
	case code >= 300 && code < 400:
		v.attempt.Class, v.attempt.Location = webhook.ClassRedirect, task.Clip(shown(resp.Header.Get("Location")), 2048)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		v.attempt.Class, v.health = webhook.ClassThrottled, failure
	case code >= 500:
		v.attempt.Class, v.health = webhook.ClassServer, failure
	default:
		v.attempt.Class, v.alert = webhook.ClassConfig, true
	}
	v.asked = pause.RetryAfter(resp.Header, now, maxRetryAfter)
	v.attempt.Error = fmt.Sprintf("the receiver answered %d %s", code, http.StatusText(code))
	return v
}

// shown is a URL without what may be a secret.
func shown(url string) string {
	text, _ := webhook.ShownURL(url)
	return text
}

// kept is what the record keeps of an answer. Control characters would take six
// bytes each there, and do harm on a terminal.
func kept(body []byte) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, string(body[:min(len(body), keepAnswer+utf8.UTFMax)]))
	return task.Cut(text, keepAnswer)
}

// failed reads the error of a request without an answer. The error stays general
// about the network: a client may point a webhook anywhere, and must not learn
// from an error what is there.
func failed(err error) verdict {
	fault := func(class webhook.Class, text string) verdict {
		return verdict{attempt: webhook.Attempt{Class: class, Error: text}, health: failure}
	}
	var netErr net.Error
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, webhook.ErrBlocked):
		return verdict{attempt: webhook.Attempt{Class: webhook.ClassBlocked, Error: webhook.ErrBlocked.Error()}, after: giveUp, alert: true}
	case errors.Is(err, webhook.ErrURL):
		return verdict{attempt: webhook.Attempt{Class: webhook.ClassBlocked, Error: err.Error()}, after: giveUp, alert: true}
	case errors.Is(err, egress.ErrProxy):
		return verdict{attempt: webhook.Attempt{Class: webhook.ClassEgressProxy, Error: egress.ErrProxy.Error()}, after: retryUncounted, alert: true}
	case isTLS(err):
		return verdict{attempt: webhook.Attempt{Class: webhook.ClassTLS, Error: tlsText(err)}, alert: true}
	case errors.As(err, &dns) && !dns.IsTimeout:
		return fault(webhook.ClassConnection, "the name of the receiver does not resolve")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return fault(webhook.ClassTimeout, fmt.Sprintf("no answer within %v", attemptTimeout))
	case errors.As(err, &op) && op.Op == "dial":
		return fault(webhook.ClassConnection, "no connection to the receiver")
	}
	return fault(webhook.ClassConnection, "the connection broke before an answer")
}

func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	return errors.Is(err, egress.ErrTLS) || errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

// tlsText is what the owner of an endpoint must know of a TLS error.
func tlsText(err error) string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var op *net.OpError
	switch {
	case errors.Is(err, egress.ErrTLS):
		return err.Error()
	case errors.As(err, &unknown):
		return "the receiver's certificate is not signed by a trusted authority"
	case errors.As(err, &host):
		return "the receiver's certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the receiver's certificate has expired"
	case errors.As(err, &invalid):
		return "the receiver's certificate is not valid"
	case errors.As(err, &op) && op.Op == "remote error":
		return "the receiver refused the TLS handshake: " + op.Err.Error()
	}
	return "the TLS handshake failed"
}

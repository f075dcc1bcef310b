package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/signature"
)

// Why a request is not believed; ask with errors.Is.
var (
	ErrMissing   = signature.ErrMissing
	ErrMalformed = signature.ErrMalformed
	ErrTimestamp = signature.ErrTimestamp
	ErrMismatch  = signature.ErrMismatch
)

// Bounds of a request's headers.
const (
	maxSignatures = 16
	maxHeader     = 8 << 10
	maxDelivery   = 256
)

// Headers of a request, by their canonical names.
type Headers map[string][]string

// Get is the first value of a header.
func (h Headers) Get(name string) string { return http.Header(h).Get(name) }

// one is the value of a header that must be there once.
func (h Headers) one(name string) (string, error) {
	values := http.Header(h).Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("%w: %s", ErrMissing, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s is there %d times", ErrMalformed, name, len(values))
	case len(values[0]) > maxHeader:
		return "", fmt.Errorf("%w: %s has %d bytes", ErrMalformed, name, len(values[0]))
	}
	return values[0], nil
}

// Authentic says whether a request comes from somebody who knows one of the
// secrets. It looks at the bytes of the body and parses nothing of them. The error
// is one of the package's, with what was wrong.
func (v *Verify) Authentic(h Headers, body []byte, secrets []string, now time.Time) error {
	if len(secrets) == 0 {
		return fmt.Errorf("%w: the hook has no secret that is still valid", ErrMismatch)
	}
	if v.idHeader() {
		if _, err := v.delivery(h); err != nil {
			return err
		}
	}
	switch v.Style {
	case Standard:
		return v.standard(h, body, secrets, now)
	case Token:
		return v.token(h, secrets)
	}
	content, signatures, err := v.signed(h, body, now)
	if err != nil {
		return err
	}
	if len(signatures) > maxSignatures {
		return fmt.Errorf("%w: there are %d signatures, allowed are %d", ErrMalformed, len(signatures), maxSignatures)
	}
	good := false
	for _, secret := range secrets { // all of them, whichever fits
		mac := v.mac(secret, content)
		for _, text := range signatures {
			sent, err := v.decode(text)
			good = err == nil && hmac.Equal(mac, sent) || good
		}
	}
	if !good {
		return fmt.Errorf("%w of %d, with %d secrets", ErrMismatch, len(signatures), len(secrets))
	}
	return nil
}

// idHeader reports whether the id of a delivery is in a header.
func (v *Verify) idHeader() bool { return v.ID != IDNone && !strings.HasPrefix(v.ID, "/") }

// delivery is the id of a delivery that is in a header.
func (v *Verify) delivery(h Headers) (string, error) {
	id, err := h.one(v.ID)
	if err == nil && !validDelivery(id) {
		err = fmt.Errorf("%w: %s is no id of 1 to %d printable characters", ErrMalformed, v.ID, maxDelivery)
	}
	return id, err
}

func validDelivery(id string) bool {
	return id != "" && len(id) <= maxDelivery && !strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd })
}

// signed is what a request says is signed, and its signatures.
func (v *Verify) signed(h Headers, body []byte, now time.Time) (content []byte, signatures []string, err error) {
	switch v.Style {
	case GitHub:
		text, err := h.one("X-Hub-Signature-256")
		if err != nil {
			return nil, nil, err
		}
		text, err = after(text, "sha256=", "X-Hub-Signature-256")
		return body, []string{text}, err
	case Stripe:
		return stripe(h, body, now)
	case Slack:
		return slack(h, body, now)
	}
	text, err := h.one(v.Header)
	if err != nil {
		return nil, nil, err
	}
	if text, err = after(text, v.Prefix, v.Header); err != nil {
		return nil, nil, err
	}
	stamp := ""
	if v.Timestamp != "" {
		if stamp, err = h.one(v.Timestamp); err != nil {
			return nil, nil, err
		}
		if err := fresh(stamp, now); err != nil {
			return nil, nil, err
		}
	}
	id := ""
	if v.idHeader() {
		id = h.Get(v.ID)
	}
	return fill(v.Content, id, stamp, body), []string{text}, nil
}

func after(text, prefix, header string) (string, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return "", fmt.Errorf("%w: %s does not begin with %s", ErrMalformed, header, prefix)
	}
	return rest, nil
}

var validStamp = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// fresh refuses a time in Unix seconds that is too far from now, or has another
// form than the one.
func fresh(stamp string, now time.Time) error {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || !validStamp.MatchString(stamp) {
		return fmt.Errorf("%w: the time is no number of seconds since 1970", ErrMalformed)
	}
	if off, most := seconds-now.Unix(), int64(signature.Tolerance/time.Second); off > most || off < -most {
		return fmt.Errorf("%w: %v, allowed is %v", ErrTimestamp, time.Duration(min(max(off, -1e9), 1e9))*time.Second, signature.Tolerance)
	}
	return nil
}

// stripe reads Stripe-Signature: t=...,v1=...[,v1=...]. Other schemes, such as the
// v0 of tests, say nothing.
func stripe(h Headers, body []byte, now time.Time) (content []byte, signatures []string, err error) {
	const name = "Stripe-Signature"
	text, err := h.one(name)
	if err != nil {
		return nil, nil, err
	}
	var stamps []string
	for part := range strings.SplitSeq(text, ",") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "t":
			stamps = append(stamps, value)
		case "v1":
			signatures = append(signatures, value)
		}
	}
	if len(stamps) != 1 || len(signatures) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has one t and at least one v1", ErrMalformed, name)
	}
	return fill("{timestamp}.{body}", "", stamps[0], body), signatures, fresh(stamps[0], now)
}

func slack(h Headers, body []byte, now time.Time) (content []byte, signatures []string, err error) {
	text, err := h.one("X-Slack-Signature")
	if err != nil {
		return nil, nil, err
	}
	if text, err = after(text, "v0=", "X-Slack-Signature"); err != nil {
		return nil, nil, err
	}
	stamp, err := h.one("X-Slack-Request-Timestamp")
	if err == nil {
		err = fresh(stamp, now)
	}
	return fill("v0:{timestamp}:{body}", "", stamp, body), []string{text}, err
}

// standard verifies by Standard Webhooks. A request has one header of each name.
func (v *Verify) standard(h Headers, body []byte, secrets []string, now time.Time) error {
	text, err := h.one(signature.HeaderSignature)
	if err != nil {
		return err
	}
	if n := len(strings.Fields(text)); n > maxSignatures {
		return fmt.Errorf("%w: there are %d signatures, allowed are %d", ErrMalformed, n, maxSignatures)
	}
	var keys []signature.VerifyingKey
	for _, s := range secrets {
		k, err := standardKey(s)
		if err != nil {
			return fmt.Errorf("%w: a secret of the hook: %w", ErrMismatch, err)
		}
		keys = append(keys, k)
	}
	_, err = signature.Verifier{Keys: keys}.Verify(http.Header(h), body, now)
	return err
}

// token compares a shared text. Both sides are hashed first, so that their lengths
// do not show either.
func (v *Verify) token(h Headers, secrets []string) error {
	text, err := h.one(v.Header)
	if err != nil {
		return err
	}
	sent := sha256.Sum256([]byte(text))
	good := false
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(v.shown(secret)))
		good = hmac.Equal(want[:], sent[:]) || good
	}
	if !good {
		return fmt.Errorf("%w: the token is another one", ErrMismatch)
	}
	return nil
}

// shown is the header of a token.
func (v *Verify) shown(secret string) string {
	if v.Username != "" {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(v.Username+":"+secret))
	}
	return v.Prefix + secret
}

// Secretive reports whether a header carries what verifies a request, or other
// credentials: no agent gets it.
func (v *Verify) Secretive(name string) bool {
	return secretHeader(name) || v.Style == Token && strings.EqualFold(name, v.Header)
}

// Sign puts into h what a sender would: for development. id is that of the delivery
// where the style has it in a header.
func (v Verify) Sign(h http.Header, secret, id string, at time.Time, body []byte) error {
	v = v.withDefaults()
	if bad := v.checkSecret(secret); bad != "" {
		return errors.New("secret: " + bad)
	}
	if v.idHeader() && v.Style != Standard {
		h.Set(v.ID, id)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	hexOf := func(template string) string { return v.encode(v.mac(secret, fill(template, id, stamp, body))) }
	switch v.Style {
	case Standard:
		key, err := signature.ParseSecret(secret)
		if err != nil {
			return err
		}
		return signature.Sign(h, id, at, body, key)
	case GitHub:
		h.Set("X-Hub-Signature-256", "sha256="+hexOf("{body}"))
	case Stripe:
		h.Set("Stripe-Signature", "t="+stamp+",v1="+hexOf("{timestamp}.{body}"))
	case Slack:
		h.Set("X-Slack-Request-Timestamp", stamp)
		h.Set("X-Slack-Signature", "v0="+hexOf("v0:{timestamp}:{body}"))
	case HMAC:
		if v.Timestamp != "" {
			h.Set(v.Timestamp, stamp)
		}
		h.Set(v.Header, v.Prefix+hexOf(v.Content))
	case Token:
		h.Set(v.Header, v.shown(secret))
	default:
		return fmt.Errorf("style is %q, allowed are %v", v.Style, slices.Concat(Styles))
	}
	return nil
}

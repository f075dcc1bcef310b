package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/keyring"
	"agentmesh/shared/signature"
	"agentmesh/shared/webhook"
)

// Verdict is what the keys of a webhook say of a request that was signed.
type Verdict struct {
	Valid  bool   // one of the keys has signed it
	Key    string // that one's id
	Scheme webhook.Scheme
	At     time.Time // that the request says it was sent at, if it says so
	// Stale says that a receiver refuses it for its time, whoever has signed it.
	Stale  bool
	Reason Why
}

// Why is why a request is not valid, or what is wrong with a valid one.
type Why string

// The reasons.
const (
	WhyMissing   Why = "headers_missing"
	WhyMalformed Why = "headers_malformed"
	WhyMismatch  Why = "no_signature_matches"
	WhyStale     Why = "timestamp_too_far"
)

// The pace of checks of one webhook.
const (
	verifyEvery = time.Second
	verifyBurst = 20
)

// MaxVerified is the largest body in bytes that is checked.
const MaxVerified = 1 << 20

// Verify says whether one of a webhook's keys has signed a request. It tells nothing
// by which a caller could sign one: neither a secret nor a signature.
func (c Webhooks) Verify(ctx context.Context, who auth.Caller, id webhook.ID, headers map[string][]string, body []byte) (v Verdict, err error) {
	e, err := c.Get(ctx, who, id)
	if err != nil {
		return v, err
	}
	if c.keys == nil {
		return v, callbacksOff()
	}
	if len(body) > MaxVerified {
		return v, Refuse(ErrTooLarge, "The body has %d bytes, allowed are %d.", len(body), MaxVerified)
	}
	if p := c.limits.checks.take(who.Tenant + " " + string(id)); !p.ok {
		return v, limited(ErrRateLimited, p.wait, "A webhook's signatures are checked once a second, and %d at once.", verifyBurst)
	}
	secrets, err := c.keys.Open(e)
	if err != nil {
		return v, Refuse(ErrWebhookUnreadable, "The secrets of the webhook cannot be opened. Give it a new one: POST /webhooks/%s/rotate-secret.", e.ID)
	}
	return verdictOf(e, secrets, headers, body)
}

// verdictOf asks each key. An old request is checked as of its own time, so that the
// answer tells a wrong secret from a late request.
func verdictOf(e *webhook.Endpoint, secrets webhook.Secrets, headers map[string][]string, body []byte) (v Verdict, err error) {
	now := time.Now()
	for _, k := range e.Signing(now) {
		key, err := keyring.VerifyingKey(k, secrets)
		if err != nil {
			return v, err
		}
		check := signature.Verifier{Keys: []signature.VerifyingKey{key}}
		msg, err := check.Verify(headers, body, now)
		if errors.Is(err, signature.ErrTimestamp) {
			v.Stale = true
			msg, err = check.Verify(headers, body, msg.At)
		}
		v.At, v.Reason = msg.At, whyNot(err)
		if err == nil {
			v.Valid, v.Key, v.Scheme = true, k.ID, k.Scheme
			break
		}
	}
	if v.Valid && v.Stale {
		v.Reason = WhyStale
	}
	return v, nil
}

func whyNot(err error) Why {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, signature.ErrMissing):
		return WhyMissing
	case errors.Is(err, signature.ErrMalformed):
		return WhyMalformed
	}
	return WhyMismatch
}

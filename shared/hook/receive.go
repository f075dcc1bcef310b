package hook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/signature"
)

// Received is a request that was verified. ID is that of the delivery, the same on
// every repeat; it is empty where the request has none. At is zero where no time is
// signed. Body is the body as JSON: a form is an object of its fields, another text a
// string.
type Received struct {
	ID   string
	At   time.Time
	Body json.RawMessage
}

// Receive verifies a request at a receiver of one's own, as a hook of the mesh does.
// The error is one of the package's, wrapped with what was wrong, or says what is wrong
// with v or a secret.
//
//	r, err := hook.Verify{Style: hook.GitHub}.Receive(req.Header, body, []string{secret}, time.Now())
func (v Verify) Receive(h http.Header, body []byte, secrets []string, now time.Time) (Received, error) {
	if v = v.withDefaults(); v.ID == "" {
		v.ID = IDNone
	}
	var f faults
	if v.check(&f); len(f) > 0 {
		bad := slices.MinFunc(f, func(a, b Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
		return Received{}, fmt.Errorf("%s: %s", strings.TrimPrefix(bad.Pointer, "/verify/"), bad.Detail)
	}
	for _, s := range secrets {
		if bad := v.checkSecret(s); bad != "" {
			return Received{}, fmt.Errorf("secret: %s", bad)
		}
	}
	if err := v.Authentic(Headers(h), body, secrets, now); err != nil {
		return Received{}, err
	}
	form := FormOf(h.Get("Content-Type"))
	if form != formForm {
		if form = formJSON; !json.Valid(body) {
			form = formText
		}
	}
	read, err := AsJSON(form, body)
	if err != nil {
		return Received{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r := Received{At: v.signedAt(Headers(h)), Body: read}
	r.ID, _, _ = v.DeliveryID(&Delivery{Headers: Headers(h), Body: read})
	return r, nil
}

// signedAt is the time of a request that was verified.
func (v *Verify) signedAt(h Headers) time.Time {
	stamp := h.Get(v.Timestamp)
	switch v.Style {
	case Standard:
		stamp = h.Get(signature.HeaderTimestamp)
	case Slack:
		stamp = h.Get("X-Slack-Request-Timestamp")
	case Stripe:
		for part := range strings.SplitSeq(h.Get("Stripe-Signature"), ",") {
			if t, ok := strings.CutPrefix(part, "t="); ok {
				stamp = t
			}
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

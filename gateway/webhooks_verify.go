package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/signature"
)

// verification asks whether a request is signed.
type verification struct {
	onWebhook
	Body api.VerifyRequest `body:"required"`
}

// verify is POST /webhooks/{id}/verify.
func (h webhooks) verify(ctx context.Context, in verification) (out fresh[api.Verdict], err error) {
	headers := http.Header{}
	for name, value := range in.Body.Headers {
		headers.Set(name, value)
	}
	v, err := h.mesh.Webhooks.Verify(ctx, in.caller(), in.ID, headers, []byte(in.Body.Body))
	if err != nil {
		return out, err
	}
	return fresh[api.Verdict]{Body: &api.Verdict{
		Valid: v.Valid, KeyID: v.Key, Scheme: string(v.Scheme), SentAt: v.At, Reason: string(v.Reason), Detail: verdictText(v, time.Now()),
	}}, nil
}

// verdictText is what a verdict means for a receiver.
func verdictText(v mesh.Verdict, now time.Time) string {
	names := signature.HeaderID + ", " + signature.HeaderTimestamp + " and " + signature.HeaderSignature
	off := now.Sub(v.At).Round(time.Second)
	switch v.Reason {
	case mesh.WhyMissing:
		return "A request has " + names + "; paste them as they came."
	case mesh.WhyMalformed:
		return "The headers must be one id without dots, one time in Unix seconds, and signatures such as v1,<base64>."
	case mesh.WhyStale:
		return fmt.Sprintf("It is signed, and its time is %v from now: a receiver that allows %v refuses it. See its clock, or that nothing holds requests back.", off, signature.Tolerance)
	case mesh.WhyMismatch:
		return "No key of the webhook has signed this body under these headers. The body must be the bytes as they came, not JSON that was written anew; and the receiver must have this webhook's secret."
	}
	return "One of the webhook's keys has signed it."
}

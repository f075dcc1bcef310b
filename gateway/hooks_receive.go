package gateway

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/hook"
	"agentmesh/shared/mesh"
)

// receiving is the refusals of a delivery.
var receiving = []*mesh.Refusal{
	mesh.ErrHookNotFound, mesh.ErrHookRejected, mesh.ErrHookPaused, mesh.ErrHookUnserved, mesh.ErrRateLimited, mesh.ErrTooManyPending, mesh.ErrTooManySessions,
	mesh.ErrTooLarge, problem.ErrUnsupportedMediaType, problem.ErrBodyStalled, problem.ErrTooManyBodies, mesh.ErrStoreFull,
	mesh.ErrMalformedJSON, mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrInputInvalid, mesh.ErrInputTooComplex,
}

// received is the answer to a delivery.
type received struct {
	Known     *api.HookAccepted `status:"200" doc:"The delivery was known: the same task again. Of one that asks whether anybody is there, its challenge as text."`
	Challenge value             `status:"200"`
	Body      *api.HookAccepted `status:"202" doc:"It is stored. The task is never awaited."`
	Ignored   bool              `status:"204" doc:"It is verified, and the hook does not want it."`
	Replayed  string            `header:"Idempotent-Replayed" on:"200" doc:"true: the delivery was known, and nothing was started."`
}

// receive is POST /hooks/{id}. Nobody is asked who they are: the request is verified
// over its bytes as they came, and parsed after that.
func (h hooks) receive(ctx context.Context, in onHook) (out received, err error) {
	one, err := h.mesh.Hooks.Find(ctx, in.ID, remote(in.r))
	if err != nil {
		return out, err
	}
	body, err := in.raw(one)
	if err != nil {
		return out, err
	}
	a, err := h.mesh.Hooks.Receive(ctx, one, mesh.HookRequest{Headers: headersOf(in.r), Body: body, From: remote(in.r), EventDepth: in.depth})
	if err != nil {
		return out, err
	}
	said := &api.HookAccepted{TaskID: string(a.TaskID)}
	if a.TaskID != "" {
		said.StatusURL = string(in.links()) + taskURL(a.TaskID)
	}
	switch a.Outcome {
	case hook.Ignored:
		out.Ignored = true
	case hook.Challenge:
		out.Challenge = challenge(a.Challenge)
	case hook.Repeated:
		out.Known, out.Replayed = said, replayed(true)
	default:
		out.Body = said
	}
	return out, nil
}

// challenge answers with a text, and with nothing but it.
func challenge(text string) value {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

// raw reads the body of a delivery as it came, within the limit of its hook.
func (c *call) raw(h *hook.Hook) ([]byte, error) {
	if hook.FormOf(c.r.Header.Get("Content-Type")) == "" {
		return nil, mesh.Refuse(problem.ErrUnsupportedMediaType, "The content type is %q; a hook takes JSON, forms and text.", mesh.Clip(c.r.Header.Get("Content-Type"), 128))
	}
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, mesh.Refuse(problem.ErrUnsupportedMediaType, "The content encoding is %q; send the body as it is.", mesh.Clip(enc, 128))
	}
	if c.r.ContentLength > h.MaxBody {
		c.front.drainRefused(c.r)
		return nil, overLimit(h)
	}
	var buf bytes.Buffer
	if n := c.r.ContentLength; n > 0 {
		buf.Grow(int(min(n, smallBody)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(c.r.Body, h.MaxBody+1))
	if err == nil && n > h.MaxBody {
		err = overLimit(h)
	}
	if err != nil {
		if err = brokenBody(err); refusedWhole(err) {
			buf = bytes.Buffer{}
			c.front.drainRefused(c.r)
		}
		return nil, err
	}
	return buf.Bytes(), nil
}

func overLimit(h *hook.Hook) error {
	return mesh.Refuse(mesh.ErrTooLarge, "The body is over %d bytes, which the hook takes at most.", h.MaxBody)
}

// headersOf are those of a request. A name that was sent in more than one spelling
// has all its values.
func headersOf(r *http.Request) hook.Headers { return hook.Headers(maps.Clone(r.Header)) }

// fromOutside keeps what a request of the outside says of traces from being taken
// for ours: it could put its spans into anybody's trace.
func fromOutside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if name == "Traceparent" || name == "Tracestate" || strings.EqualFold(name, "baggage") {
				r.Header.Del(name)
			}
		}
		next.ServeHTTP(w, r)
	})
}

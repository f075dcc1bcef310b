// Package http runs an HTTP service as an agent: one POST of the protocol's
// object for each attempt. The answer's body is the result (application/json),
// its text (text/*), or a stream of messages as package protocol says
// (application/x-ndjson).
//
// It promises that every answer has a defined outcome within bounds of memory,
// that no redirect is followed, and that the service can tell a repeat from the
// first try by Idempotency-Key: <task_id>.<attempt>. It knows no queue.
package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	nethttp "net/http"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// Config is the http section of an agent.
type Config struct {
	URL     string
	Headers map[string]string
}

const (
	maxAnswer   = 32 << 20 // bytes of an application/json or text answer
	maxExcerpt  = 1 << 10  // bytes of an error's body in the message
	maxRetry    = time.Hour
	connections = 64 // kept open to one service
)

// New makes the handler of a service.
func New(cfg Config) agent.Handler {
	transport := nethttp.DefaultTransport.(*nethttp.Transport).Clone()
	transport.MaxIdleConnsPerHost = connections
	s := &service{cfg: cfg, client: &nethttp.Client{
		Transport:     transport,
		CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
	}}
	return s.run
}

type service struct {
	cfg    Config
	client *nethttp.Client
}

// run is one attempt. The attempt's timeout, in ctx, is that of the whole
// exchange.
func (s *service) run(ctx context.Context, job *agent.Job) (any, error) {
	body, err := protocol.Encode(job)
	if err != nil {
		return nil, err
	}
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, unreachable(err)
	}
	for name, value := range s.cfg.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, application/x-ndjson, text/plain")
	req.Header.Set("Idempotency-Key", job.TaskID+"."+strconv.Itoa(job.Attempt))
	if job.TraceParent != "" {
		req.Header.Set("Traceparent", job.TraceParent)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refused(resp)
	}
	return read(ctx, resp, job)
}

// read takes a good answer by its content type.
func read(ctx context.Context, resp *nethttp.Response, job *agent.Job) (any, error) {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == nethttp.StatusNoContent:
		return nil, nil
	case media == "application/x-ndjson":
		o, err := protocol.Read(ctx, resp.Body, job)
		var fault *agent.Error
		switch {
		case errors.As(err, &fault):
			return nil, fault
		case err != nil:
			return nil, interrupted(ctx, err)
		}
		return o.Value()
	case media == "application/json", strings.HasPrefix(media, "text/"):
	default:
		return nil, bad("the content type is %q; answer application/json, application/x-ndjson or text/plain", media)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, interrupted(ctx, err)
	case len(raw) > maxAnswer:
		return nil, &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the answer is over %d bytes: store it elsewhere and return a reference", maxAnswer)}
	case media != "application/json":
		return map[string]string{"text": strings.ToValidUTF8(string(raw), "\uFFFD")}, nil
	case !json.Valid(raw):
		return nil, bad("the content type is application/json and the body is not JSON: %s", excerpt(raw))
	}
	return json.RawMessage(raw), nil
}

// refused is the error of an answer that is none: 4xx is permanent but for 408,
// 425 and 429, everything else retries and honours Retry-After.
func refused(resp *nethttp.Response) *agent.Error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt))
	message := "the agent answered " + resp.Status
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		message += "; redirects are not followed: write the final address into agents.yaml"
	case len(bytes.TrimSpace(raw)) > 0:
		message += ": " + excerpt(raw)
	}
	permanent := resp.StatusCode >= 400 && resp.StatusCode < 500
	switch resp.StatusCode {
	case nethttp.StatusRequestTimeout, nethttp.StatusTooEarly, nethttp.StatusTooManyRequests:
		permanent = false
	}
	return &agent.Error{Code: task.CodeAgentHTTPError, Message: message, Permanent: permanent, RetryAfter: retryAfter(resp.Header)}
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3), at most maxRetry.
func retryAfter(h nethttp.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return min(time.Duration(min(max(seconds, 0), int(maxRetry/time.Second)))*time.Second, maxRetry)
	}
	if at, err := nethttp.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxRetry)
	}
	return 0
}

// interrupted is the error of an exchange that broke off, or the reason why it
// was ended.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return unreachable(err)
}

func unreachable(err error) *agent.Error {
	return &agent.Error{Code: task.CodeAgentUnreachable, Message: "the agent did not answer: " + err.Error(), Err: err}
}

func bad(format string, args ...any) *agent.Error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Message: fmt.Sprintf(format, args...), Permanent: true}
}

func excerpt(raw []byte) string {
	return strings.TrimSpace(strings.ToValidUTF8(string(raw[:min(len(raw), maxExcerpt)]), ""))
}

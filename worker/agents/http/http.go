// Package http runs an HTTP service as an agent: one POST of the protocol's
// object for each attempt. The answer's body is the result (application/json and
// its like), its text (text/*), or a stream of messages as package protocol says
// (application/x-ndjson). An empty body is the result null, and a body that does
// not say what it is is taken for JSON or else for text.
//
// It promises that every answer has a defined outcome within bounds of memory,
// that no redirect is followed, that the service can tell a repeat from the first
// try by Idempotency-Key: <task_id>.<attempt>, and that no error's message tells
// where the service is: that is in its detail, without what may be a key. It
// knows no queue.
package http

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	nethttp "net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// Config is the http section of an agent.
type Config struct {
	URL     string
	Headers map[string]string
}

// Options are what the worker adds.
type Options struct {
	GatewayURL func() string // where a service keeps steps while it runs; nil or empty: nowhere
}

const (
	maxExcerpt  = 1 << 10 // bytes of an error's body
	maxRetry    = time.Hour
	connections = 64 // kept open to one service
)

// New makes the handler of a service.
func New(cfg Config, o Options) agent.Handler {
	transport := nethttp.DefaultTransport.(*nethttp.Transport).Clone()
	transport.MaxIdleConnsPerHost = connections
	s := &service{cfg: cfg, gateway: o.GatewayURL, place: placeOf(cfg.URL), client: &nethttp.Client{
		Transport:     transport,
		CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
	}}
	return s.run
}

type service struct {
	cfg     Config
	gateway func() string
	place   string // for errors
	client  *nethttp.Client
}

// url is that of a gateway now; empty: there is none.
func (s *service) url() string {
	if s.gateway == nil {
		return ""
	}
	return s.gateway()
}

// run is one attempt. The attempt's timeout, in ctx, is that of the whole exchange.
// A service that waits is asked again when it has waited, unless the job is suspended
// before.
func (s *service) run(ctx context.Context, job *agent.Job) (any, error) {
	if _, err := job.Lines(); err != nil { // a job that keeps no steps
		body, err := protocol.Encode(job)
		if err != nil {
			return nil, err
		}
		a, err := s.ask(ctx, job, body, nil)
		if err != nil {
			return nil, err
		}
		return a.Value()
	}
	book, err := protocol.OpenBook(ctx, job, s.gateway)
	for err == nil {
		var value any
		again := false
		if value, again, err = s.durable(ctx, job, book); !again {
			return value, err
		}
		book, err = book.Await(ctx)
	}
	return nil, err
}

// durable asks the service once; again says that it waits.
func (s *service) durable(ctx context.Context, job *agent.Job, book *protocol.Book) (value any, again bool, err error) {
	url, lease := "", ""
	if gateway := s.url(); gateway != "" && job.Key != "" {
		url, lease = gateway+"/tasks/"+job.TaskID+"/steps", job.Key.Reveal()
		lines, err := job.Lines()
		if err != nil {
			return nil, false, err
		}
		defer lines.Listen(func(line []byte) ([]byte, error) {
			answer, err := book.Answer(ctx, line)
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return answer, err
		})()
	}
	body, err := book.Encode(url, lease)
	if err != nil {
		return nil, false, err
	}
	o, err := s.ask(ctx, job, body, book)
	if err != nil {
		return nil, false, err
	}
	return book.Ended(o)
}

// ask is one exchange.
func (s *service) ask(ctx context.Context, job *agent.Job, body []byte, book *protocol.Book) (*protocol.Outcome, error) {
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, s.unreachable(err)
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
		return nil, s.interrupted(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refused(resp)
	}
	return s.read(ctx, resp, job, book)
}

// The kinds of body.
const (
	isJSON = iota
	isText
	isLines
	isAnything // it does not say
	isForeign
)

// kindOf reads a content type (RFC 9110, 8.3).
func kindOf(contentType string) int {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case media == "", media == "application/octet-stream":
		return isAnything
	case media == "application/json", strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		return isJSON
	case slices.Contains([]string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}, media):
		return isLines
	case strings.HasPrefix(media, "text/"):
		return isText
	}
	return isForeign
}

// read takes a good answer: the work is done, so whatever can be its result is.
func (s *service) read(ctx context.Context, resp *nethttp.Response, job *agent.Job, book *protocol.Book) (*protocol.Outcome, error) {
	contentType := resp.Header.Get("Content-Type")
	kind := kindOf(contentType)
	if kind == isLines {
		o, err := protocol.ReadDurable(ctx, resp.Body, job, book, nil)
		var fault *agent.Error
		switch {
		case errors.As(err, &fault):
			return nil, fault
		case err != nil:
			return nil, s.interrupted(ctx, err)
		}
		return o, nil
	}
	limit := cmp.Or(job.MaxResult, agent.DefaultMaxResult)
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, s.interrupted(ctx, err)
	}
	if int64(len(raw)) > limit {
		return nil, &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the answer is over %d bytes: store it elsewhere and return a reference", limit)}
	}
	raw = bytes.TrimPrefix(raw, []byte("\uFEFF"))
	switch {
	case len(bytes.TrimSpace(raw)) == 0 && kind != isText:
		return &protocol.Outcome{Empty: true}, nil
	case kind == isForeign, kind == isAnything && !utf8.Valid(raw):
		return nil, bad(raw, "the content type is %q; answer application/json, application/x-ndjson or text/plain", contentType)
	case kind == isJSON && !json.Valid(raw):
		return nil, bad(raw, "the content type is %s and the body is not JSON", contentType)
	case kind == isJSON, kind == isAnything && json.Valid(raw):
		return &protocol.Outcome{Result: raw}, nil
	}
	return &protocol.Outcome{Text: strings.ToValidUTF8(string(raw), "\uFFFD")}, nil
}

// refused is the error of an answer that is none: 4xx is permanent but for 408,
// 425 and 429, everything else retries and honours Retry-After. The client sees
// the agent's words on a request that it does not take, but not those on its own
// trouble or on the mesh's credentials.
func refused(resp *nethttp.Response) *agent.Error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt))
	code := resp.StatusCode
	e := &agent.Error{
		Code: task.CodeAgentHTTPError, Message: strings.TrimSpace(fmt.Sprintf("the agent answered %d %s", code, nethttp.StatusText(code))),
		Permanent: code >= 400 && code < 500, RetryAfter: pause.RetryAfter(resp.Header, time.Now(), maxRetry), Detail: excerpt(raw),
	}
	switch {
	case code >= 300 && code < 400:
		e.Message += "; redirects are not followed: write the final address into agents.yaml"
	case code == nethttp.StatusRequestTimeout, code == nethttp.StatusTooEarly, code == nethttp.StatusTooManyRequests:
		e.Permanent = false
	case code == nethttp.StatusUnauthorized, code == nethttp.StatusForbidden, code == nethttp.StatusProxyAuthRequired:
	case e.Permanent && e.Detail != "":
		e.Message += ": " + e.Detail
	}
	return e
}

// interrupted is the error of an exchange that broke off, or the reason why it
// was ended.
func (s *service) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.unreachable(err)
}

// unreachable tells the client that nobody answered, and the operator where and
// why.
func (s *service) unreachable(err error) *agent.Error {
	why := err
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		why = wrapped.Err // without the URL as it is
	}
	return &agent.Error{Code: task.CodeAgentUnreachable, Message: "the agent did not answer", Detail: "POST " + s.place + ": " + why.Error(), Err: err}
}

// placeOf is a URL without its user, its query and its fragment.
func placeOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a malformed URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func bad(body []byte, format string, args ...any) *agent.Error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Message: fmt.Sprintf(format, args...), Detail: excerpt(body), Permanent: true}
}

func excerpt(raw []byte) string {
	return strings.TrimSpace(strings.ToValidUTF8(string(raw[:min(len(raw), maxExcerpt)]), ""))
}

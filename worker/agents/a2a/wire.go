package a2a

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

const (
	maxAnswer = agent.DefaultMaxResult // bytes of one answer, or of one event
	maxRetry  = time.Hour
	mediaJSON = "application/json"
	mediaSSE  = "text/event-stream"
)

// call is one request.
type call struct {
	method string // of JSON-RPC
	path   string // of HTTP+JSON, with its method
	verb   string
	params map[string]any
	key    string // Idempotency-Key
	stream bool
}

// fault is what a remote agent answered instead: an error of the protocol.
type fault struct {
	code    int
	message string
	reason  string
}

func (f *fault) Error() string {
	return fmt.Sprintf("the remote agent refused: %s (%d)", f.message, f.code)
}

// The codes of the protocol that mean something here.
const (
	codeTaskNotFound   = -32001
	codeNotCancelable  = -32002
	codeUnsupported    = -32004
	codeMethodNotFound = -32601
)

// codeOf are the codes of HTTP+JSON by their reasons.
var codeOf = map[string]int{"TASK_NOT_FOUND": codeTaskNotFound, "TASK_NOT_CANCELABLE": codeNotCancelable, "UNSUPPORTED_OPERATION": codeUnsupported, "METHOD_NOT_FOUND": codeMethodNotFound}

// request makes the request of a call in the binding of r.
func (c *Client) request(ctx context.Context, r *remote, k call) (*http.Request, error) {
	if r.tenant != "" {
		k.params["tenant"] = r.tenant
	}
	verb, address, body := k.verb, r.url+k.path, any(k.params)
	if r.rpc {
		verb, address, body = http.MethodPost, r.url, map[string]any{"jsonrpc": "2.0", "id": 1, "method": k.method, "params": k.params}
	}
	var sent io.Reader
	if verb == http.MethodPost {
		raw, err := task.Marshal(body)
		if err != nil {
			return nil, agent.Permanent(fmt.Errorf("encode the message: %w", err))
		}
		sent = bytes.NewReader(raw)
	} else if len(k.params) > 0 {
		q := url.Values{}
		for name, v := range k.params {
			q.Set(name, fmt.Sprint(v))
		}
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, verb, address, sent)
	if err != nil {
		return nil, refused("the address of the remote agent is malformed")
	}
	// With a key the transport would send the request again by itself where a connection
	// breaks: whether that is right is decided here.
	req.GetBody = nil
	if req.URL.Host == c.host() {
		for name, value := range c.cfg.Headers {
			req.Header.Set(name, value)
		}
	}
	req.Header.Set("A2A-Version", "1.0")
	req.Header.Set("Accept", mediaJSON)
	if k.stream {
		req.Header.Set("Accept", mediaSSE+", "+mediaJSON)
	}
	if sent != nil {
		req.Header.Set("Content-Type", mediaJSON)
	}
	if k.key != "" {
		req.Header.Set("Idempotency-Key", k.key)
	}
	return req, nil
}

// do makes a call whose answer is one value, and decodes it into out.
func (c *Client) do(ctx context.Context, r *remote, k call, out any) error {
	resp, err := c.send(ctx, r, k)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := whole(resp.Body)
	if err != nil {
		return c.broken(ctx, err)
	}
	return decode(r, raw, out)
}

// send sends a call. An answer that is no success is an error.
func (c *Client) send(ctx context.Context, r *remote, k call) (*http.Response, error) {
	req, err := c.request(ctx, r, k)
	if err != nil {
		return nil, err
	}
	if parent, ok := ctx.Value(traceKey{}).(string); ok && parent != "" {
		req.Header.Set("Traceparent", parent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return nil, answered(r, resp, raw)
}

// traceKey is where ctx has the traceparent of the attempt.
type traceKey struct{}

// answered is the error of an answer that is no success: what the protocol says, or the
// status. 408, 425, 429 and 5xx may be tried again.
func answered(r *remote, resp *http.Response, raw []byte) error {
	code := resp.StatusCode
	passing := code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests
	var said *fault
	if errors.As(decode(r, raw, nil), &said) && !passing {
		return said
	}
	e := &agent.Error{
		Code: task.CodeAgentHTTPError, Permanent: !passing, RetryAfter: pause.RetryAfter(resp.Header, time.Now(), maxRetry),
		Message: strings.TrimSpace(fmt.Sprintf("the remote agent answered %d %s", code, http.StatusText(code))),
	}
	if code >= 300 && code < 400 {
		e.Message += "; redirects are not followed: write the final address into agents.yaml"
	}
	return e
}

// decode reads an answer of either binding: its value into out, or its error.
func decode(r *remote, raw []byte, out any) error {
	var e struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int                       `json:"code"`
			Message string                    `json:"message"`
			Data    []struct{ Reason string } `json:"data"`
			Details []struct{ Reason string } `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return refused("the answer of the remote agent is no JSON")
	}
	if e.Error != nil {
		f := &fault{code: e.Error.Code, message: task.Clip(e.Error.Message, 1<<10)}
		for _, d := range append(e.Error.Data, e.Error.Details...) {
			if f.reason == "" {
				f.reason = d.Reason
			}
		}
		if !r.rpc {
			f.code = codeOf[f.reason]
		}
		return f
	}
	if r.rpc {
		raw = e.Result
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return refused("the answer of the remote agent is malformed: %s", task.Clip(err.Error(), 256))
	}
	return nil
}

// whole reads a body within the limit.
func whole(body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		return nil, &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the answer of the remote agent is over %d bytes", maxAnswer)}
	}
	return raw, err
}

// broken is the error of an exchange that broke off, or the reason why it was ended.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if known := (*agent.Error)(nil); asAgent(err, &known) {
		return known
	}
	return &agent.Error{Code: task.CodeAgentUnreachable, Message: "the remote agent did not answer", Detail: c.place + ": " + plain(err).Error(), Err: err}
}

// getCard reads the card, and how long it is fresh.
func (c *Client) getCard(ctx context.Context, card *a2a.AgentCard) (fresh time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cardURL(), nil)
	if err != nil {
		return 0, refused("the address of the card is malformed")
	}
	for name, value := range c.cfg.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept", mediaJSON)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, c.broken(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxCard))
	if err != nil {
		return 0, c.broken(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, answered(&remote{}, resp, nil)
	}
	if json.Unmarshal(raw, card) != nil || len(card.SupportedInterfaces) == 0 {
		return 0, refused("there is no card of an A2A agent at the address")
	}
	for part := range strings.SplitSeq(resp.Header.Get("Cache-Control"), ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(part), "max-age="); ok {
			n, _ := strconv.Atoi(seconds)
			fresh = time.Duration(n) * time.Second
		}
	}
	return fresh, nil
}

// events calls see with the events of a stream until it returns false or the stream
// ends.
func (c *Client) events(ctx context.Context, r *remote, k call, see func(a2a.Event) (bool, error)) error {
	k.stream = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, r, k)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != mediaSSE {
		raw, err := whole(resp.Body)
		if err != nil {
			return c.broken(ctx, err)
		}
		if err := decode(r, raw, nil); err != nil {
			return err
		}
		return refused("the remote agent answered %q and no stream", task.Clip(media, 64))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxAnswer)
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if data = append(data, bytes.TrimPrefix(value, []byte(" "))...); len(data) > maxAnswer {
				return refused("an event of the remote agent is too large")
			}
			continue
		}
		if len(line) > 0 || len(data) == 0 {
			continue
		}
		var one a2a.StreamResponse
		if err := decode(r, data, &one); err != nil {
			return err
		}
		data = data[:0]
		if more, err := see(one.Event); err != nil || !more {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

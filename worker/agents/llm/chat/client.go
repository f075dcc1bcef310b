package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config is an endpoint and a model behind it.
type Config struct {
	BaseURL       string // such as https://api.openai.com/v1
	Model         string
	APIKey        string // empty: no Authorization header
	API           API
	Headers       map[string]string
	Timeout       time.Duration // of one call; 0: 2m
	FirstByte     time.Duration // until its answer begins; 0: 60s
	MaxConcurrent int           // calls of this process at once; 0: 16
	Params        map[string]any
	Compat        Compat
}

// API is the dialect of an endpoint.
type API string

// The dialects.
const (
	Completions API = "chat"
	Responses   API = "responses"
)

// Compat says what a server takes; empty or auto: it is found out.
type Compat struct {
	StreamUsage    string // on, off: stream_options
	MaxTokensField string // max_completion_tokens, max_tokens
	StrictSchema   string // on, off
}

// Client asks one model.
type Client struct {
	cfg   Config
	http  *http.Client
	slots chan struct{}
	host  string

	noUsage, oldMaxTokens, noStrict, noFormat atomic.Bool // what the server has shown not to take
}

// New makes a client. A nil transport is a plain one.
func New(cfg Config, transport http.RoundTripper) *Client {
	cfg.Timeout, cfg.FirstByte = cmp.Or(cfg.Timeout, 2*time.Minute), cmp.Or(cfg.FirstByte, time.Minute)
	cfg.MaxConcurrent = cmp.Or(cfg.MaxConcurrent, 16)
	if transport == nil {
		plain := http.DefaultTransport.(*http.Transport).Clone()
		plain.MaxIdleConnsPerHost = cfg.MaxConcurrent
		transport = plain
	}
	c := &Client{cfg: cfg, slots: make(chan struct{}, cfg.MaxConcurrent)}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if u, err := url.Parse(cfg.BaseURL); err == nil {
		c.host = u.Host
	}
	c.noUsage.Store(cfg.Compat.StreamUsage == "off")
	c.oldMaxTokens.Store(cfg.Compat.MaxTokensField == "max_tokens")
	c.noStrict.Store(cfg.Compat.StrictSchema == "off")
	return c
}

// Model is the name of the model, and Host where it is.
func (c *Client) Model() string { return c.cfg.Model }
func (c *Client) Host() string  { return c.host }

// TakesFormat reports whether the server has not refused a schema for its answer.
func (c *Client) TakesFormat() bool { return !c.noFormat.Load() }

// The tries of a call, and the pauses between them: full jitter below a ceiling that
// doubles. Patience is the longest pause within a call: one that is to be longer is the
// caller's.
const (
	Tries      = 3
	firstPause = 500 * time.Millisecond
	maxPause   = 8 * time.Second
	Patience   = 30 * time.Second
)

// Ask asks the model, and again where that may help. tell gets the answer as it comes.
// The error is an *Error, or the cause of ctx's end.
func (c *Client) Ask(ctx context.Context, r Request, tell func(Delta)) (*Answer, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if tell == nil {
		tell = func(Delta) {}
	}
	var wasted Usage
	for try, adjusted := 1, 0; ; try++ {
		answer, err := c.once(ctx, r, tell)
		if err == nil {
			answer.Wasted = wasted
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var e *Error
		if !errors.As(err, &e) {
			return nil, err
		}
		wasted = wasted.Add(e.Usage)
		e.Usage = wasted
		if e.adjust && adjusted < 4 {
			adjusted++
			try--
			continue
		}
		ceiling := min(firstPause<<(try-1), maxPause)
		wait := max(time.Duration(rand.Int64N(int64(ceiling)+1)), e.RetryAfter)
		if !e.Retry || e.mute || try == Tries || wait > Patience {
			return nil, e
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		tell(Delta{Restart: true})
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var (
	errFirstByte = errors.New("the model did not begin to answer in time")
	errTimeout   = errors.New("the model did not answer in time")
)

// once is one exchange.
func (c *Client) once(ctx context.Context, r Request, tell func(Delta)) (*Answer, error) {
	body, err := c.body(r)
	if err != nil {
		return nil, &Error{Code: Rejected, Message: "the request cannot be encoded", Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer time.AfterFunc(c.cfg.Timeout, func() { cancel(errTimeout) }).Stop()
	first := time.AfterFunc(c.cfg.FirstByte, func() { cancel(errFirstByte) })
	defer first.Stop()
	sent, took := time.Now(), time.Duration(0)
	resp, err := c.send(ctx, body)
	if err != nil {
		return nil, c.cut(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	begun := &beginning{Reader: resp.Body, begun: func() { first.Stop(); took = time.Since(sent) }}
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(io.LimitReader(begun, 64<<10))
		return nil, c.learn(failed(resp.StatusCode, resp.Header, saidOf(raw), time.Now()), saidOf(raw), r)
	}
	answer, err := c.read(resp.Header.Get("Content-Type"), begun, r, tell)
	if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
		return nil, c.cut(ctx, err)
	}
	if answer != nil {
		answer.First = took
	}
	return answer, err
}

// beginning tells of the first byte.
type beginning struct {
	io.Reader
	begun func()
}

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 && b.begun != nil {
		b.begun()
		b.begun = nil
	}
	return n, err
}

// cut is the error of an exchange that broke off.
func (c *Client) cut(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errFirstByte), errors.Is(cause, errTimeout):
		return broken(cause, "%v", cause)
	case cause != nil:
		return cause
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL
	}
	return broken(err, "the model does not answer, or broke off")
}

func (c *Client) send(ctx context.Context, body []byte) (*http.Response, error) {
	path := "/chat/completions"
	if c.cfg.API == Responses {
		path = "/responses"
	}
	req, err := c.request(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream, application/json")
	return c.http.Do(req)
}

// request makes a request to a path of the endpoint, with who we are.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	base, query, _ := strings.Cut(c.cfg.BaseURL, "?")
	address := strings.TrimSuffix(base, "/") + path
	if query != "" {
		address += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	if c.cfg.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.APIKey)
	}
	for name, value := range c.cfg.Headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// learn takes from a refusal what the server does not know, to ask again without it.
func (c *Client) learn(e *Error, s said, r Request) *Error {
	if e.Status != http.StatusBadRequest && e.Status != http.StatusUnprocessableEntity || e.Code != Rejected {
		return e
	}
	auto := func(setting string) bool { return setting == "" || setting == "auto" }
	switch {
	case s.names("stream_options") && auto(c.cfg.Compat.StreamUsage) && !c.noUsage.Swap(true):
		e.adjust = true
	case s.names("max_completion_tokens") && r.MaxTokens > 0 && auto(c.cfg.Compat.MaxTokensField) && !c.oldMaxTokens.Swap(true):
		e.adjust = true
	case s.names("strict") && auto(c.cfg.Compat.StrictSchema) && !c.noStrict.Swap(true):
		e.adjust = true
	case s.names("response_format", "json_schema", "text.format") && r.Format != nil:
		c.noFormat.Store(true)
		e.Code = NoFormat
	}
	return e
}

// read reads the answer: a stream, or a server's that does not stream.
func (c *Client) read(contentType string, body io.Reader, r Request, tell func(Delta)) (*Answer, error) {
	a := &assembly{tell: tell}
	media, _, _ := mime.ParseMediaType(contentType)
	if media == "application/json" {
		raw, err := io.ReadAll(io.LimitReader(body, maxStream))
		if err != nil {
			return nil, err
		}
		return c.whole(a, raw, r)
	}
	take := a.event
	if c.cfg.API == Responses {
		take = a.responsesEvent
	}
	ended := false
	err := events(body, func(e event) (bool, error) {
		done, err := take(e)
		ended = ended || done
		return !done, err
	})
	if e := (*Error)(nil); errors.As(err, &e) {
		e.Usage = a.usage(r)
		return nil, e
	}
	if err != nil && a.finish == "" {
		return nil, err
	}
	return a.answer(ended, r)
}

// whole reads an answer in one piece.
func (c *Client) whole(a *assembly, raw []byte, r Request) (*Answer, error) {
	var err error
	if c.cfg.API == Responses {
		err = a.response(raw)
	} else {
		_, err = a.event(event{data: raw})
	}
	if err != nil {
		return nil, err
	}
	return a.answer(false, r)
}

// body encodes a request in the dialect of the endpoint. The model's own parameters
// come first: what the mesh sets stands above them.
func (c *Client) body(r Request) ([]byte, error) {
	body := map[string]any{}
	for name, value := range c.cfg.Params {
		body[name] = value
	}
	body["model"], body["stream"] = c.cfg.Model, true
	if c.cfg.API == Responses {
		c.responsesBody(body, r)
	} else {
		c.chatBody(body, r)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(body)
	return b.Bytes(), err
}

// smaller sets a limit that a parameter may have set already.
func smaller(body map[string]any, field string, limit int64) {
	if old, ok := body[field].(float64); ok && int64(old) < limit {
		return
	}
	if old, ok := body[field].(int); ok && int64(old) < limit {
		return
	}
	body[field] = limit
}

func (c *Client) chatBody(body map[string]any, r Request) {
	if !c.noUsage.Load() {
		body["stream_options"] = map[string]any{"include_usage": true}
	}
	messages := make([]map[string]any, 0, len(r.Messages))
	for _, m := range r.Messages {
		messages = append(messages, chatMessage(m))
	}
	body["messages"] = messages
	if len(r.Tools) > 0 {
		tools := make([]map[string]any, 0, len(r.Tools))
		for _, t := range r.Tools {
			f := map[string]any{"name": t.Name, "description": t.Description, "parameters": t.Parameters}
			if c.strict(t.Parameters) {
				f["strict"] = true
			}
			tools = append(tools, map[string]any{"type": "function", "function": f})
		}
		body["tools"], body["tool_choice"] = tools, chatChoice(r.Choice)
	}
	if r.MaxTokens > 0 {
		field := "max_completion_tokens"
		if c.oldMaxTokens.Load() {
			field = "max_tokens"
		}
		smaller(body, field, r.MaxTokens)
	}
	if r.Format != nil {
		body["response_format"] = map[string]any{"type": "json_schema", "json_schema": map[string]any{
			"name": r.Format.Name, "strict": c.strict(r.Format.Schema), "schema": r.Format.Schema,
		}}
	}
}

func chatMessage(m Message) map[string]any {
	v := map[string]any{"role": m.Role, "content": m.Content}
	if m.CallID != "" {
		v["tool_call_id"] = m.CallID
	}
	if len(m.Calls) > 0 {
		calls := make([]map[string]any, 0, len(m.Calls))
		for _, call := range m.Calls {
			calls = append(calls, map[string]any{"id": call.ID, "type": "function", "function": map[string]any{"name": call.Name, "arguments": call.Arguments}})
		}
		v["tool_calls"] = calls
		if m.Content == "" {
			v["content"] = nil
		}
	}
	return v
}

func chatChoice(choice string) any {
	switch choice {
	case "", "auto":
		return "auto"
	case "none", "required":
		return choice
	}
	return map[string]any{"type": "function", "function": map[string]any{"name": choice}}
}

// strict reports whether a schema may be asked for strictly: of a server that knows
// it, and where each object names all of its members as required and allows no others.
func (c *Client) strict(schema json.RawMessage) bool {
	var v any
	return !c.noStrict.Load() && json.Unmarshal(schema, &v) == nil && closed(v)
}

func closed(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !closed(e) {
				return false
			}
		}
	case map[string]any:
		properties, has := v["properties"].(map[string]any)
		if has || v["type"] == "object" {
			required, _ := v["required"].([]any)
			if v["additionalProperties"] != false || len(required) != len(properties) {
				return false
			}
		}
		for _, e := range v {
			if !closed(e) {
				return false
			}
		}
	}
	return true
}

// Package client is the Go client of the gateway's HTTP API. It promises that a
// Create that is repeated, by itself or by its caller with the same key, makes
// one task, and that Events misses no change however often the connection
// breaks. Of the mesh it imports the wire types only.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
)

// The wire types, which the gateway writes.
type (
	// Request is a task to create. Durations are written as Go writes them.
	Request = api.CreateTask
	// TaskError is why a task failed.
	TaskError = api.TaskError
	// Attempt is one run of the agent.
	Attempt = api.Attempt
	// Waiting is why a pending task does not run.
	Waiting = api.Waiting
	// Question is what an agent asks a person.
	Question = api.Question
	// Milestone is a named step of a task.
	Milestone = api.Milestone
	// Agent is an agent and its live workers.
	Agent = api.Agent
	// Invalid is one fault of a request body.
	Invalid = api.Invalid
)

// Task is a task as the gateway shows it, and what came beside it.
type Task struct {
	api.Task
	Warning string `json:"warning,omitempty"` // of a task that was just accepted
	ETag    string `json:"-"`                 // of the version read, empty in lists and events
}

// Problem is a refusal of the gateway (RFC 9457). Switch on Code.
type Problem struct {
	api.Problem
	retryAfter time.Duration
}

// Error says what was refused and why.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text = p.Detail
	}
	for _, e := range p.Errors {
		text += "\n  " + e.Pointer + ": " + e.Detail
	}
	return fmt.Sprintf("%s (%s)", text, p.Code)
}

// Client calls one gateway, by noun: c.Tasks.Create, c.Sessions.Say. It is safe for
// concurrent use.
type Client struct {
	Tasks      Tasks
	Actions    Actions
	Sessions   Sessions
	Webhooks   Webhooks
	Deliveries Deliveries
	Agents     Agents
	Keys       Keys
	Audit      Audit
	Schedules  Schedules
	Hooks      Hooks

	*wire
}

// What a client calls, by noun.
type (
	// Tasks are tasks of every kind: the id of an action or a turn serves, too.
	Tasks struct{ *wire }
	// Actions are tasks with a callback.
	Actions struct{ *wire }
	// Sessions are conversations with agents, and their turns.
	Sessions struct{ *wire }
	// Webhooks are subscriptions to events.
	Webhooks struct{ *wire }
	// Deliveries are what was sent, to webhooks and to callbacks.
	Deliveries struct{ *wire }
	// Agents are the agents that the mesh knows.
	Agents struct{ *wire }
	// Keys are API keys. Only an admin may.
	Keys struct{ *wire }
	// Audit is who did what. Only an admin may.
	Audit struct{ *wire }
	// Schedules are what starts again and again. A name stands for an id or a name.
	Schedules struct{ *wire }
	// Hooks are what takes somebody else's webhooks.
	Hooks struct{ *wire }
)

// wire sends the requests of all nouns.
type wire struct {
	base   string
	http   *http.Client
	header http.Header
}

// Option changes a new client.
type Option func(*Client)

// WithHTTPClient has requests sent by c. It must not have a timeout shorter
// than the waits that are asked for.
func WithHTTPClient(c *http.Client) Option { return func(cl *Client) { cl.http = c } }

// WithHeader adds a header to every request.
func WithHeader(name, value string) Option {
	return func(cl *Client) { cl.header.Add(name, value) }
}

// WithKey shows an API key, or another bearer token, with every request.
func WithKey(key string) Option { return WithHeader("Authorization", "Bearer "+key) }

// WithTenant has every request act for a tenant. Only an admin may.
func WithTenant(name string) Option { return WithHeader("Mesh-Tenant", name) }

// New makes a client of the gateway at base, such as "http://127.0.0.1:8080".
func New(base string, opts ...Option) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil { // the error would have it, with its password
		return nil, errors.New("gateway URL: it is malformed, it must look like http://127.0.0.1:8080")
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("gateway URL %q: it must look like http://127.0.0.1:8080", u.Redacted())
	}
	w := &wire{base: strings.TrimSuffix(base, "/"), http: &http.Client{}, header: http.Header{}}
	c := &Client{Tasks{w}, Actions{w}, Sessions{w}, Webhooks{w}, Deliveries{w}, Agents{w}, Keys{w}, Audit{w}, Schedules{w}, Hooks{w}, w}
	for _, o := range opts {
		o(c)
	}
	return c, nil
}

// CreateOptions of a Create.
type CreateOptions struct {
	IdempotencyKey string        // empty: one is made, so that repeats converge
	Parent         string        // id of the task that this one is a child of
	Wait           time.Duration // hold the answer this long for the outcome, at most a minute
}

// tries bounds how often a request is repeated that may safely be.
const tries = 5

// Create has a task accepted. Where the gateway is away or busy it repeats the
// request with the same key a few times. The task is pending, or finished when
// that came within Wait.
func (c Tasks) Create(ctx context.Context, r Request, o CreateOptions) (*Task, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("create task: %w", err)
	}
	return c.submit(ctx, "/tasks", body, o)
}

// Create has an action accepted: a task whose outcome is POSTed to
// r.CallbackURL. Its id serves wherever that of a task does.
func (c Actions) Create(ctx context.Context, r Request, o CreateOptions) (*Task, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("create action: %w", err)
	}
	return c.submit(ctx, "/actions", body, o)
}

// Retry runs a failed or canceled task again, as a new task.
func (c Tasks) Retry(ctx context.Context, id string, o CreateOptions) (*Task, error) {
	return c.submit(ctx, "/tasks/"+url.PathEscape(id)+"/retry", nil, o)
}

// RetryFrom is Retry that takes over what the task has finished before its first step
// of a name.
func (c Tasks) RetryFrom(ctx context.Context, id, step string, o CreateOptions) (*Task, error) {
	body, err := json.Marshal(api.RetryTask{From: step})
	if err != nil {
		return nil, fmt.Errorf("retry task: %w", err)
	}
	return c.submit(ctx, "/tasks/"+url.PathEscape(id)+"/retry", body, o)
}

func (c *wire) submit(ctx context.Context, path string, body []byte, o CreateOptions) (*Task, error) {
	h := http.Header{}
	if o.Parent != "" {
		h.Set("Mesh-Parent-Task", o.Parent)
	}
	prefer(h, o.Wait)
	var t Task
	if err := c.post(ctx, path, h, body, o.IdempotencyKey, &t); err != nil {
		return nil, err
	}
	if t.TaskID == "" {
		t.TaskID = t.ActionID
	}
	return &t, nil
}

// post sends a request that may be repeated, since each time has the same key.
func (c *wire) post(ctx context.Context, path string, h http.Header, body []byte, key string, out any) error {
	if key == "" {
		key = rand.Text()
	}
	if h == nil {
		h = http.Header{}
	}
	h.Set("Idempotency-Key", strconv.Quote(key))
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	for try := 1; ; try++ {
		err := c.call(ctx, http.MethodPost, path, h, body, out)
		if err == nil {
			return nil
		}
		pause, again := repeatable(err)
		if !again || try == tries || !sleep(ctx, max(pause, time.Duration(try)*100*time.Millisecond)) {
			return err
		}
	}
}

// repeatable reports whether an error leaves open what happened, or says to
// come back.
func repeatable(err error) (pause time.Duration, again bool) {
	var p *Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return p.retryAfter, true
		}
		return p.retryAfter, false
	}
	return 0, !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// Get reads a task.
func (c Tasks) Get(ctx context.Context, id string) (*Task, error) {
	var t Task
	err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id), nil, nil, &t)
	return &t, err
}

// Wait waits until a task has finished, by long polls that survive a gateway's
// restart, and returns it. It ends with ctx.
func (c Tasks) Wait(ctx context.Context, id string) (*Task, error) {
	for try := 0; ; {
		var t Task
		h := http.Header{}
		prefer(h, time.Minute)
		err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id), h, nil, &t)
		if err == nil && t.Done {
			return &t, nil
		}
		if err == nil {
			try = 0
			// The gateway may shut down and answer at once.
			if !sleep(ctx, 50*time.Millisecond) {
				return &t, ctx.Err()
			}
			continue
		}
		try++
		pause, again := repeatable(err)
		if !again || try > 10*tries || !sleep(ctx, max(pause, min(time.Duration(try)*100*time.Millisecond, 2*time.Second))) {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
	}
}

// Cancel cancels a task.
func (c Tasks) Cancel(ctx context.Context, id string) (*Task, error) {
	var t Task
	err := c.call(ctx, http.MethodPost, "/tasks/"+url.PathEscape(id)+"/cancel", nil, nil, &t)
	return &t, err
}

// Answer is an answer to a question of a task, or an event that it waits for.
type Answer struct {
	Name           string // empty: of the question that is open
	Value          any    // as JSON; a json.RawMessage as it is
	IdempotencyKey string // empty: one is made, so that repeats converge
}

// Answer answers a question of a task. The task goes on, or keeps the answer until
// its agent asks for it.
func (c Tasks) Answer(ctx context.Context, id string, a Answer) (*Task, error) {
	value, err := json.Marshal(a.Value)
	if err != nil {
		return nil, fmt.Errorf("answer task %s: %w", id, err)
	}
	body, err := json.Marshal(api.AnswerTask{Name: a.Name, Value: value})
	if err != nil {
		return nil, fmt.Errorf("answer task %s: %w", id, err)
	}
	var t Task
	err = c.post(ctx, "/tasks/"+url.PathEscape(id)+"/input", nil, body, a.IdempotencyKey, &t)
	return &t, err
}

// Result streams the result of a completed task, however large.
func (c Tasks) Result(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/result", nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Delete deletes a task that has ended, its result and its steps.
func (c Tasks) Delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/tasks/"+url.PathEscape(id), nil, nil, nil)
}

// Input streams the input of a task as it was sent.
func (c Tasks) Input(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/input", nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (c *wire) call(ctx context.Context, method, path string, h http.Header, body []byte, out any) error {
	resp, err := c.do(ctx, method, path, h, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if t, ok := out.(*Task); ok {
		t.ETag = resp.Header.Get("ETag")
	}
	return nil
}

// do sends a request and returns its answer, or its refusal as *Problem.
func (c *wire) do(ctx context.Context, method, path string, h http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for _, headers := range []http.Header{c.header, h} {
		for name, values := range headers {
			req.Header[name] = values
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	p := &Problem{}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if json.Unmarshal(raw, p) != nil || p.Code == "" {
		p = &Problem{Problem: api.Problem{
			Title: http.StatusText(resp.StatusCode), Code: "http_" + strconv.Itoa(resp.StatusCode), Detail: "the answer is not the gateway's: " + resp.Status,
		}}
	}
	p.Status = resp.StatusCode
	p.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return nil, p
}

// retryAfter is a number of seconds, or a date.
func retryAfter(text string) time.Duration {
	if s, err := strconv.Atoi(text); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), time.Hour)
	}
	return 0
}

func prefer(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set("Prefer", "wait="+strconv.Itoa(int((min(wait, time.Minute)+time.Second-1)/time.Second)))
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

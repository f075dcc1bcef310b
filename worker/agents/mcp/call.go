package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/worker/agent"
)

// Call is what is asked of a server.
type Call struct {
	Tool        string
	Arguments   json.RawMessage // an object; nil: none
	Key         string          // the same for every try of one call; in _meta as mesh/idempotency_key
	TraceParent string
	Progress    func(percent int, message string) // nil: nobody wants to know

	// Of a call that is repeated with what was asked meanwhile.
	Answers map[string]Answer // by the key of the question
	State   string            // as the server gave it with the questions
}

// Round is what a call came to: one of its members is set.
type Round struct {
	Result    *Result    `json:"result,omitempty"`
	Questions []Question `json:"questions,omitempty"` // call again with the answers
	State     string     `json:"state,omitempty"`     // of the questions
	Task      string     `json:"task,omitempty"`      // the server goes on with it under this id
	Unknown   string     `json:"unknown,omitempty"`   // nobody knows whether the call was done; this is why
	Refused   *Fault     `json:"refused,omitempty"`   // another attempt may call again: this one is known to be over
}

// Fault is an error as the journal keeps it.
type Fault struct {
	Code       string        `json:"code"`
	Message    string        `json:"message"`
	Detail     string        `json:"detail,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

func (f *Fault) error() error {
	return &agent.Error{Code: f.Code, Message: f.Message, Detail: f.Detail, RetryAfter: f.RetryAfter}
}

// Result is what a tool answered.
type Result struct {
	Content    []json.RawMessage `json:"content,omitempty"` // blocks, as they came
	Structured json.RawMessage   `json:"structured,omitempty"`
	IsError    bool              `json:"is_error,omitempty"`
}

// Question is what a server asks people during a call.
type Question struct {
	Key     string          `json:"key"`
	Message string          `json:"message"`
	Schema  json.RawMessage `json:"schema,omitempty"` // of the form
}

// Answer is what somebody said to a question.
type Answer struct {
	Action  string         `json:"action"` // accept, decline or cancel
	Content map[string]any `json:"content,omitempty"`
}

// errAsked ends a call during which a server of an older version asks something.
var errAsked = errors.New("the server asks a question")

// Call calls a tool once. The outcome that nobody knows is no error but a Round that
// says so; an error is an [*agent.Error], or the cause of ctx, and then the call has
// not been made, or the server has refused it.
func (c *Client) Call(ctx context.Context, call Call) (Round, error) {
	var round Round
	err := c.try(ctx, func(ctx context.Context, s *session) (err error) {
		round, err = s.do(ctx, call)
		return err
	})
	var lost *lostError
	if errors.As(err, &lost) {
		return Round{Unknown: lost.why}, nil
	}
	return round, err
}

// do makes the call on a session.
func (s *session) do(ctx context.Context, call Call) (Round, error) {
	h := &held{call: call, ended: make(chan struct{}), asked: make(chan []Question, 1)}
	defer close(h.ended)
	s.mu.Lock()
	s.made++
	token := "call-" + strconv.Itoa(s.made)
	s.calls[token] = h
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.calls, token)
	}()
	p := &sdk.CallToolParams{Name: call.Tool, Arguments: call.Arguments, Meta: call.meta(token), RequestState: call.State}
	if call.Arguments == nil {
		p.Arguments = map[string]any{}
	}
	if s.modern() {
		p.InputResponses = responses(call.Answers)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type ended struct {
		res *sdk.CallToolResult
		err error
	}
	done := make(chan ended, 1)
	go func() {
		res, err := s.client.CallTool(ctx, p)
		done <- ended{res, err}
	}()
	select {
	case e := <-done:
		if e.err != nil {
			return Round{}, e.err
		}
		return roundOf(rawOf(e.res.Meta))
	case questions := <-h.asked:
		cancel(errAsked)
		<-done
		return Round{Questions: questions}, nil
	}
}

func (call Call) meta(token string) sdk.Meta {
	m := sdk.Meta{}
	if call.Key != "" {
		m["mesh/idempotency_key"] = call.Key
	}
	if call.TraceParent != "" {
		m["traceparent"] = call.TraceParent
	}
	if call.Progress != nil {
		m["progressToken"] = token
	}
	return m
}

func responses(answers map[string]Answer) sdk.InputResponseMap {
	if len(answers) == 0 {
		return nil
	}
	m := sdk.InputResponseMap{}
	for key, a := range answers {
		m[key] = a.result()
	}
	return m
}

func (a Answer) result() *sdk.ElicitResult {
	return &sdk.ElicitResult{Action: a.Action, Content: a.Content}
}

// modern says whether requests stand alone: then the version was not agreed on by
// initialize.
func (s *session) modern() bool {
	r := s.client.InitializeResult()
	return r != nil && r.ProtocolVersion >= modern
}

// wire is a result of tools/call, or a task, as it comes.
type wire struct {
	ResultType string            `json:"resultType"`
	Content    []json.RawMessage `json:"content"`
	Structured json.RawMessage   `json:"structuredContent"`
	IsError    bool              `json:"isError"`
	Asks       map[string]asked  `json:"inputRequests"`
	State      string            `json:"requestState"`
	TaskID     string            `json:"taskId"`

	// Of a task.
	Status        string          `json:"status"`
	StatusMessage string          `json:"statusMessage"`
	PollInterval  int64           `json:"pollIntervalMs"`
	Result        json.RawMessage `json:"result"`
	Error         *jsonrpc.Error  `json:"error"`
}

// asked is a question as it comes.
type asked struct {
	Method string `json:"method"`
	Params struct {
		Mode    string          `json:"mode"`
		Message string          `json:"message"`
		Schema  json.RawMessage `json:"requestedSchema"`
	} `json:"params"`
}

func roundOf(raw json.RawMessage) (Round, error) {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return Round{}, badAnswer("the result of the call is malformed: %v", err)
	}
	switch w.ResultType {
	case "", "complete":
		return Round{Result: w.result()}, nil
	case "task":
		if w.TaskID == "" || len(w.TaskID) > maxTaskID {
			return Round{}, badAnswer("the result is a task without an id of at most %d bytes", maxTaskID)
		}
		return Round{Task: w.TaskID}, nil
	case "input_required":
		questions, err := questionsOf(w.Asks)
		if err == nil && len(questions) == 0 {
			err = busy()
		}
		return Round{Questions: questions, State: w.State}, err
	}
	return Round{}, badAnswer("the result is of the unknown type %q", clip(w.ResultType, 64))
}

const maxTaskID = 1 << 10 // bytes

func (w wire) result() *Result {
	r := &Result{Content: w.Content, Structured: w.Structured, IsError: w.IsError}
	if string(r.Structured) == "null" {
		r.Structured = nil
	}
	return r
}

// questionsOf are the forms of a server, sorted by key. What it asks besides, such as
// the answer of a model, was never offered.
func questionsOf(all map[string]asked) ([]Question, error) {
	questions := make([]Question, 0, len(all))
	for key, a := range all {
		if a.Method != "elicitation/create" || a.Params.Mode != "" && a.Params.Mode != "form" {
			return nil, badAnswer("the tool asks for %s, which is not offered", clip(strings.TrimSpace(a.Method+" "+a.Params.Mode), 64))
		}
		if len(a.Params.Schema) > maxSchema || len(key) > maxTaskID {
			return nil, badAnswer("the tool asks a question with a schema of %d bytes, allowed are %d", len(a.Params.Schema), maxSchema)
		}
		questions = append(questions, Question{Key: key, Message: clip(a.Params.Message, maxText), Schema: a.Params.Schema})
	}
	slices.SortFunc(questions, func(a, b Question) int { return cmp.Compare(a.Key, b.Key) })
	return questions, nil
}

// progress passes on how far a call is.
func (s *session) progress(params json.RawMessage) {
	var p struct {
		Token    any     `json:"progressToken"`
		Progress float64 `json:"progress"`
		Total    float64 `json:"total"`
		Message  string  `json:"message"`
	}
	if json.Unmarshal(params, &p) != nil {
		return
	}
	token, _ := p.Token.(string)
	s.mu.Lock()
	h := s.calls[token]
	s.mu.Unlock()
	if h == nil || h.call.Progress == nil {
		return
	}
	percent := 0
	if p.Total > 0 {
		percent = int(min(max(100*p.Progress/p.Total, 0), 100))
	}
	h.call.Progress(percent, clip(p.Message, maxText))
}

// elicit is a question of a server of an older version, in the middle of a call: the
// call is ended, and made again when somebody has answered. Which of several calls
// asks, such a server does not say.
func (s *session) elicit(ctx context.Context, req *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
	raw, err := json.Marshal(req.Params.RequestedSchema)
	if err != nil {
		return nil, err
	}
	q := Question{Message: clip(req.Params.Message, maxText), Schema: raw}
	q.Key = "elicitation-" + digest(q.Message+"\x00"+string(raw))
	s.mu.Lock()
	var of *held
	if len(s.calls) == 1 {
		for _, of = range s.calls {
		}
	}
	s.mu.Unlock()
	if of == nil || len(raw) > maxSchema || req.Params.Mode != "" && req.Params.Mode != "form" {
		return &sdk.ElicitResult{Action: "cancel"}, nil
	}
	if a, ok := of.call.Answers[q.Key]; ok {
		return a.result(), nil
	}
	select {
	case of.asked <- []Question{q}:
	default:
	}
	select {
	case <-ctx.Done():
	case <-of.ended:
	}
	return &sdk.ElicitResult{Action: "cancel"}, nil
}

// state of a task of the server's.
func (c *Client) task(ctx context.Context, id string) (w wire, err error) {
	err = c.try(ctx, func(ctx context.Context, s *session) error {
		r, err := sdk.CallCustomMethod[*taskParams, *rawResult](context.WithValue(ctx, taskKey{}, id), s.client, "tasks/get", &taskParams{TaskID: id})
		if err != nil {
			return err
		}
		w = wire{}
		if err := json.Unmarshal(rawOf(r.Meta), &w); err != nil {
			return badAnswer("the task of the server is malformed: %v", err)
		}
		return nil
	})
	return w, err
}

// tell answers questions of a task of the server's.
func (c *Client) tell(ctx context.Context, id string, answers map[string]Answer) error {
	return c.about(ctx, "tasks/update", &taskParams{TaskID: id, InputResponses: responses(answers)})
}

// Cancel cancels a task of the server's.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.about(ctx, "tasks/cancel", &taskParams{TaskID: id})
}

func (c *Client) about(ctx context.Context, method string, p *taskParams) error {
	return c.try(ctx, func(ctx context.Context, s *session) error {
		_, err := sdk.CallCustomMethod[*taskParams, *rawResult](context.WithValue(ctx, taskKey{}, p.TaskID), s.client, method, p)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	})
}

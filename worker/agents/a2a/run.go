package a2a

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// New makes the handler of a remote agent.
func New(c *Client) agent.Handler {
	return func(ctx context.Context, job *agent.Job) (any, error) {
		r, err := c.card(ctx)
		if err != nil {
			return nil, err
		}
		ctx = context.WithValue(ctx, traceKey{}, job.TraceParent)
		e := &errand{Client: c, remote: r, job: job}
		if job.Turn != nil {
			return e.turn(ctx)
		}
		return e.run(ctx)
	}
}

// errand is one attempt.
type errand struct {
	*Client
	remote *remote
	job    *agent.Job

	seen *remoteTask // as it was read last
	said int64       // bytes of the output text that are told
}

// remoteTask is a task with its artifacts as they came: their numbers are kept.
type remoteTask struct {
	a2a.Task
	artifacts []json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *remoteTask) UnmarshalJSON(raw []byte) error {
	var of struct{ Artifacts []json.RawMessage }
	if err := json.Unmarshal(raw, &of); err != nil {
		return err
	}
	t.artifacts = of.Artifacts
	return json.Unmarshal(raw, &t.Task)
}

// sent is what became of a message.
type sent struct {
	TaskID    string `json:"task_id,omitempty"`
	ContextID string `json:"context_id,omitempty"`
	Parts     []part `json:"parts,omitempty"` // of a message in place of a task
}

// asked is what a remote task came to: a question, or its end.
type asked struct {
	Ended  bool            `json:"ended,omitempty"`
	Name   string          `json:"name,omitempty"`
	Prompt string          `json:"prompt,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
}

// maxQuestions bounds how often a remote agent asks.
const maxQuestions = 100

// run sends the task, or finds what was sent before, and waits for its end.
func (e *errand) run(ctx context.Context) (any, error) {
	at, err := agent.Step(ctx, e.job, "send", func(ctx context.Context, s agent.StepInfo) (sent, error) {
		if s.Again || e.job.Attempt > 1 { // an earlier one may have come through
			if found, err := e.find(ctx); err != nil || found.TaskID != "" {
				return found, err
			}
		}
		params := e.message(e.job.TaskID, parts(e.job))
		if e.told() {
			params["configuration"] = map[string]any{"returnImmediately": true, "taskPushNotificationConfig": map[string]any{"url": e.cfg.Push.URL, "token": e.cfg.Push.Token}}
		}
		return e.begin(ctx, params, s.IdempotencyKey)
	}, agent.Marked())
	if err != nil {
		return nil, lasting(err)
	}
	if at.TaskID == "" {
		return valueOf(at.Parts), nil
	}
	defer e.passOn(ctx, at.TaskID)
	for n := range maxQuestions {
		if err := e.hear(ctx, at.TaskID); err != nil {
			return nil, err
		}
		q, err := agent.Step(ctx, e.job, "asked-"+strconv.Itoa(n), func(ctx context.Context, _ agent.StepInfo) (asked, error) {
			return e.follow(ctx, at.TaskID)
		})
		if err != nil {
			return nil, lasting(err)
		}
		if q.Ended {
			return e.end(ctx, at.TaskID)
		}
		answer, err := e.job.Wait(ctx, agent.Wait{Kind: task.WaitInput, Name: q.Name, Prompt: q.Prompt, Schema: q.Schema})
		if err != nil {
			return nil, err
		}
		_, err = agent.Step(ctx, e.job, "answer-"+strconv.Itoa(n), func(ctx context.Context, s agent.StepInfo) (bool, error) {
			return true, e.answer(ctx, at, n, answer, s.IdempotencyKey)
		})
		if err != nil {
			return nil, lasting(err)
		}
	}
	return nil, refused("the remote agent asked more than %d times", maxQuestions)
}

// told reports whether the remote agent tells of its tasks.
func (e *errand) told() bool { return e.cfg.Push.URL != "" && e.remote.pushes && e.job.Turn == nil }

// hear waits until a remote task that is told of has ended or asks, without a slot. What
// is told is a hint: the task is looked at then, and now and then without one.
func (e *errand) hear(ctx context.Context, id string) error {
	if !e.told() {
		return nil
	}
	for wait := hearLeast * e.poll; ; wait = min(2*wait, hearMost*e.poll) {
		t, err := e.get(ctx, id)
		if err != nil {
			return nil // follow says what that means
		}
		if settled(t.Status.State) {
			e.seen = t
			return nil
		}
		_, err = e.job.Wait(ctx, agent.Wait{Kind: task.WaitEvent, Name: PushSignal, For: wait})
		if err != nil && !errors.Is(err, agent.ErrInputTimeout) {
			return err
		}
	}
}

// message makes the params of a message.
func (e *errand) message(id string, parts []*a2a.Part) map[string]any {
	m := a2a.NewMessage(a2a.MessageRoleUser, parts...)
	m.ID, m.ContextID = id, e.job.TaskID // a context of its own, so that it is found again
	return map[string]any{"message": m, "configuration": map[string]any{"returnImmediately": true}}
}

// begin sends a message and returns as soon as the remote agent has it.
func (e *errand) begin(ctx context.Context, params map[string]any, key string) (s sent, err error) {
	var out struct {
		Task    *remoteTask
		Message *struct {
			ContextID string
			Parts     []part
		}
	}
	err = e.do(ctx, e.remote, call{method: "SendMessage", path: "/message:send", verb: http.MethodPost, params: params, key: key}, &out)
	switch {
	case err != nil:
		return s, err
	case out.Task != nil && out.Task.ID != "":
		e.seen = out.Task
		return sent{TaskID: string(out.Task.ID), ContextID: out.Task.ContextID}, nil
	case out.Message != nil:
		return sent{ContextID: out.Message.ContextID, Parts: out.Message.Parts}, nil
	}
	return s, refused("the remote agent answered a message with neither a task nor a message")
}

// find looks for a message whose answer was lost: the only task of its context. Where
// the remote agent lists none, the message is sent again.
func (e *errand) find(ctx context.Context) (s sent, err error) {
	var out a2a.ListTasksResponse
	params := map[string]any{"contextId": e.job.TaskID}
	err = e.do(ctx, e.remote, call{method: "ListTasks", path: "/tasks", verb: http.MethodGet, params: params}, &out)
	var f *fault
	switch {
	case errors.As(err, &f):
		return s, nil
	case err != nil:
		return s, err
	}
	for _, t := range out.Tasks {
		if t != nil && t.ContextID == e.job.TaskID {
			return sent{TaskID: string(t.ID), ContextID: t.ContextID}, nil
		}
	}
	return s, nil
}

// answer sends an answer to a question. One that has come before is as good.
func (e *errand) answer(ctx context.Context, at sent, n int, value json.RawMessage, key string) error {
	m := a2a.NewMessage(a2a.MessageRoleUser, answerPart(value))
	m.ID, m.TaskID, m.ContextID = e.job.TaskID+".answer-"+strconv.Itoa(n), a2a.TaskID(at.TaskID), at.ContextID
	_, err := e.begin(ctx, map[string]any{"message": m, "configuration": map[string]any{"returnImmediately": true}}, key)
	e.seen = nil
	var f *fault
	if errors.As(err, &f) && f.code == codeUnsupported { // it goes on already
		return nil
	}
	return err
}

// answerPart is a value as a part: a text as such, anything else as data.
func answerPart(value json.RawMessage) *a2a.Part {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return a2a.NewTextPart(text)
	}
	return a2a.NewDataPart(value)
}

// Bounds of how a remote task is looked at.
const (
	pollLeast   = time.Second
	pollMost    = 10 * time.Second
	maxFailures = 6 // in a row
	maxOutput   = 1 << 40
	hearLeast   = 60   // polls
	hearMost    = 1800 // polls
)

// follow waits until a remote task has ended or asks. It tells of its progress.
func (e *errand) follow(ctx context.Context, id string) (q asked, err error) {
	for failures, wait := 0, e.poll; ; {
		if e.seen == nil {
			e.seen, err = e.get(ctx, id)
		}
		if err == nil {
			if q, settled := e.question(); settled {
				return q, nil
			}
			if e.remote.streams {
				err = e.listen(ctx, id)
			}
			e.seen = nil
		}
		if err != nil {
			var known *agent.Error
			if failures++; failures > maxFailures || !asAgent(err, &known) || known.Permanent || ctx.Err() != nil {
				return q, lasting(err)
			}
			wait = max(wait, known.RetryAfter)
		} else {
			failures = 0
		}
		if err != nil || !e.remote.streams {
			if !pause.For(ctx, wait) {
				return q, context.Cause(ctx)
			}
			wait = min(2*wait, pollMost)
		}
		err = nil
	}
}

// get reads a remote task.
func (e *errand) get(ctx context.Context, id string) (*remoteTask, error) {
	var t remoteTask
	k := call{method: "GetTask", path: "/tasks/" + url.PathEscape(id), verb: http.MethodGet, params: map[string]any{}}
	if e.remote.rpc {
		k.params["id"] = id
	}
	if err := e.do(ctx, e.remote, k, &t); err != nil {
		return nil, err
	}
	e.tell(t.Status, t.Metadata)
	e.outputs(t.Artifacts)
	return &t, nil
}

// listen reads the stream of a remote task until it ends, asks or breaks off.
func (e *errand) listen(ctx context.Context, id string) error {
	k := call{method: "SubscribeToTask", path: "/tasks/" + url.PathEscape(id) + ":subscribe", verb: http.MethodPost, params: map[string]any{}}
	if e.remote.rpc {
		k.params["id"] = id
	}
	err := e.events(ctx, e.remote, k, func(event a2a.Event) (bool, error) {
		switch v := event.(type) {
		case *a2a.TaskStatusUpdateEvent:
			if err := e.update(ctx, v); err != nil {
				return false, err
			}
			return !settled(v.Status.State), nil
		case *a2a.TaskArtifactUpdateEvent:
			e.output(v.Artifact, v.Append, v.LastChunk)
		case *a2a.Task:
			e.outputs(v.Artifacts)
			return !settled(v.Status.State), nil
		}
		return true, nil
	})
	var f *fault
	if errors.As(err, &f) && f.code == codeUnsupported { // it has ended meanwhile
		return nil
	}
	return err
}

// outputs tells the output text that a task has so far.
func (e *errand) outputs(of []*a2a.Artifact) {
	for _, a := range of {
		if a != nil && a.ID == outputID {
			e.output(a, false, true)
		}
	}
}

// output tells text of a stream: more of it, or the output in place of what was told. Of
// an artifact that comes whole, the result is made.
func (e *errand) output(a *a2a.Artifact, more, last bool) {
	if a == nil || !more && last && a.ID != outputID {
		return
	}
	words, from := texts(a.Parts), e.said
	if !more && a.ID == outputID {
		cut, _ := a.Metadata["mesh/left_out"].(float64)
		from = int64(max(0, min(cut, maxOutput)))
	}
	e.said = from + int64(len(words))
	e.job.OutputAt(from, words)
	if !more {
		e.job.OutputEnd(e.said)
	}
}

// update tells of a change: a milestone, or progress.
func (e *errand) update(ctx context.Context, v *a2a.TaskStatusUpdateEvent) error {
	if _, ok := v.Metadata["mesh/milestone"]; !ok || v.Status.Message == nil {
		e.tell(v.Status, v.Metadata)
		return nil
	}
	var of struct {
		Name string
		Data any
	}
	for _, p := range v.Status.Message.Parts {
		if raw, ok := dataOf(p); ok {
			_ = json.Unmarshal(raw, &of)
		}
	}
	if of.Name == "" {
		of.Name = "milestone"
	}
	return e.job.Milestone(ctx, of.Name, texts(v.Status.Message.Parts), of.Data)
}

// tell reports the progress of a task that works.
func (e *errand) tell(s a2a.TaskStatus, meta map[string]any) {
	if s.State != a2a.TaskStateWorking {
		return
	}
	percent, _ := meta["mesh/progress"].(float64)
	words := ""
	if s.Message != nil {
		words = texts(s.Message.Parts)
	}
	if percent > 0 || words != "" {
		e.job.Progress(int(percent), words)
	}
}

// passOn cancels the remote task of a job that was canceled, or whose time is over.
func (e *errand) passOn(ctx context.Context, id string) {
	cause := context.Cause(ctx)
	if !errors.Is(cause, agent.ErrCanceled) && !errors.Is(cause, agent.ErrDeadline) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := e.cancel(ctx, e.remote, id); err != nil {
		e.log.WarnContext(ctx, "a remote task is not canceled", "agent", e.place, "remote_task", id, "error", err)
	}
}

// cancel cancels a remote task. One that has ended or is gone is as good.
func (c *Client) cancel(ctx context.Context, r *remote, id string) error {
	k := call{method: "CancelTask", path: "/tasks/" + url.PathEscape(id) + ":cancel", verb: http.MethodPost, params: map[string]any{}}
	if r.rpc {
		k.params["id"] = id
	}
	err := c.do(ctx, r, k, nil)
	var f *fault
	if errors.As(err, &f) && (f.code == codeNotCancelable || f.code == codeTaskNotFound) {
		return nil
	}
	return err
}

// Canceled cancels the remote task of one that was canceled while nobody ran it: while
// its question was open, for one.
func (c *Client) Canceled(ctx context.Context, left *agent.Left) error {
	var at sent
	if !left.Kept("send", &at) || at.TaskID == "" {
		return nil
	}
	r, err := c.card(ctx)
	if err != nil {
		return err
	}
	return c.cancel(ctx, r, at.TaskID)
}

// lasting is an error for good where the protocol has refused.
func lasting(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	code := task.CodeAgentError
	if f.code == -32602 {
		code = task.CodeBadInput
	}
	message := fmt.Sprintf("the remote agent refused: %s", f.message)
	if f.code == codeTaskNotFound {
		message = "the remote agent does not know the task any more"
	}
	return &agent.Error{Code: code, Permanent: true, Message: message}
}

func asAgent(err error, to **agent.Error) bool { return errors.As(err, to) }

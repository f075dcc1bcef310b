package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Unknown says what becomes of a call of which nobody knows whether it was done.
type Unknown string

// The ways. Without one a tool that says that it may be called again is, and a person
// is asked about any other.
const (
	AskAboutUnknown Unknown = "ask"
	RetryUnknown    Unknown = "retry"
	FailUnknown     Unknown = "fail"
)

// Unknowns are all of them.
var Unknowns = []Unknown{AskAboutUnknown, RetryUnknown, FailUnknown}

// Run is a call that is kept in the journal of a job.
type Run struct {
	Call
	Step      string // names it in the journal: calls at the same time have different names
	OnUnknown Unknown
	Timeout   time.Duration // after it the tool has failed, as far as is known; 0: none
	// Once says that whatever becomes of the call is kept, also that the server was away.
	Once bool
	// Made is called when the call is made, and not taken from the journal; nil: nobody
	// wants to know.
	Made func()
	// Shown is how what the server asks is shown to people; nil: as it is.
	Shown func(text string) string
}

// Run calls a tool for a job and returns what it answered, also an error of the tool.
// What was answered before, in an earlier run of the job, is not asked for again.
// What the server asks, people are asked: the job is suspended meanwhile. A task that
// the server makes of the call is noted before it is waited for, and canceled with the
// job. The error is an [*agent.Error] or the cause of ctx.
func (c *Client) Run(ctx context.Context, job *agent.Job, r Run) (*Result, error) {
	k := &kept{client: c, job: job, Run: r, repeatable: r.OnUnknown == RetryUnknown}
	if r.OnUnknown == "" {
		t, err := c.Tool(ctx, r.Tool)
		if err != nil {
			return nil, err
		}
		k.repeatable = t.Repeatable()
	}
	if k.Key == "" {
		k.Key = job.TaskID + "." + r.Step
	}
	if k.TraceParent == "" {
		k.TraceParent = job.TraceParent
	}
	for range maxRounds {
		round, now, err := k.step(ctx)
		switch {
		case err != nil:
			return nil, err
		case round.Refused != nil && !now:
			continue // in an earlier attempt
		case round.Refused != nil:
			return nil, round.Refused.error()
		case round.Result != nil:
			return round.Result, nil
		case round.Task != "":
			return k.follow(ctx, round.Task)
		case round.Unknown != "":
			err = k.decide(ctx, round.Unknown)
		default:
			k.Answers, err = k.ask(ctx, round.Questions)
			k.State = round.State
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, &agent.Error{Code: codeTool, Permanent: true, Message: fmt.Sprintf("the tool asked more than %d times", maxRounds)}
}

// kept is a call in the journal of a job.
type kept struct {
	Run
	client     *Client
	job        *agent.Job
	repeatable bool
}

// step makes one call and keeps what it came to. Of a call that may not be repeated
// its beginning is kept, too.
// now says that it was made in this run.
func (k *kept) step(ctx context.Context) (round Round, now bool, err error) {
	opts := []agent.StepOption{}
	if !k.repeatable {
		opts = append(opts, agent.Marked())
	}
	round, err = agent.Step(ctx, k.job, k.Step, func(ctx context.Context, s agent.StepInfo) (Round, error) {
		if now = true; k.Made != nil {
			k.Made()
		}
		if s.Again && !k.repeatable {
			return Round{Unknown: "the worker was cut off during the call"}, nil
		}
		round, err := k.inTime(ctx)
		var e *agent.Error
		switch {
		case err == nil && round.Unknown != "" && k.repeatable:
			return Round{Refused: &Fault{Code: task.CodeAgentUnreachable, Message: round.Unknown, Detail: k.client.place}}, nil
		case errors.As(err, &e) && !e.Permanent:
			return Round{Refused: &Fault{e.Code, e.Message, e.Detail, e.RetryAfter}}, nil
		}
		return round, err
	}, opts...)
	return round, now, err
}

// inTime is Call, within the time of a run. A tool that does not answer has failed:
// whether it has had its effect is not known, and it is not called again.
func (k *kept) inTime(ctx context.Context) (Round, error) {
	if k.Timeout == 0 {
		return k.client.Call(ctx, k.Call)
	}
	limited, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	round, err := k.client.Call(limited, k.Call)
	if limited.Err() != nil && ctx.Err() == nil && round.Result == nil {
		text, _ := json.Marshal(map[string]string{"type": "text", "text": fmt.Sprintf("no answer within %v; whether the call had an effect is not known", k.Timeout)})
		return Round{Result: &Result{Content: []json.RawMessage{text}, IsError: true}}, nil
	}
	return round, err
}

// decide says whether a call of which nobody knows the outcome is made again: the
// error is nil then.
func (k *kept) decide(ctx context.Context, why string) error {
	gone := &agent.Error{Code: codeUnknown, Permanent: true, Detail: k.client.place, Message: fmt.Sprintf("nobody knows whether the call of the tool %s was done: %s", k.Tool, why)}
	if k.OnUnknown == FailUnknown {
		return gone
	}
	raw, err := k.job.Wait(ctx, agent.Wait{
		Kind: task.WaitInput, Name: "unknown-" + nameOf(k.Step), Schema: json.RawMessage(`{"enum":["retry","fail"]}`),
		Prompt: fmt.Sprintf("Nobody knows whether the call of the tool %s (%s) was done: %s. retry calls it again, fail ends the task.", k.Tool, k.client.place, why),
	})
	if err == nil && string(raw) != `"retry"` {
		err = gone
	}
	return err
}

// ask asks people all the questions at once. They see who asks.
func (k *kept) ask(ctx context.Context, questions []Question) (map[string]Answer, error) {
	answers, errs := make([]Answer, len(questions)), make([]error, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() {
			var raw json.RawMessage
			raw, errs[i] = k.job.Wait(ctx, agent.Wait{Kind: task.WaitInput, Name: nameOf(q.Key), Prompt: k.shown(k.client.place + " asks: " + q.Message), Schema: answerable(q.Schema)})
			if errs[i] == nil {
				answers[i] = answerOf(raw)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, e := range errs {
			if agent.Suspended(e) {
				return nil, e
			}
		}
		return nil, err
	}
	m := map[string]Answer{}
	for i, q := range questions {
		m[q.Key] = answers[i]
	}
	return m, nil
}

func (k *kept) shown(text string) string {
	if k.Shown == nil {
		return text
	}
	return k.Shown(text)
}

// answerable is the schema of what may be answered: what the form asks for, or the
// refusal to fill it in.
func answerable(form json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(form, &members) != nil || len(members) == 0 || schemaOf(form) == nil {
		return nil
	}
	return form
}

// answerOf reads an answer: the content of the form, or {"action":"decline"}.
func answerOf(raw json.RawMessage) Answer {
	var content map[string]any
	if string(raw) == `null` {
		return Answer{Action: "decline"}
	}
	if json.Unmarshal(raw, &content) != nil {
		return Answer{Action: "accept", Content: map[string]any{"answer": raw}}
	}
	if action, _ := content["action"].(string); len(content) == 1 && (action == "decline" || action == "cancel") {
		return Answer{Action: action}
	}
	return Answer{Action: "accept", Content: content}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// nameOf is a name for a question whose key a server has chosen.
func nameOf(key string) string {
	if plainName.MatchString(key) {
		return key
	}
	return "question-" + digest(key)
}

// Bounds of how often a task of a server is asked for.
const (
	pollLeast = 100 * time.Millisecond
	pollMost  = time.Minute
	pollUsual = time.Second
)

// follow waits for a task of the server's. It may do so again in a later run: the
// task was noted before.
func (k *kept) follow(ctx context.Context, id string) (*Result, error) {
	defer func() {
		if cause := context.Cause(ctx); errors.Is(cause, agent.ErrCanceled) || errors.Is(cause, agent.ErrDeadline) {
			k.abandon(ctx, id)
		}
	}()
	given := map[string]Answer{} // a server may show a question a moment longer
	for failures := 0; ; {
		w, err := k.client.task(ctx, id)
		if err == nil {
			failures = 0
			var res *Result
			if res, err = k.look(ctx, id, &w, given); res != nil {
				return res, nil
			}
		}
		if err != nil {
			if failures++; failures > maxFailures || !passing(err) || ctx.Err() != nil {
				return nil, unlost(err)
			}
		}
		wait := time.Duration(w.PollInterval) * time.Millisecond
		if wait <= 0 {
			wait = pollUsual << min(failures, 5)
		}
		if !pause.For(ctx, min(max(wait, pollLeast), pollMost)) {
			return nil, context.Cause(ctx)
		}
	}
}

const maxFailures = 8

// passing says whether a look at a task may be tried again at once.
func passing(err error) bool {
	var lost *lostError
	var fault *agent.Error
	return errors.As(err, &lost) || errors.As(err, &fault) && !fault.Permanent
}

// unlost makes an error of an answer that was lost where nothing hangs on it.
func unlost(err error) error {
	var lost *lostError
	if errors.As(err, &lost) {
		return &agent.Error{Code: task.CodeAgentUnreachable, Message: lost.why}
	}
	return err
}

// look acts on what a task of the server's is now.
func (k *kept) look(ctx context.Context, id string, w *wire, given map[string]Answer) (*Result, error) {
	switch w.Status {
	case "completed":
		return agent.Step(ctx, k.job, k.Step+"/end", func(context.Context, agent.StepInfo) (*Result, error) {
			var end wire
			if err := json.Unmarshal(w.Result, &end); err != nil {
				return nil, badAnswer("the result of the task is malformed: %v", err)
			}
			return end.result(), nil
		})
	case "failed":
		if w.Error == nil {
			return nil, badAnswer("the task of the server failed without an error")
		}
		e := k.client.refused(w.Error)
		e.Permanent = true // the task has ended
		return nil, e
	case "cancelled":
		return nil, &agent.Error{Code: codeTool, Permanent: true, Message: strings.TrimSuffix("the server canceled its task: "+clip(w.StatusMessage, maxText), ": ")}
	case "input_required":
		return nil, k.respond(ctx, id, w, given)
	case "working":
		if w.StatusMessage != "" && k.Progress != nil {
			k.Progress(0, clip(w.StatusMessage, maxText))
		}
		return nil, nil
	}
	return nil, badAnswer("the task of the server has the unknown status %q", clip(w.Status, 64))
}

// respond asks people what a task of the server's asks, and tells it.
func (k *kept) respond(ctx context.Context, id string, w *wire, given map[string]Answer) error {
	questions, err := questionsOf(w.Asks)
	if err != nil {
		return err
	}
	var open []Question
	for _, q := range questions {
		if _, ok := given[q.Key]; !ok {
			open = append(open, q)
		}
	}
	answers, err := k.ask(ctx, open)
	if err != nil {
		return err
	}
	for key, a := range answers {
		given[key] = a
	}
	if len(given) == 0 {
		return nil
	}
	return k.client.tell(ctx, id, given)
}

// abandon cancels a task that nobody waits for any longer.
func (k *kept) abandon(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := k.client.Cancel(ctx, id); err != nil {
		k.client.o.Log.WarnContext(ctx, "a task of an MCP server is not canceled", "server", k.client.place, "remote_task", id, "error", err)
	}
}

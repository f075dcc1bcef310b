package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Codes of what only this kind of agent does.
const (
	codeTooLarge  = "input_too_large"
	codeLostQuery = "agent_lost_query"
)

// round is what a prompt came to.
type round struct {
	Text    string `json:"text"`
	Files   []file `json:"files,omitempty"`
	Unknown string `json:"unknown,omitempty"`
	Asked   bool   `json:"asked,omitempty"` // a question of it was open
	Refused *fault `json:"refused,omitempty"`
}

// fault is an error after which the prompt is sent again by another attempt: the end of
// this one is known, so it is kept as one.
type fault struct {
	Code       string        `json:"code"`
	Message    string        `json:"message"`
	Detail     string        `json:"detail,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

type file struct {
	Filename string `json:"filename"`
	Bytes    []byte `json:"bytes"`
}

// run is one attempt: one prompt, which is noted before it is sent.
func (p *Peer) run(ctx context.Context, job *agent.Job) (any, error) {
	r := request(job, p.cfg.History)
	for {
		got, now, err := p.step(ctx, job, r)
		switch {
		case err != nil:
			return nil, err
		case got.Refused != nil && !now:
			continue // in an earlier attempt
		case got.Refused != nil:
			return nil, &agent.Error{Code: got.Refused.Code, Message: got.Refused.Message, Detail: got.Refused.Detail, RetryAfter: got.Refused.RetryAfter}
		case got.Unknown == "" && job.Turn != nil:
			return agent.Reply{Message: got.Text}, nil
		case got.Unknown == "" && len(got.Files) == 0:
			return map[string]string{"text": got.Text}, nil
		case got.Unknown == "":
			return map[string]any{"text": got.Text, "files": got.Files}, nil
		}
		if err := p.decide(ctx, job, got); err != nil {
			return nil, err
		}
	}
}

// step sends the prompt once. Questions are asked beside it, so that the run goes on
// meanwhile: where an answer goes is known in this process only.
// now says that it was sent in this run.
func (p *Peer) step(ctx context.Context, job *agent.Job, r *protocol.Request) (got round, now bool, err error) {
	opts := []agent.StepOption{agent.Marked()}
	if p.cfg.Idempotent {
		opts = nil
	}
	got, err = agent.Step(ctx, job, "prompt", func(inner context.Context, s agent.StepInfo) (round, error) {
		now = true
		if s.Again && !p.cfg.Idempotent {
			return round{Unknown: "the worker was cut off while the agent worked"}, nil
		}
		x := &exchange{peer: p, job: job, outer: ctx}
		defer x.asking.Wait()
		inner, cancel := context.WithTimeoutCause(inner, p.cfg.MaxWait, errTooLong)
		defer cancel()
		x.stop = cancel
		got, err := x.send(inner, r)
		var e *agent.Error
		if errors.As(err, &e) && !e.Permanent {
			return round{Refused: &fault{e.Code, e.Message, e.Detail, e.RetryAfter}}, nil
		}
		return got, err
	}, opts...)
	return got, now, err
}

var errTooLong = errors.New("the agent did not end in time")

// decide says whether a prompt whose end nobody knows is sent again.
func (p *Peer) decide(ctx context.Context, job *agent.Job, got round) error {
	code := task.CodeToolOutcomeUnknown
	if got.Asked {
		code = codeLostQuery
	}
	gone := &agent.Error{Code: code, Permanent: true, Message: "nobody knows what became of the prompt: " + got.Unknown}
	switch {
	case p.cfg.OnUnknown == Retry || p.cfg.Idempotent:
		return nil
	case p.cfg.OnUnknown != Ask:
		return gone
	}
	raw, err := job.Wait(ctx, agent.Wait{Kind: task.WaitInput, Name: "unknown-prompt", Schema: json.RawMessage(`{"enum":["retry","fail"]}`),
		Prompt: "Nobody knows what became of the prompt: " + got.Unknown + ". retry sends it again, fail ends the task."})
	if err == nil && string(raw) != `"retry"` {
		err = gone
	}
	return err
}

// transcript is what was said in a session so far, as text.
func transcript(turn *agent.Turn) string {
	var b strings.Builder
	for _, m := range turn.Messages {
		who := "User"
		if m.Role == "agent" {
			who = "Agent"
		}
		fmt.Fprintf(&b, "%s: %s\n\n", who, m.Text)
	}
	return strings.TrimSpace(b.String())
}

// request is the prompt of a job: its text, or its input as JSON, and its files.
func request(job *agent.Job, h History) *protocol.Request {
	r := &protocol.Request{Prompt: job.Instruction}
	if job.Turn != nil && h == Full && len(job.Turn.Messages) > 1 {
		r.Prompt = transcript(job.Turn)
	}
	if job.Input == nil || job.Turn != nil {
		return r
	}
	var in struct {
		Text  *string `json:"text"`
		Files []file  `json:"files"`
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(job.Input, &members) == nil && json.Unmarshal(job.Input, &in) == nil && in.Text != nil && (len(members) == 1 || len(members) == 2 && in.Files != nil) {
		r.Prompt = strings.TrimSpace(job.Instruction + "\n\n" + *in.Text)
		for _, f := range in.Files {
			r.Attachments = append(r.Attachments, protocol.Attachment{Filename: f.Filename, Content: f.Bytes})
		}
		return r
	}
	var text string
	if json.Unmarshal(job.Input, &text) != nil {
		text = string(job.Input)
	}
	r.Prompt = strings.TrimSpace(job.Instruction + "\n\n" + text)
	return r
}

// exchange is a prompt that is open.
type exchange struct {
	peer  *Peer
	job   *agent.Job
	outer context.Context // of the attempt
	stop  context.CancelFunc

	asking sync.WaitGroup
	mu     sync.Mutex
	out    strings.Builder
	files  []file
	asked  bool
}

// send sends the prompt and reads the answer.
func (x *exchange) send(ctx context.Context, r *protocol.Request) (round, error) {
	p := x.peer
	p.mu.Lock()
	conn, sign, info, online := p.conn, p.sign, p.info, p.online
	p.mu.Unlock()
	if conn == nil || !online {
		return round{}, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the agent is offline", RetryAfter: 5 * time.Second}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return round{}, err
	}
	if room := info.MaxPayload - 4<<10; info.MaxPayload > 0 && int64(len(raw)) > room {
		return round{}, &agent.Error{Code: codeTooLarge, Permanent: true, Message: fmt.Sprintf("the prompt has %d bytes, the agent takes %d", len(raw), room)}
	}
	err = conn.Ask(ctx, info.PromptSubject, r, p.cfg.Inactivity, sign, func(ch protocol.Chunk) error { return x.chunk(ctx, ch) })
	x.stop() // nobody answers a question any longer
	if err == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		return round{Text: x.out.String(), Files: x.files}, nil
	}
	return x.failed(ctx, err)
}

// failed is what an error means.
func (x *exchange) failed(ctx context.Context, err error) (round, error) {
	var e *protocol.Error
	switch {
	case x.outer.Err() != nil:
		return round{}, context.Cause(x.outer)
	case errors.Is(err, protocol.ErrNobody):
		return round{}, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the agent does not listen", Detail: err.Error()}
	case errors.As(err, &e):
		return round{}, x.refused(e)
	case errors.Is(err, protocol.ErrSilent), errors.Is(err, protocol.ErrLost), errors.Is(err, errTooLong), ctx.Err() != nil:
		return round{Unknown: err.Error(), Asked: x.asked}, nil
	}
	return round{}, err
}

// refused is the error of the agent.
func (x *exchange) refused(e *protocol.Error) *agent.Error {
	fault := &agent.Error{Code: task.CodeAgentError, Message: task.Clip(e.Message, 4<<10), RetryAfter: e.RetryAfter, Detail: fmt.Sprintf("%d %s", e.Code, e.Name)}
	switch e.Code {
	case 400:
		fault.Code, fault.Permanent = task.CodeBadInput, true
	case 401, 403, 404:
		fault.Permanent = true
	}
	return fault
}

// chunk takes a part of the answer.
func (x *exchange) chunk(ctx context.Context, ch protocol.Chunk) error {
	switch ch.Type {
	case "response":
		x.mu.Lock()
		x.out.WriteString(ch.Text)
		for _, a := range ch.Attachments {
			x.files = append(x.files, file{a.Filename, a.Content})
		}
		x.mu.Unlock()
		x.job.Output(ch.Text)
	case "status":
		if ch.Text != "ack" {
			x.job.Progress(0, ch.Text)
		}
	case "query":
		x.mu.Lock()
		x.asked = true
		x.mu.Unlock()
		x.asking.Go(func() { x.question(ctx, ch.Query) })
	}
	return nil
}

// question asks a person what the agent asks.
func (x *exchange) question(ctx context.Context, q *protocol.Query) {
	outer, cancel := context.WithCancel(x.outer)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)() // the prompt has ended
	name := q.ID
	if name == "" || len(name) > task.MaxWaitName {
		name = "query"
	}
	raw, err := x.job.Wait(outer, agent.Wait{Kind: task.WaitInput, Name: name, Prompt: x.peer.cfg.Agent + "." + x.peer.cfg.Owner + " asks: " + task.Clip(q.Prompt, 4<<10)})
	if err != nil {
		return
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	if err := q.Answer(&protocol.Request{Prompt: text}); err != nil {
		x.stop()
	}
}

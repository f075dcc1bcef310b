package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// loop is one run of one task: ask the model, call what it wants called, and so on
// until it has an answer or a limit is reached. What it has finished in runs before
// comes from the journal.
type loop struct {
	meter
	talk
	first *compiled
	tools map[string]tool

	fresh    bool // the newest answer was made in this run
	faults   int  // tool calls that failed, one after the other
	repairs  int
	compacts int
	out      int64 // how much output the conversation has
}

// state is what a session keeps between turns.
type state struct {
	Active  string `json:"active_agent,omitempty"`
	Summary string `json:"summary,omitempty"`
	From    int    `json:"first_unsummarised,omitempty"`
}

// handle implements agent.Handler.
func (a *compiled) handle(ctx context.Context, job *agent.Job) (any, error) {
	l := &loop{meter: meter{job: job, limits: a.Limits}, talk: talk{compiled: a}, first: a}
	v, err := l.run(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if e := (*agent.Error)(nil); errors.As(err, &e) {
		masked := *e
		masked.Message, masked.Detail = a.shown(e.Message), a.catalog.mask.text(e.Detail)
		return nil, &masked
	}
	return v, err
}

func (l *loop) run(ctx context.Context) (any, error) {
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	for {
		if why := l.over(); why != "" {
			return l.stop(ctx, why)
		}
		answer, err := l.ask(ctx, "")
		if none := noRoom(""); errors.As(err, &none) {
			return l.stop(ctx, string(none))
		}
		if err != nil {
			return nil, err
		}
		l.messages = append(l.messages, answer.Message)
		if len(answer.Calls) == 0 {
			v, done, err := l.final(ctx, answer.Content)
			if done || err != nil {
				return v, err
			}
			continue
		}
		v, done, err := l.callAll(ctx, answer.Calls)
		if errors.Is(err, errMend) {
			continue
		}
		if done || err != nil {
			return v, err
		}
	}
}

// begin has the conversation as it stands before the model is asked.
func (l *loop) begin(ctx context.Context) error {
	if l.Limits.Time > 0 {
		l.began = l.job.Now(ctx, "began")
	}
	if t := l.job.Turn; t != nil {
		var kept state
		if err := t.Bind(&kept); err != nil {
			return err
		}
		for _, m := range t.Messages {
			role := chat.User
			if m.Role == "agent" || m.Role == "assistant" {
				role = chat.Assistant
			}
			l.messages = append(l.messages, chat.Message{Role: role, Content: m.Text})
		}
		l.summary, l.from = kept.Summary, min(kept.From, max(0, len(l.messages)-1))
		if active := l.catalog.agents[kept.Active]; active != nil {
			l.compiled = active
		}
		return l.become(ctx, l.compiled)
	}
	text, err := l.userMessage(l.job)
	if err != nil {
		return err
	}
	l.messages = []chat.Message{{Role: chat.User, Content: text}}
	return l.become(ctx, l.compiled)
}

// become has an agent go on with the conversation: its instructions and its tools.
func (l *loop) become(ctx context.Context, a *compiled) error {
	l.compiled = a
	telemetry.Annotate(ctx, telemetry.RequestModel(l.catalog.models[a.Model].Config.Model))
	input, err := inputOf(l.job)
	if err != nil {
		return err
	}
	now := ""
	l.system, err = render(a.instructions, &facts{Labels: l.job.Labels, Input: input, Instruction: l.job.Instruction, now: func(layout string) string {
		if now == "" {
			now = l.job.Now(ctx, "now").Format(time.RFC3339Nano)
		}
		at, err := time.Parse(time.RFC3339Nano, now)
		if err != nil {
			return now
		}
		return at.Format(layout)
	}})
	if err != nil {
		return agent.Permanent(fmt.Errorf("instructions of agent %s: %w", a.name, err))
	}
	return l.equip(ctx)
}

// facts are what templates know.
type facts struct {
	Labels      map[string]string
	Input       any
	Instruction string
	now         func(layout string) string
}

// Now is the time at which the task began, in a layout of Go's.
func (f *facts) Now(layout string) string { return f.now(layout) }

func inputOf(job *agent.Job) (v any, err error) {
	if job.Input == nil {
		return nil, nil
	}
	return v, job.Bind(&v)
}

// userMessage is what the user asks: the instruction, the input, or both.
func (a *compiled) userMessage(job *agent.Job) (string, error) {
	input, err := inputOf(job)
	if err != nil {
		return "", err
	}
	if a.Prompt != "" {
		text, err := render(a.prompt, &facts{Labels: job.Labels, Input: input, Instruction: job.Instruction, now: func(layout string) string { return time.Now().UTC().Format(layout) }})
		if err != nil {
			return "", agent.Permanent(fmt.Errorf("prompt of agent %s: %w", a.name, err))
		}
		return text, nil
	}
	text, ok := input.(string)
	if !ok && input != nil {
		text = string(job.Input)
	}
	parts := []string{job.Instruction, text}
	message := strings.TrimSpace(strings.Join(parts, "\n\n"))
	if message == "" {
		return "", &agent.Error{Code: task.CodeBadInput, Permanent: true, Message: "there is nothing to answer: send an instruction or an input"}
	}
	return message, nil
}

// reply is the agent's answer in the form of the task.
func (l *loop) reply(text string, v any) any {
	l.job.OutputEnd(l.out)
	if l.job.Turn == nil {
		if v != nil {
			return l.shownJSON(v)
		}
		return map[string]string{"text": l.shown(text)}
	}
	kept := state{Summary: l.summary}
	if l.name != l.first.name {
		kept.Active = l.name
	}
	if l.summary != "" {
		kept.From = l.from
	}
	return agent.Reply{Message: l.shown(text), State: kept}
}

// decoded reads a text as JSON; models like to put it into a block of code.
func decoded(text string) (v any, err error) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "```"); ok {
		if _, body, ok := strings.Cut(rest, "\n"); ok {
			text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(body), "```"))
		}
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err = d.Decode(&v); err == nil && d.More() {
		err = errors.New("there is something behind the JSON value")
	}
	return v, err
}

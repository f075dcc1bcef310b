package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"agentmesh/shared/schema"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// human is the tool ask_human. The question suspends the task: nothing is held while
// nobody has answered.
type human struct{}

const askHuman = `{"type":"object","required":["question"],"properties":{"question":{"type":"string","description":"What the person is asked, with all that they must know."},"options":{"type":"array","items":{"type":"string"},"description":"The answers to choose from, if there are some."},"schema":{"type":"object","description":"JSON Schema of the answer, if it is to be more than a text."}},"additionalProperties":false}`

// offer implements tool.
func (human) offer() chat.Tool {
	return chat.Tool{Name: "ask_human", Description: "Asks a person and waits for the answer, which may take days.", Parameters: json.RawMessage(askHuman)}
}

// run implements tool.
func (human) run(ctx context.Context, l *loop, c call) (result, error) {
	var q struct {
		Question string   `json:"question"`
		Options  []string `json:"options"`
		Schema   any      `json:"schema"`
	}
	if err := json.Unmarshal(c.args, &q); err != nil {
		return failed("%v", err), nil
	}
	var wanted any = map[string]any{"type": "string"}
	switch {
	case q.Schema != nil:
		if why := l.askable(q.Schema); why != nil {
			return failed("the schema of the answer is not taken: %v", why), nil
		}
		wanted = q.Schema
	case len(q.Options) > 0:
		wanted = map[string]any{"type": "string", "enum": q.Options}
	}
	raw, err := personOf(l).question(ctx, "ask/"+c.place, q.Question, wanted)
	if errors.Is(err, agent.ErrInputTimeout) {
		return failed("nobody has answered in time"), nil
	}
	if err != nil {
		return result{}, err
	}
	return result{Text: textOf(raw)}, nil
}

// askable says why a schema that a model has written cannot be that of an answer.
func (a *compiled) askable(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := schema.Compile(raw); err != nil {
		return explained(err)
	}
	if len(raw) > task.MaxWaitSchema {
		return fmt.Errorf("it has %d bytes, allowed are %d", len(raw), task.MaxWaitSchema)
	}
	return nil
}

// person is whoever answers the questions of a task.
type person struct {
	job *agent.Job
	of  *compiled // the agent that asks
}

func personOf(l *loop) person { return person{l.job, l.first} }

// question asks a person. A wait's bounds hold for what a model has written, too.
func (p person) question(ctx context.Context, name, prompt string, wanted any) (json.RawMessage, error) {
	raw, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	return agent.Ask[json.RawMessage](ctx, p.job, name, agent.Question{Prompt: cutText(p.of.shown(prompt), maxPrompt), Schema: raw})
}

// maxPrompt is the longest question in bytes.
const maxPrompt = 4 << 10

// decision is a person's word on a call.
type decision struct {
	Decision  string          `json:"decision"`
	Note      string          `json:"note"`
	Arguments json.RawMessage `json:"arguments"`
}

// UnmarshalJSON takes the word alone, too.
func (d *decision) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &d.Decision) == nil {
		return nil
	}
	type plain decision
	return json.Unmarshal(raw, (*plain)(d))
}

// decide asks a person to choose. words are the choices.
func (p person) decide(ctx context.Context, name, prompt string, words ...string) (d decision, err error) {
	wanted := map[string]any{"anyOf": []any{
		map[string]any{"enum": words},
		map[string]any{"type": "object", "required": []string{"decision"}, "additionalProperties": false, "properties": map[string]any{
			"decision": map[string]any{"enum": words}, "note": map[string]any{"type": "string"}, "arguments": map[string]any{"type": "object"},
		}},
	}}
	raw, err := p.question(ctx, name, prompt, wanted)
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(raw, &d)
}

// approve asks a person whether a call may be made. What was asked for is what is
// called: the model is not asked again. fault: it may not.
func (p person) approve(ctx context.Context, c call) (args json.RawMessage, fault *result, err error) {
	prompt := fmt.Sprintf("The agent %s wants to call %s with %s. May it?", p.of.name, c.name, c.args)
	d, err := p.decide(ctx, "approve/"+c.place, prompt, "approve", "reject")
	no := func(format string, args ...any) (json.RawMessage, *result, error) {
		r := failed(format, args...)
		return nil, &r, nil
	}
	switch {
	case errors.Is(err, agent.ErrInputTimeout):
		return no("nobody has approved the call in time; it was not made")
	case err != nil:
		return nil, nil, err
	case d.Decision != "approve" && d.Note != "":
		return no("a person has rejected the call: %s", d.Note)
	case d.Decision != "approve":
		return no("a person has rejected the call")
	case d.Arguments != nil:
		return d.Arguments, nil, nil
	}
	return c.args, nil, nil
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

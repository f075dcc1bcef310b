package llm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// colleague is an agent of the mesh as a tool, or as one to whom the conversation is
// handed over.
type colleague struct {
	agent   string
	shown   chat.Tool
	to      *compiled // to an agent of the file: it goes on in this task
	handoff bool
	open    bool // it has no schema: its input is a text
}

// anyInput is what an agent takes that says nothing.
const anyInput = `{"type":"object","required":["input"],"properties":{"input":{"type":"string","description":"What it is to do, with all that it must know."}},"additionalProperties":false}`

// noInput is that of a hand-over within the conversation.
const noInput = `{"type":"object","properties":{},"additionalProperties":false}`

func newColleague(l *loop, u Use, d agent.Definition) *colleague {
	c := &colleague{agent: u.Agent, handoff: u.Handoff, open: true}
	name := u.Agent
	if u.Handoff {
		name = "transfer_to_" + u.Agent
		c.to = l.catalog.agents[u.Agent]
	}
	c.shown = chat.Tool{Name: toolName(name), Description: cmp.Or(d.Description, "The agent "+u.Agent+"."), Parameters: json.RawMessage(anyInput)}
	if u.Handoff {
		c.shown.Description = "Hands the conversation over to the agent " + u.Agent + ", which goes on with it. " + d.Description
	}
	var object struct {
		Type string `json:"type"`
	}
	switch {
	case c.to != nil:
		c.shown.Parameters = json.RawMessage(noInput)
	case json.Unmarshal(d.InputSchema, &object) == nil && object.Type == "object":
		c.shown.Parameters, c.open = d.InputSchema, false
	}
	return c
}

// offer implements tool.
func (c *colleague) offer() chat.Tool { return c.shown }

// run implements tool: a task of its own, in the same trace, that has what this one has
// left. One that fails is told to the model.
func (c *colleague) run(ctx context.Context, l *loop, in call) (res result, err error) {
	if c.to != nil {
		return result{Text: "The conversation is with " + c.agent + " now.", to: c.to}, nil
	}
	var input any = in.args
	if c.open {
		var text struct {
			Input string `json:"input"`
		}
		if err := json.Unmarshal(in.args, &text); err != nil {
			return failed("%v", err), nil
		}
		input = text.Input
	}
	if l.fresh { // else it was called in a run before
		_, end := toolSpan(ctx, l, in)
		defer func() { end(res, err) }()
	}
	raw, used, err := l.job.CallWithin(ctx, c.agent, input, l.shareOf(in.share))
	l.addChild(used)
	switch e := (*agent.Error)(nil); {
	case errors.As(err, &e) && (e.Code == task.CodeChildFailed || e.Code == task.CodeInputInvalid || e.Code == task.CodeCallTooDeep):
		return failed("%s", l.catalog.mask.text(e.Message)), nil
	case err != nil:
		return result{}, err
	case c.handoff:
		return result{Text: "done", value: raw}, nil
	}
	return result{Text: l.catalog.mask.text(textOf(raw))}, nil
}

// textOf is a result as a model reads it: a text is the text itself.
func textOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil && len(object) == 1 && json.Unmarshal(object["text"], &text) == nil {
		return text
	}
	return string(raw)
}

// shareOf is a part of what is left, for one of several calls at once.
func (l *meter) shareOf(parts int64) task.Within {
	tokens, cost := l.left()
	share := func(n int64) int64 {
		if n < 0 {
			return 0
		}
		return max(1, n/max(1, parts))
	}
	return task.Within{Tokens: share(tokens), Cost: share(cost)}
}

func (l *meter) addChild(u task.Usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.children = l.children.Add(u)
}

var foreign = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// toolName is a name as every server takes it.
func toolName(name string) string {
	name = strings.Trim(foreign.ReplaceAllString(name, "_"), "_")
	return name[:min(len(name), 64)]
}

package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// AgentConfig is the mcp section of an agent: one tool of a server.
type AgentConfig struct {
	Config
	Tool      string
	Arguments map[string]any // added to those of each task, whose own win
	OnUnknown Unknown
}

// Check says what is wrong with it.
func (c AgentConfig) Check() error { return c.Config.Check() }

// describedWithin bounds how long a server may take to describe its tool when the
// worker starts.
const describedWithin = 10 * time.Second

// Describe completes a definition with what the server says of the tool: description
// and schema, where the file has none. The server's words are for operators to look
// at: they are shown to models.
func (c *Client) Describe(ctx context.Context, tool string, d *agent.Definition) error {
	if d.Description != "" && d.InputSchema != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, describedWithin)
	defer cancel()
	t, err := c.Tool(ctx, tool)
	if err != nil {
		return unlost(err)
	}
	if d.Description == "" {
		d.Description = t.Description
	}
	if d.InputSchema == nil {
		d.InputSchema = t.InputSchema
	}
	return nil
}

// New makes the handler of an agent that is one tool. The input of a task is the
// arguments; an instruction alone is the one argument of a tool that needs one text.
func New(c *Client, cfg AgentConfig) agent.Handler {
	return func(ctx context.Context, job *agent.Job) (any, error) {
		arguments, err := c.arguments(ctx, job, cfg)
		if err != nil {
			return nil, err
		}
		res, err := c.Run(ctx, job, Run{
			Call: Call{Tool: cfg.Tool, Arguments: arguments, Progress: job.Progress},
			Step: "call", OnUnknown: cfg.OnUnknown,
		})
		switch {
		case err != nil:
			return nil, err
		case res.IsError:
			return nil, &agent.Error{Code: codeTool, Permanent: true, Message: res.failure()}
		case job.Turn != nil:
			return agent.Reply{Message: res.String()}, nil
		}
		return res.Value()
	}
}

// arguments are those of a job.
func (c *Client) arguments(ctx context.Context, job *agent.Job, cfg AgentConfig) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for name, v := range cfg.Arguments {
		raw, err := task.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[name] = raw
	}
	if job.Input != nil {
		if err := json.Unmarshal(job.Input, &all); err != nil {
			return nil, &agent.Error{Code: task.CodeBadInput, Permanent: true, Message: "the input must be an object: the arguments of the tool"}
		}
	} else if job.Instruction != "" {
		t, err := c.Tool(ctx, cfg.Tool)
		if err != nil {
			return nil, unlost(err)
		}
		name := t.onlyText()
		if name == "" {
			return nil, &agent.Error{Code: task.CodeBadInput, Permanent: true, Message: "the tool takes more than one text: send its arguments as the input"}
		}
		if all[name], err = task.Marshal(job.Instruction); err != nil {
			return nil, err
		}
	}
	return task.Marshal(all)
}

// onlyText is the one argument that a tool needs, when that is a text.
func (t Tool) onlyText() string {
	var s struct {
		Properties map[string]struct {
			Type any `json:"type"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if json.Unmarshal(t.InputSchema, &s) != nil {
		return ""
	}
	if len(s.Required) == 0 && len(s.Properties) == 1 {
		for name := range s.Properties {
			s.Required = []string{name}
		}
	}
	if len(s.Required) != 1 || s.Properties[s.Required[0]].Type != "string" {
		return ""
	}
	return s.Required[0]
}

// texts are the text blocks of a result; whole says that there are no others.
func (r *Result) texts() (text string, whole bool) {
	var parts []string
	whole = true
	for _, raw := range r.Content {
		var block struct {
			Type string `json:"type"`
			Text string `json:"text"`
		}
		if json.Unmarshal(raw, &block) != nil || block.Type != "text" {
			whole = false
			continue
		}
		parts = append(parts, block.Text)
	}
	return strings.Join(parts, "\n"), whole
}

// Value is a result as that of a task: structured content, else {"text": ..}, else
// {"content": [..]} with blocks that are no text.
func (r *Result) Value() (any, error) {
	text, whole := r.texts()
	switch {
	case r.Structured != nil:
		return r.Structured, nil
	case whole:
		return map[string]string{"text": text}, nil
	}
	return map[string]any{"content": r.Content}, nil
}

// String is a result for people and models.
func (r *Result) String() string {
	text, _ := r.texts()
	if text == "" && r.Structured != nil {
		return string(r.Structured)
	}
	return text
}

// failure is what a tool that failed says.
func (r *Result) failure() string {
	if text := r.String(); text != "" {
		return clip(text, maxText)
	}
	return "the tool failed and did not say why"
}

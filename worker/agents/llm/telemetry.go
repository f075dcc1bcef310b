package llm

import (
	"context"
	"encoding/json"
	"errors"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// about are the attributes of all that is done for a job.
func about(job *agent.Job) []telemetry.Attribute {
	attrs := append(make([]telemetry.Attribute, 0, 12), telemetry.TaskID(job.TaskID), telemetry.Agent(job.Agent))
	if job.Turn != nil {
		attrs = append(attrs, telemetry.Session(job.Turn.SessionID)...)
	}
	return attrs
}

// traced asks one model under a span of its own.
func (c *Catalog) traced(ctx context.Context, by *model, r chat.Request, shows *live) (*chat.Answer, error) {
	attrs := about(shows.job)
	if telemetry.Content() {
		attrs = append(attrs, telemetry.Messages(shows.agent.spoken(r.Messages...)))
	}
	ctx, call := telemetry.StartModel(ctx, by.Config.Model, by.client.Host(), attrs...)
	a, err := by.client.Ask(ctx, r, shows.delta)
	end, used := telemetry.ModelEnd{}, chat.Usage{}
	var e *chat.Error
	attrs = nil
	switch {
	case err == nil:
		used = a.Usage.Add(a.Wasted)
		end.ID, end.Model, end.Finish, end.First = a.ID, a.Model, string(a.Finish), a.First
		if telemetry.Content() {
			attrs = append(attrs, telemetry.Answer(shows.agent.spoken(a.Message)))
		}
	case errors.As(err, &e):
		used, end.Error = e.Usage, string(failure(e).Code)
	default: // the run has ended
		end.Error = "canceled"
	}
	end.Input, end.Cached, end.Output, end.Reasoning = used.Input, used.Cached, used.Output, used.Reasoning
	call.End(end, attrs...)
	if cost, currency := by.cost(used); currency != "" {
		telemetry.ModelCost.Add(cost, currency, shows.job.Agent)
	}
	return a, err
}

// toolSpan begins the span of a call. end ends it, once the call has ended in this run.
func toolSpan(ctx context.Context, l *loop, c call) (_ context.Context, end func(result, error)) {
	attrs := about(l.job)
	if telemetry.Content() {
		attrs = append(attrs, telemetry.Arguments(cutText(l.shown(string(c.args)), maxSpoken)))
	}
	ctx, span := telemetry.StartTool(ctx, c.name, c.id, attrs...)
	return ctx, func(r result, err error) {
		var e *agent.Error
		code := ""
		switch {
		case agent.Suspended(err):
			return
		case errors.As(err, &e):
			code = toolError
			if _, ours := task.Codes[e.Code]; ours {
				code = e.Code
			}
		case err != nil, r.Fault:
			code = toolError
		}
		if telemetry.Content() {
			span.End(code, telemetry.Result(cutText(l.shown(r.Text), maxSpoken)))
			return
		}
		span.End(code)
	}
}

// toolError is the type of an error that the tool itself has told.
const toolError = "tool_error"

// maxSpoken is how much of a text stands on a span, in bytes.
const maxSpoken = 8 << 10

// spoken are messages as the conventions write them, for spans.
func (a *compiled) spoken(messages ...chat.Message) string {
	type part struct {
		Type      string `json:"type"`
		Content   string `json:"content,omitempty"`
		ID        string `json:"id,omitempty"`
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments,omitempty"`
		Response  string `json:"response,omitempty"`
	}
	type message struct {
		Role  chat.Role `json:"role"`
		Parts []part    `json:"parts"`
	}
	shown := func(text string) string { return cutText(a.shown(text), maxSpoken) }
	all := make([]message, 0, len(messages))
	for _, m := range messages {
		one := message{Role: m.Role, Parts: []part{}}
		switch {
		case m.Role == chat.ToolRole:
			one.Parts = append(one.Parts, part{Type: "tool_call_response", ID: m.CallID, Response: shown(m.Content)})
		case m.Content != "":
			one.Parts = append(one.Parts, part{Type: "text", Content: shown(m.Content)})
		}
		for _, c := range m.Calls {
			one.Parts = append(one.Parts, part{Type: "tool_call", ID: c.ID, Name: c.Name, Arguments: shown(c.Arguments)})
		}
		all = append(all, one)
	}
	raw, err := json.Marshal(all)
	if err != nil { // of texts only
		return ""
	}
	return string(raw)
}

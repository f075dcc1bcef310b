package chat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
)

// responsesBody is a request in the dialect of POST /responses. The server is asked to
// keep nothing.
func (c *Client) responsesBody(body map[string]any, r Request) {
	body["store"], body["include"] = false, []string{"reasoning.encrypted_content"}
	input := []any{}
	for _, m := range r.Messages {
		for _, kept := range m.Kept {
			input = append(input, kept)
		}
		if m.Role == ToolRole {
			input = append(input, map[string]any{"type": "function_call_output", "call_id": m.CallID, "output": m.Content})
			continue
		}
		if m.Content != "" || len(m.Calls) == 0 {
			input = append(input, map[string]any{"type": "message", "role": m.Role, "content": m.Content})
		}
		for _, call := range m.Calls {
			input = append(input, map[string]any{"type": "function_call", "call_id": call.ID, "name": call.Name, "arguments": call.Arguments})
		}
	}
	body["input"] = input
	if len(r.Tools) > 0 {
		tools := make([]map[string]any, 0, len(r.Tools))
		for _, t := range r.Tools {
			tools = append(tools, map[string]any{"type": "function", "name": t.Name, "description": t.Description, "parameters": t.Parameters, "strict": c.strict(t.Parameters)})
		}
		body["tools"] = tools
		switch r.Choice {
		case "", "auto", "none", "required":
			body["tool_choice"] = cmp.Or(r.Choice, "auto")
		default:
			body["tool_choice"] = map[string]any{"type": "function", "name": r.Choice}
		}
	}
	if r.MaxTokens > 0 {
		smaller(body, "max_output_tokens", r.MaxTokens)
	}
	if r.Format != nil {
		body["text"] = map[string]any{"format": map[string]any{"type": "json_schema", "name": r.Format.Name, "strict": c.strict(r.Format.Schema), "schema": r.Format.Schema}}
	}
}

// responsesEvent is one event of a stream of a response. Only those that say something
// new are read: pieces of text, and the response at its end, which has the rest.
type responsesEvent struct {
	Type     string          `json:"type"`
	Delta    string          `json:"delta"`
	Response json.RawMessage `json:"response"`
	Message  string          `json:"message"`
	Code     code            `json:"code"`
	Error    *said           `json:"error"`
}

// responsesEvent takes one event of a stream of a response.
func (a *assembly) responsesEvent(e event) (done bool, err error) {
	data := bytes.TrimSpace(e.data)
	if len(data) == 0 || string(data) == "[DONE]" {
		return false, nil
	}
	var v responsesEvent
	if err := json.Unmarshal(data, &v); err != nil {
		return false, broken(err, "the model's answer broke off in an event, or is no JSON")
	}
	switch cmp.Or(v.Type, e.name) {
	case "response.output_text.delta":
		a.say(v.Delta, "")
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		a.reasoning.WriteString(v.Delta)
		a.say("", v.Delta)
	case "response.refusal.delta":
		a.refusal.WriteString(v.Delta)
	case "response.completed", "response.incomplete", "response.failed":
		return true, a.response(v.Response)
	case "error":
		s := said{Message: v.Message, Code: v.Code}
		if v.Error != nil {
			s = *v.Error
		}
		return false, inStream(s)
	}
	return false, nil
}

// response is a whole one.
type response struct {
	ID     string            `json:"id"`
	Model  string            `json:"model"`
	Status string            `json:"status"`
	Output []json.RawMessage `json:"output"`
	Error  *said             `json:"error"`
	Why    *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Usage *struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"input_tokens_details"`
		Made struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	} `json:"usage"`
}

// item is one of a response's output.
type item struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Content   []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	} `json:"content"`
}

// response takes a whole response: the text that was streamed before stands in it
// again.
func (a *assembly) response(raw json.RawMessage) error {
	var r response
	if err := json.Unmarshal(raw, &r); err != nil {
		return broken(err, "the model's answer has an end that is no JSON")
	}
	a.id, a.model, a.finish = r.ID, r.Model, string(Stop)
	if u := r.Usage; u != nil {
		a.used = &Usage{Input: u.Input, Cached: u.Details.Cached, Output: u.Output, Reasoning: u.Made.Reasoning}
	}
	if r.Status == "failed" || r.Error != nil {
		if r.Error == nil {
			return broken(errors.New("the response failed"), "the model's answer failed")
		}
		return inStream(*r.Error)
	}
	if r.Status == "incomplete" {
		a.finish = string(Length)
		if r.Why != nil && r.Why.Reason == "content_filter" {
			a.finish = string(Filtered)
		}
	}
	streamed := a.text.Len() > 0
	a.calls = nil
	a.refusal.Reset()
	for _, raw := range r.Output {
		a.item(raw, streamed)
	}
	return nil
}

func (a *assembly) item(raw json.RawMessage, streamed bool) {
	var i item
	if json.Unmarshal(raw, &i) != nil {
		return
	}
	switch i.Type {
	case "reasoning":
		a.kept = append(a.kept, raw)
	case "function_call":
		c := &partCall{index: -1, id: cmp.Or(i.CallID, i.ID), name: i.Name}
		c.arguments.WriteString(i.Arguments)
		a.calls = append(a.calls, c)
	case "message":
		for _, part := range i.Content {
			a.refusal.WriteString(part.Refusal)
			if !streamed {
				a.say(part.Text, "")
			}
		}
	}
}

package chat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chunk is a piece of a chat completion, or a whole one: then its choice has a message.
// Members that are not here are passed over.
type chunk struct {
	ID      string   `json:"id"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage"`
	Error   json.RawMessage
}

type choice struct {
	Index   int     `json:"index"`
	Delta   delta   `json:"delta"`
	Message delta   `json:"message"`
	Finish  *string `json:"finish_reason"`
	Usage   *usage  `json:"usage"` // some servers put it here
}

type delta struct {
	Content          *string     `json:"content"`
	Refusal          *string     `json:"refusal"`
	Reasoning        *string     `json:"reasoning"`
	ReasoningContent *string     `json:"reasoning_content"`
	Calls            []callDelta `json:"tool_calls"`
}

type callDelta struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"` // a text; some servers send the object
	} `json:"function"`
}

type usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Details    struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Completed struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

func (u *usage) usage() Usage {
	return Usage{Input: u.Prompt, Cached: u.Details.Cached, Output: u.Completion, Reasoning: u.Completed.Reasoning}
}

// assembly puts an answer together from its pieces.
type assembly struct {
	tell func(Delta)

	id, model string
	text      strings.Builder
	reasoning strings.Builder
	refusal   strings.Builder
	calls     []*partCall
	finish    string
	used      *Usage
	kept      []json.RawMessage
}

// partCall is a call on its way.
type partCall struct {
	index     int // -1: it was not said
	id, name  string
	arguments strings.Builder
}

// event takes one event of a stream of chat completions. done: the answer is whole.
func (a *assembly) event(e event) (done bool, err error) {
	data := bytes.TrimSpace(e.data)
	if len(data) == 0 {
		return false, nil
	}
	if string(data) == "[DONE]" {
		return true, nil
	}
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return false, broken(err, "the model's answer broke off in a chunk, or is no JSON")
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return false, inStream(saidOf(data))
	}
	a.take(c)
	return false, nil
}

// inStream is the error that a server sends in the place of the rest of its answer.
func inStream(s said) *Error {
	status := 500
	if n, err := strconv.Atoi(string(s.Code)); err == nil && n >= 400 && n < 600 {
		status = n
	} else if s.Code == "rate_limit_exceeded" || s.Type == "rate_limit_exceeded" || s.Type == "requests" || s.Type == "tokens" {
		status = 429
	} else if s.contextFull() || s.Type == "invalid_request_error" {
		status = 400
	}
	return failed(status, nil, s, time.Time{})
}

func (a *assembly) take(c chunk) {
	a.id, a.model = cmp.Or(a.id, c.ID), cmp.Or(a.model, c.Model)
	if c.Usage != nil { // the last one counts: some servers send it in every chunk
		u := c.Usage.usage()
		a.used = &u
	}
	for _, ch := range c.Choices {
		if ch.Index != 0 {
			continue // one answer was asked for
		}
		if ch.Usage != nil {
			u := ch.Usage.usage()
			a.used = &u
		}
		a.delta(ch.Delta)
		a.delta(ch.Message)
		if ch.Finish != nil && *ch.Finish != "" {
			a.finish = *ch.Finish
		}
	}
}

func (a *assembly) delta(d delta) {
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	thought := cmp.Or(text(d.ReasoningContent), text(d.Reasoning))
	a.reasoning.WriteString(thought)
	a.refusal.WriteString(text(d.Refusal))
	a.say(text(d.Content), thought)
	before := len(a.calls)
	for place, part := range d.Calls {
		if len(d.Calls) == 1 && before > 0 {
			place = before - 1
		}
		a.call(part, place)
	}
}

func (a *assembly) say(text, thought string) {
	a.text.WriteString(text)
	if text != "" || thought != "" {
		a.tell(Delta{Text: text, Reasoning: thought})
	}
}

// call takes a piece of a call. Servers tell which one it is of by its index, by its
// id, or by its place; one that says the same index with another id begins a new call.
func (a *assembly) call(part callDelta, place int) {
	c := a.callOf(part, place)
	if c == nil {
		c = &partCall{index: -1}
		if part.Index != nil {
			c.index = *part.Index
		}
		a.calls = append(a.calls, c)
	}
	c.id = cmp.Or(c.id, part.ID)
	if name := part.Function.Name; name != "" && c.name != name { // late, repeated, or in pieces
		c.name += name
	}
	var text string
	if raw := part.Function.Arguments; json.Unmarshal(raw, &text) == nil {
		c.arguments.WriteString(text)
	} else if len(raw) > 0 {
		c.arguments.Write(raw)
	}
}

func (a *assembly) callOf(part callDelta, place int) *partCall {
	for _, c := range slices.Backward(a.calls) {
		switch {
		case part.Index != nil:
			if c.index != *part.Index {
				continue
			}
			if part.ID != "" && c.id != "" && part.ID != c.id {
				return nil
			}
			return c
		case part.ID != "":
			if c.id == part.ID {
				return c
			}
		case place < len(a.calls) && a.calls[place] == c:
			if part.Function.Name != "" && c.arguments.Len() > 0 {
				return nil // a whole call each
			}
			return c
		}
	}
	return nil
}

// answer is what was put together. ended: the server said that it is done, in its way.
func (a *assembly) answer(ended bool, asked Request) (*Answer, error) {
	if a.finish == "" && !ended || a.finish == "" && a.text.Len() == 0 && len(a.calls) == 0 && a.refusal.Len() == 0 {
		e := broken(nil, "the model's answer broke off")
		e.Usage = a.usage(asked)
		return nil, e
	}
	if a.refusal.Len() > 0 {
		return nil, &Error{Code: Refused, Message: "the model refused: " + cut(a.refusal.String(), 1024), Usage: a.usage(asked)}
	}
	answer := &Answer{ID: a.id, Model: a.model, Finish: Finish(a.finish), Reasoning: a.reasoning.String(), Usage: a.usage(asked)}
	answer.Role, answer.Content, answer.Kept = Assistant, a.text.String(), a.kept
	for i, c := range a.calls {
		call := Call{ID: c.id, Name: c.name, Arguments: cmp.Or(strings.TrimSpace(c.arguments.String()), "{}")}
		if call.ID == "" || slices.ContainsFunc(answer.Calls, func(o Call) bool { return o.ID == call.ID }) {
			call.ID = "call_" + strconv.Itoa(i) + "_" + strconv.Itoa(len(asked.Messages))
		}
		answer.Calls = append(answer.Calls, call)
	}
	if len(answer.Calls) > 0 { // some servers say stop
		answer.Finish = Calls
	}
	if answer.Finish == "" {
		answer.Finish = Stop
	}
	return answer, nil
}

func (a *assembly) usage(asked Request) Usage {
	if a.used != nil && a.used.Total() > 0 {
		return *a.used
	}
	n := int64(a.text.Len() + a.reasoning.Len())
	for _, c := range a.calls {
		n += int64(len(c.name) + c.arguments.Len())
	}
	return Usage{Input: asked.Estimate(), Output: tokens(n), Reasoning: tokens(int64(a.reasoning.Len())), Estimated: true}
}

package llmtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// stream writes one answer.
type stream struct {
	w     http.ResponseWriter
	flush func()
	gone  <-chan struct{}
	reply Reply
	over  func() // before the last bytes: the caller goes on when it has them
	sent  int
}

func (s *stream) has(q Quirk) bool { return slices.Contains(s.reply.Quirks, q) }

// write sends bytes, and breaks off where the script says so.
func (s *stream) write(text string) {
	if s.has(CRLF) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	cut := s.reply.Cut > 0 && s.sent+len(text) >= s.reply.Cut
	if cut {
		text = text[:s.reply.Cut-s.sent]
	}
	s.sent += len(text)
	if _, err := s.w.Write([]byte(text)); err != nil {
		panic(http.ErrAbortHandler)
	}
	s.flush()
	if cut {
		panic(http.ErrAbortHandler)
	}
}

func (s *stream) pause() {
	if s.reply.Delay == 0 {
		return
	}
	t := time.NewTimer(s.reply.Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.gone:
		panic(http.ErrAbortHandler)
	}
}

func (s *stream) event(name string, v any) {
	s.pause()
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	text := "data: " + string(data) + "\n\n"
	if name != "" {
		text = "event: " + name + "\n" + text
	}
	if s.has(Pings) {
		text = ": ping\n\n" + text
	}
	s.write(text)
}

// pieces cuts a text into pieces of n bytes, at whole characters.
func pieces(text string, n int) (all []string) {
	if n <= 0 {
		n = len(text)
	}
	for len(text) > 0 {
		end := min(n, len(text))
		for end < len(text) && text[end]&0xC0 == 0x80 {
			end++
		}
		all = append(all, text[:end])
		text = text[end:]
	}
	return all
}

type object = map[string]any

func (r Reply) usage() object {
	in, out := cmp.Or(r.Input, 10), cmp.Or(r.Output, 5)
	return object{
		"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details": object{"cached_tokens": 2}, "completion_tokens_details": object{"reasoning_tokens": 1},
	}
}

// completion streams a chat completion.
func (s *stream) completion(asked Request) {
	r := s.reply
	if s.has(NoStream) {
		s.whole(asked)
		return
	}
	s.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	s.w.WriteHeader(http.StatusOK)
	if s.has(EmptyChoices) {
		s.event("", object{"id": "chatcmpl-0", "object": "chat.completion.chunk", "choices": []any{}, "prompt_filter_results": []any{}})
	}
	s.delta(asked, object{"role": "assistant", "content": nil}, "")
	for _, p := range pieces(r.Reasoning, r.Chunk) {
		s.delta(asked, object{"reasoning_content": p}, "")
	}
	all := pieces(r.Text, r.Chunk)
	for i, p := range all {
		if s.has(ErrorInStream) && i == len(all)/2 {
			s.event("", object{"error": object{"message": "the server had an error", "type": "server_error", "code": nil}})
			return
		}
		s.delta(asked, object{"content": p}, "")
	}
	for _, p := range pieces(r.Refusal, r.Chunk) {
		s.delta(asked, object{"refusal": p}, "")
	}
	for i, c := range r.Calls {
		s.call(asked, i, c)
	}
	finish := cmp.Or(r.Finish, "stop")
	if len(r.Calls) > 0 && r.Finish == "" && !s.has(StopForCalls) {
		finish = "tool_calls"
	}
	if !s.has(NoFinish) {
		s.delta(asked, object{}, finish)
	}
	options, _ := asked.Body["stream_options"].(map[string]any)
	if options["include_usage"] == true && !r.NoUsage && !s.has(EachUsage) && !s.has(ChoiceUsage) {
		s.event("", object{"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": []any{}, "usage": r.usage()})
	}
	if !s.has(NoDone) && !s.has(NoFinish) {
		s.over()
		s.write("data: [DONE]\n\n")
	}
}

func (s *stream) delta(asked Request, d object, finish string) {
	choice := object{"index": 0, "delta": d, "finish_reason": nil}
	if finish != "" {
		choice["finish_reason"] = finish
	}
	chunk := object{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked.Body["model"], "choices": []any{choice}}
	if s.has(EachUsage) {
		chunk["usage"] = s.reply.usage()
	}
	if s.has(ChoiceUsage) {
		choice["usage"] = s.reply.usage()
	}
	if s.has(Unknown) {
		chunk["obfuscation"], chunk["service_tier"], choice["logprobs"] = strings.Repeat("x", 100<<10), "default", nil
	}
	s.event("", chunk)
}

// call streams a call, in the way of the server that the quirks are of.
func (s *stream) call(asked Request, i int, c Call) {
	id := cmp.Or(c.ID, fmt.Sprintf("call_%d_%d", asked.Number, i+1))
	parts := pieces(c.Arguments, cmp.Or(s.reply.Chunk, 7))
	if s.has(WholeArguments) || s.has(ObjectArgs) || s.has(NoIDs) || len(parts) == 0 {
		parts = []string{c.Arguments}
	}
	for n, args := range parts {
		function := object{"arguments": args}
		if s.has(ObjectArgs) {
			function["arguments"] = json.RawMessage(args)
		}
		if n == 0 && !s.has(LateName) || s.has(RepeatName) || s.has(LateName) && n == len(parts)-1 {
			function["name"] = c.Name
		}
		call := object{"type": "function", "function": function}
		if !s.has(NoIndex) && !s.has(NoIDs) {
			call["index"] = i
		}
		if s.has(SameIndex) {
			call["index"] = 0
		}
		if (n == 0 || s.has(RepeatIDs) || s.has(NoIndex)) && !s.has(NoIDs) {
			call["id"] = id
		}
		s.delta(asked, object{"tool_calls": []any{call}}, "")
	}
}

// whole answers in one piece.
func (s *stream) whole(asked Request) {
	r := s.reply
	message := object{"role": "assistant", "content": r.Text}
	var calls []any
	for i, c := range r.Calls {
		calls = append(calls, object{"id": cmp.Or(c.ID, fmt.Sprintf("call_%d_%d", asked.Number, i+1)), "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}})
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	body := object{"id": "chatcmpl-1", "object": "chat.completion", "model": asked.Body["model"], "choices": []any{object{"index": 0, "message": message, "finish_reason": "stop"}}}
	if !r.NoUsage {
		body["usage"] = r.usage()
	}
	s.w.Header().Set("Content-Type", "application/json")
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	s.write(string(data))
}

// responses streams a response.
func (s *stream) responses(asked Request) {
	r := s.reply
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.WriteHeader(http.StatusOK)
	send := func(kind string, v object) {
		v["type"] = kind
		s.event(kind, v)
	}
	send("response.created", object{"response": object{"id": "resp_1", "status": "in_progress"}})
	for _, p := range pieces(r.Reasoning, r.Chunk) {
		send("response.reasoning_summary_text.delta", object{"delta": p})
	}
	for _, p := range pieces(r.Text, r.Chunk) {
		send("response.output_text.delta", object{"delta": p})
	}
	output := []any{}
	if r.Reasoning != "" {
		output = append(output, object{"type": "reasoning", "id": "rs_1", "summary": []any{}, "encrypted_content": "sealed"})
	}
	if r.Text != "" {
		output = append(output, object{"type": "message", "role": "assistant", "content": []any{object{"type": "output_text", "text": r.Text}}})
	}
	if r.Refusal != "" {
		output = append(output, object{"type": "message", "role": "assistant", "content": []any{object{"type": "refusal", "refusal": r.Refusal}}})
	}
	for i, c := range r.Calls {
		id := cmp.Or(c.ID, fmt.Sprintf("call_%d_%d", asked.Number, i+1))
		for _, p := range pieces(c.Arguments, r.Chunk) {
			send("response.function_call_arguments.delta", object{"delta": p})
		}
		output = append(output, object{"type": "function_call", "id": "fc_1", "call_id": id, "name": c.Name, "arguments": c.Arguments})
	}
	if s.has(NoFinish) {
		return
	}
	status := "completed"
	response := object{"id": "resp_1", "model": asked.Body["model"], "output": output}
	if r.Finish == "length" {
		status, response["incomplete_details"] = "incomplete", object{"reason": "max_output_tokens"}
	}
	response["status"] = status
	if !r.NoUsage {
		response["usage"] = object{
			"input_tokens": cmp.Or(r.Input, 10), "output_tokens": cmp.Or(r.Output, 5),
			"input_tokens_details": object{"cached_tokens": 2}, "output_tokens_details": object{"reasoning_tokens": 1},
		}
	}
	send("response."+status, object{"response": response})
}

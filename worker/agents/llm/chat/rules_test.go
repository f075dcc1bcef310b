package chat_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/worker/agents/llm/chat"
	"agentmesh/worker/agents/llm/llmtest"
)

// says is a server that answers with these bytes.
type says string

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(string(s))), Request: r}, nil
}

// lines is a stream of chunks.
func lines(chunks ...string) says {
	text := ""
	for _, c := range chunks {
		text += "data: " + c + "\n\n"
	}
	return says(text)
}

// Rules that need bytes of their own; the others are quirks of the scripted model, in
// reader_test.go.
func TestTheReaderKeepsItsRules(t *testing.T) {
	const end = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	delta := func(d string) string { return `{"choices":[{"index":0,"delta":` + d + `}]}` }
	counted := func(in, out int) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, in, out)
	}
	event := func(kind, rest string) string { return `{"type":"` + kind + `"` + rest + `}` }
	for _, c := range []struct {
		rule string
		sent says
		api  chat.API
		want string // text|reasoning|calls|input+output|finish, or a code
	}{
		{"usage in every chunk: the last counts", lines(counted(7, 1), counted(7, 2), end, "[DONE]"), "", "xx|||7+2|stop"},
		{"a comment and CRLF within an event", says(": ping\r\ndata: " + delta(`{"content":"a"}`) + "\r\n: ping\r\n\r\ndata: " + end + "\r\n\r\ndata: [DONE]\r\n\r\n"), "", "a|||5+1|stop"},
		{"data in two lines", says("data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"), "", "a|||5+1|stop"},
		{"reasoning by its other name", lines(delta(`{"reasoning":"hm"}`), delta(`{"content":"a"}`), end), "", "a|hm||5+1|stop"},
		{"an event without data, and one of another choice", says("event: x\n\ndata: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}}]}\n\ndata: " + delta(`{"content":"a"}`) + "\n\ndata: " + end + "\n\n"), "", "a|||5+1|stop"},
		{"the same index with another id, at once and later", lines(
			delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"n\":"}}]}`), delta(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`),
			delta(`{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":""}}]}`), end), "", `||a f {"n":1} b g {}|5+3|tool_calls`},
		{"calls by id without an index, in turns", lines(
			delta(`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}},{"id":"b","function":{"name":"g","arguments":"["}}]}`),
			delta(`{"tool_calls":[{"id":"b","function":{"arguments":"]"}},{"id":"a","function":{"arguments":"}"}}]}`), end), "", `||a f {} b g []|5+2|tool_calls`},
		{"an error that is no more than a text", lines(delta(`{"content":"a"}`), `{"error":"overloaded"}`), "", "model_unreachable"},
		{"an error of the request in the stream", lines(`{"error":{"message":"bad","type":"invalid_request_error"}}`), "", "model_rejected"},
		{"an end before a finish reason", lines(delta(`{"content":"a"}`)), "", "model_unreachable"},
		{"a chunk that is cut", says("data: " + delta(`{"content":"a"}`) + "\n\ndata: {\"choices\":[{\"ind"), "", "model_unreachable"},
		{"a response that is too long", lines(event("response.output_text.delta", `,"delta":"a"`),
			event("response.incomplete", `,"response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":3,"output_tokens":4},"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}`)), chat.Responses, "a|||3+4|length"},
		{"a response that its filter ends", lines(event("response.incomplete", `,"response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}`)), chat.Responses, "a|||5+1|content_filter"},
		{"a response that failed", lines(event("response.created", ""), event("response.failed", `,"response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"}}`)), chat.Responses, "model_rate_limited"},
		{"a response whose refusal came in deltas", lines(event("response.refusal.delta", `,"delta":"I wo"`), event("response.refusal.delta", `,"delta":"n't"`),
			event("response.completed", `,"response":{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"I won't"}]}]}`)), chat.Responses, "model_refused"},
		{"a response without its end", lines(event("response.output_text.delta", `,"delta":"a"`)), chat.Responses, "model_unreachable"},
		{"a response that names its events only there", says("event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\nevent: response.completed\ndata: {\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n"), chat.Responses, "a|||5+1|stop"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := chat.New(chat.Config{BaseURL: "http://model.test", Model: "m", API: c.api}, c.sent)
			a, err := client.Ask(t.Context(), chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "hey"}}}, nil)
			got := ""
			if e := (*chat.Error)(nil); errors.As(err, &e) {
				got = string(e.Code)
			} else {
				var calls []string
				for _, c := range a.Calls {
					calls = append(calls, c.ID, c.Name, c.Arguments)
				}
				got = fmt.Sprintf("%s|%s|%s|%d+%d|%s", a.Content, a.Reasoning, strings.Join(calls, " "), a.Usage.Input, a.Usage.Output, a.Finish)
			}
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.rule, got, c.want)
			}
		})
	}
}

// A delay may be a date, and what a server says of its fault is for the operator, with the
// id of the request.
func TestADelayMayBeADateAndTheOperatorReadsTheRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, srv, err := asks(t, llmtest.Replies(llmtest.Reply{Status: 429, Headers: map[string]string{
			"Retry-After": began.Add(20 * time.Second).UTC().Format(http.TimeFormat), "X-Request-Id": "req_7",
		}, Body: `{"error":{"message":"hot","type":"requests","code":"rate_limit_exceeded"}}`}), chat.Request{})
		var e *chat.Error
		if !errors.As(err, &e) || len(srv.Asked()) != 3 || time.Since(began) < 20*time.Second || !strings.Contains(e.Detail, "req_7") || !strings.Contains(e.Detail, "hot") || strings.Contains(e.Message, "hot") {
			t.Errorf("%+v after %d tries in %v", err, len(srv.Asked()), time.Since(began))
		}
	})
}

// What a model thought is not sent back to it.
func TestReasoningIsNotSentBack(t *testing.T) {
	srv := llmtest.New(llmtest.Replies(llmtest.Reply{Reasoning: "hmm", Text: "a"}, llmtest.Reply{Text: "b"}))
	client := chat.New(chat.Config{BaseURL: "http://model.test", Model: "m"}, srv)
	r := chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "x"}}}
	a, err := client.Ask(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Messages = append(r.Messages, a.Message, chat.Message{Role: chat.User, Content: "y"})
	if _, err = client.Ask(t.Context(), r, nil); err != nil || strings.Contains(fmt.Sprint(srv.Asked()[1].Body), "hmm") {
		t.Errorf("%v %v", srv.Asked()[1].Body, err)
	}
}

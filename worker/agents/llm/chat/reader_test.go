package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/worker/agents/llm/chat"
	"agentmesh/worker/agents/llm/llmtest"
)

// asks asks a scripted model once.
func asks(t *testing.T, script llmtest.Script, r chat.Request, change ...func(*chat.Config)) (answer *chat.Answer, seen string, srv *llmtest.Server, err error) {
	t.Helper()
	srv = llmtest.New(script)
	answer, seen, err = ask(t.Context(), srv, r, change...)
	return answer, seen, srv, err
}

func ask(ctx context.Context, srv *llmtest.Server, r chat.Request, change ...func(*chat.Config)) (*chat.Answer, string, error) {
	cfg := chat.Config{BaseURL: "http://model.test/v1", Model: "m"}
	for _, f := range change {
		f(&cfg)
	}
	seen := ""
	if r.Messages == nil {
		r.Messages = []chat.Message{{Role: chat.User, Content: "hello"}}
	}
	answer, err := chat.New(cfg, srv).Ask(ctx, r, func(d chat.Delta) {
		if d.Restart {
			seen += "|"
		}
		seen += d.Text
	})
	return answer, seen, err
}

func viaResponses(c *chat.Config) { c.API = chat.Responses }

var weather = []llmtest.Call{{Name: "get_weather", Arguments: `{"city":"Paris"}`}, {Name: "get_time", Arguments: `{"zone":"Europe/Paris"}`}}

// Each quirk of a server leaves the answer as it is.
func TestAnAnswerIsReadWhateverTheHabitsOfItsServer(t *testing.T) {
	for _, q := range []llmtest.Quirk{
		"", llmtest.CRLF, llmtest.Pings, llmtest.NoDone, llmtest.EachUsage, llmtest.ChoiceUsage, llmtest.EmptyChoices, llmtest.Unknown, llmtest.NoStream,
	} {
		answer, seen, _, err := asks(t, llmtest.Replies(llmtest.Reply{Text: "Grüße aus Köln", Chunk: 1, Quirks: []llmtest.Quirk{q}}), chat.Request{})
		want := chat.Usage{Input: 10, Cached: 2, Output: 5, Reasoning: 1}
		if err != nil || answer.Content != "Grüße aus Köln" || seen != answer.Content || answer.Finish != chat.Stop || answer.Usage != want {
			t.Errorf("%s: %+v, saw %q, %v", q, answer, seen, err)
		}
	}
}

func TestCallsAreReadWhateverTheHabitsOfTheirServer(t *testing.T) {
	for _, q := range []llmtest.Quirk{
		"", llmtest.StopForCalls, llmtest.NoIndex, llmtest.NoIDs, llmtest.SameIndex, llmtest.RepeatIDs, llmtest.RepeatName, llmtest.LateName,
		llmtest.WholeArguments, llmtest.ObjectArgs, llmtest.NoDone, llmtest.NoStream,
	} {
		answer, _, _, err := asks(t, llmtest.Replies(llmtest.Reply{Calls: weather, Chunk: 3, Quirks: []llmtest.Quirk{q}}), chat.Request{})
		if err != nil || len(answer.Calls) != 2 || answer.Finish != chat.Calls {
			t.Errorf("%s: %+v, %v", q, answer, err)
			continue
		}
		for i, c := range answer.Calls {
			if c.Name != weather[i].Name || c.Arguments != weather[i].Arguments || c.ID == "" {
				t.Errorf("%s: call %d is %+v", q, i, c)
			}
		}
		if answer.Calls[0].ID == answer.Calls[1].ID {
			t.Errorf("%s: both calls have the id %s", q, answer.Calls[0].ID)
		}
	}
}

func TestACallWithoutArgumentsHasAnEmptyObject(t *testing.T) {
	answer, _, _, err := asks(t, llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{Name: "now"}}}), chat.Request{})
	if err != nil || answer.Calls[0].Arguments != "{}" {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestAStreamWithoutDoneAndWithoutAFinishReasonIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, change := range []func(*chat.Config){func(*chat.Config) {}, viaResponses} {
			_, _, srv, err := asks(t, llmtest.Replies(llmtest.Reply{Text: "half", Quirks: []llmtest.Quirk{llmtest.NoFinish}}), chat.Request{}, change)
			if !chat.Is(err, chat.Unreachable) || len(srv.Asked()) != chat.Tries {
				t.Errorf("%v after %d tries", err, len(srv.Asked()))
			}
		}
	})
}

func TestAnErrorInTheStreamIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, seen, _, err := asks(t, llmtest.Replies(llmtest.Reply{Text: "abcd", Chunk: 1, Quirks: []llmtest.Quirk{llmtest.ErrorInStream}}, llmtest.Reply{Text: "whole"}), chat.Request{})
		if err != nil || answer.Content != "whole" || seen != "ab|whole" || answer.Wasted.Total() == 0 {
			t.Errorf("%+v, saw %q, %v", answer, seen, err)
		}
	})
}

func TestLongLinesAreRead(t *testing.T) {
	long := strings.Repeat("long ", 60_000)
	answer, _, _, err := asks(t, llmtest.Say(long), chat.Request{})
	if err != nil || answer.Content != long {
		t.Errorf("%v", err)
	}
}

func TestReasoningIsShownAndNoPartOfTheAnswer(t *testing.T) {
	for _, change := range []func(*chat.Config){func(*chat.Config) {}, viaResponses} {
		answer, seen, _, err := asks(t, llmtest.Replies(llmtest.Reply{Reasoning: "hm", Text: "so"}), chat.Request{}, change)
		if err != nil || answer.Content != "so" || seen != "so" || answer.Reasoning != "hm" {
			t.Errorf("%+v, saw %q, %v", answer, seen, err)
		}
	}
}

func TestARefusalIsAnErrorForGood(t *testing.T) {
	for _, change := range []func(*chat.Config){func(*chat.Config) {}, viaResponses} {
		_, _, srv, err := asks(t, llmtest.Replies(llmtest.Reply{Refusal: "I won't"}), chat.Request{}, change)
		if !chat.Is(err, chat.Refused) || len(srv.Asked()) != 1 {
			t.Errorf("%v after %d tries", err, len(srv.Asked()))
		}
	}
}

func TestUsageThatTheServerDoesNotTellIsEstimated(t *testing.T) {
	answer, _, _, err := asks(t, llmtest.Replies(llmtest.Reply{Text: "123456", NoUsage: true}), chat.Request{})
	if err != nil || !answer.Usage.Estimated || answer.Usage.Output != 2 || answer.Usage.Input == 0 {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestResponsesAreReadAndAskedFor(t *testing.T) {
	format := &chat.Format{Name: "answer", Schema: json.RawMessage(`{"type":"object","required":["a"],"properties":{"a":{"type":"string"}},"additionalProperties":false}`)}
	tools := []chat.Tool{{Name: "get_weather", Parameters: json.RawMessage(`{"type":"object"}`)}}
	answer, seen, srv, err := asks(t, llmtest.Replies(llmtest.Reply{Text: "so", Reasoning: "hm", Chunk: 1, Calls: weather}), chat.Request{
		Format: format, Tools: tools, MaxTokens: 9, Messages: []chat.Message{
			{Role: chat.System, Content: "be brief"}, {Role: chat.User, Content: "hello"},
			{Role: chat.Assistant, Calls: []chat.Call{{ID: "c1", Name: "get_weather", Arguments: "{}"}}, Kept: []json.RawMessage{json.RawMessage(`{"type":"reasoning","id":"r0"}`)}},
			{Role: chat.ToolRole, CallID: "c1", Content: "sunny"},
		}}, viaResponses)
	if err != nil || answer.Content != "so" || seen != "so" || len(answer.Calls) != 2 || len(answer.Kept) != 1 || answer.Usage.Input != 10 {
		t.Fatalf("%+v, saw %q, %v", answer, seen, err)
	}
	body := srv.Asked()[0].Body
	kinds := []any{}
	for _, i := range body["input"].([]any) {
		kinds = append(kinds, i.(map[string]any)["type"])
	}
	if fmt.Sprint(kinds) != "[message message reasoning function_call function_call_output]" || body["store"] != false || body["max_output_tokens"] != 9.0 || body["text"] == nil {
		t.Errorf("%v %v", kinds, body)
	}
}

// Which answers are asked for again.
func TestWhatMayHelpIsTriedAgainAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		name    string
		reply   llmtest.Reply
		code    chat.Code
		tries   int
		atLeast time.Duration
	}{
		{"500", llmtest.Reply{Status: 500}, chat.Unreachable, 3, 0},
		{"408", llmtest.Reply{Status: 408}, chat.Unreachable, 3, 0},
		{"409", llmtest.Reply{Status: 409}, chat.Unreachable, 3, 0},
		{"429", llmtest.Reply{Status: 429, Headers: map[string]string{"Retry-After": "2.5"}}, chat.RateLimited, 3, 5 * time.Second},
		{"retry-after-ms first", llmtest.Reply{Status: 429, Headers: map[string]string{"Retry-After-Ms": "20000", "Retry-After": "1"}}, chat.RateLimited, 3, 40 * time.Second},
		{"rate limit headers", llmtest.Reply{Status: 429, Headers: map[string]string{"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Limit-Tokens": "100", "X-Ratelimit-Reset-Tokens": "6s"}}, chat.RateLimited, 3, 12 * time.Second},
		{"unknown rate limit", llmtest.Reply{Status: 429, Headers: map[string]string{"X-Ratelimit-Remaining-Tokens": "-1", "X-Ratelimit-Limit-Tokens": "-1", "X-Ratelimit-Reset-Tokens": "20m"}}, chat.RateLimited, 3, 0},
		{"a long wait", llmtest.Reply{Status: 429, Headers: map[string]string{"Retry-After": "31"}}, chat.RateLimited, 1, 0},
		{"empty quota", llmtest.Reply{Status: 429, Body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`}, chat.Quota, 1, 0},
		{"told not to", llmtest.Reply{Status: 500, Headers: map[string]string{"X-Should-Retry": "false"}}, chat.Unreachable, 1, 0},
		{"told to", llmtest.Reply{Status: 400, Headers: map[string]string{"X-Should-Retry": "true"}}, chat.Rejected, 3, 0},
		{"context", llmtest.Reply{Status: 400, Body: `{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}`}, chat.ContextFull, 1, 0},
		{"401", llmtest.Reply{Status: 401}, chat.Rejected, 1, 0},
		{"403", llmtest.Reply{Status: 403}, chat.Rejected, 1, 0},
		{"404 no JSON", llmtest.Reply{Status: 404, Body: "not here"}, chat.Rejected, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, _, srv, err := asks(t, llmtest.Replies(c.reply), chat.Request{})
				if !chat.Is(err, c.code) || len(srv.Asked()) != c.tries || time.Since(began) < c.atLeast {
					t.Errorf("%v after %d tries in %v", err, len(srv.Asked()), time.Since(began))
				}
			})
		})
	}
}

func TestWhatTheServerDoesNotTakeIsLeftOutFromThenOn(t *testing.T) {
	srv := llmtest.New(func(r llmtest.Request) llmtest.Reply {
		for _, field := range []string{"stream_options", "max_completion_tokens"} {
			if r.Body[field] != nil {
				return llmtest.Reply{Status: 400, Body: `{"error":{"message":"Unrecognized request argument supplied: ` + field + `","type":"invalid_request_error"}}`}
			}
		}
		return llmtest.Reply{Text: "ok"}
	})
	client := chat.New(chat.Config{BaseURL: "http://model.test/v1/", Model: "m"}, srv)
	r := chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "x"}}, MaxTokens: 7}
	for range 2 {
		if _, err := client.Ask(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
	}
	all := srv.Asked()
	if len(all) != 4 || all[3].Body["max_tokens"] != 7.0 || all[0].Path != "/v1/chat/completions" {
		t.Errorf("%d requests, the last %v", len(all), all[len(all)-1].Body)
	}
}

func TestAServerWithoutSchemasSaysSoOnce(t *testing.T) {
	_, _, _, err := asks(t, llmtest.Replies(llmtest.Reply{Status: 400, Body: `{"error":{"message":"response_format is not supported"}}`}), chat.Request{Format: &chat.Format{Name: "a", Schema: json.RawMessage(`{}`)}})
	if !chat.Is(err, chat.NoFormat) {
		t.Error(err)
	}
}

func TestACallBreaksOffInTimeAndIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, seen, srv, err := asks(t, llmtest.Replies(
			llmtest.Reply{Text: "slow", Delay: 90 * time.Second}, llmtest.Reply{Text: "cut off", Chunk: 1, Cut: 900}, llmtest.Reply{Text: "there"},
		), chat.Request{})
		if err != nil || answer.Content != "there" || !strings.HasSuffix(seen, "|there") || len(srv.Asked()) != 3 {
			t.Errorf("%+v, saw %q, %v", answer, seen, err)
		}
	})
}

func TestACallEndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("canceled by a person")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, _, err := ask(ctx, llmtest.New(llmtest.Replies(llmtest.Reply{Text: "slow", Delay: 10 * time.Second})), chat.Request{})
		if !errors.Is(err, why) {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestNoMoreCallsThanAllowedAreMadeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := llmtest.New(llmtest.Replies(llmtest.Reply{Text: "x", Delay: time.Second}))
		client := chat.New(chat.Config{BaseURL: "http://model.test", Model: "m", MaxConcurrent: 2}, srv)
		done := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := client.Ask(t.Context(), chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "x"}}}, nil)
				done <- err
			}()
		}
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if srv.Most() != 2 {
			t.Errorf("%d at once", srv.Most())
		}
	})
}

func TestStrictIsAskedForWhereASchemaAllowsIt(t *testing.T) {
	tools := []chat.Tool{
		{Name: "closed", Parameters: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)},
		{Name: "open", Parameters: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}}}`)},
	}
	_, _, srv, err := asks(t, llmtest.Say("x"), chat.Request{Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	sent := srv.Asked()[0].Body["tools"].([]any)
	strict := func(i int) any { return sent[i].(map[string]any)["function"].(map[string]any)["strict"] }
	if strict(0) != true || strict(1) != nil {
		t.Errorf("%v", sent)
	}
}

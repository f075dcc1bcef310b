package llm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/llmtest"
)

// loops calls a tool for ever, unless it is told not to.
func loops(r llmtest.Request) llmtest.Reply {
	if r.Body["tool_choice"] == "none" {
		return llmtest.Reply{Text: "that is what I know"}
	}
	return llmtest.Reply{Text: "let me see", Calls: []llmtest.Call{{Name: "weather", Arguments: fmt.Sprintf(`{"city":"%d"}`, r.Number)}}, Input: 100, Output: 100}
}

func TestLimitsHold(t *testing.T) {
	price := &llm.Price{Input: 1_000_000, Cached: 1_000_000, Output: 1_000_000, Currency: "USD"} // a token costs a millionth
	for _, c := range []struct {
		by     string
		limits llm.Limits
		calls  int // of the model
	}{
		{"steps", llm.Limits{Steps: 3}, 4},
		{"tool_calls", llm.Limits{ToolCalls: 2}, 3},
		{"tokens", llm.Limits{Tokens: 1000}, 0},
		{"cost", llm.Limits{Cost: 1000}, 0},
		{"time", llm.Limits{Time: time.Minute}, 0},
	} {
		t.Run(c.by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls []string
				slow := func(r llmtest.Request) llmtest.Reply {
					reply := loops(r)
					reply.Delay = 4 * time.Second
					return reply
				}
				f := one(llm.Config{Limits: c.limits, Tools: []llm.Use{{Agent: "weather"}}})
				f.Models = map[string]llm.Model{"default": priced(price)}
				d := newDesk(t, slow, f, weather(&calls))
				v := d.run(ask)
				rec := d.Record(v.TaskID)
				if v.Status != "completed" || rec.StoppedBy != c.by || text(v) == "" {
					t.Errorf("%s, stopped by %q: %s %+v", v.Status, rec.StoppedBy, v.Result, v.Error)
				}
				if c.calls > 0 && len(d.model.Asked()) != c.calls {
					t.Errorf("%d model calls", len(d.model.Asked()))
				}
				if l := c.limits; l.Tokens > 0 && rec.UsageTotal.Tokens() > l.Tokens || l.Cost > 0 && rec.UsageTotal.Cost > l.Cost {
					t.Errorf("%+v", rec.UsageTotal)
				}
				failing := c.limits
				failing.OnLimit = llm.LimitFail
				f.Agents["helper"] = llm.Config{Limits: failing, Tools: []llm.Use{{Agent: "weather"}}}
				d2 := newDesk(t, slow, f, weather(&calls))
				if v := d2.run(ask); v.Status != "failed" || v.Error.Code != "step_limit" {
					t.Errorf("%s %+v", v.Status, v.Error)
				}
			})
		})
	}
}

// A child has what its parent has left, and its parent counts it.
func TestChildrenCountAndInheritWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(r llmtest.Request) llmtest.Reply {
			if slices.Contains(r.Tools(), "deep") && r.Results() == 0 {
				return llmtest.Reply{Calls: []llmtest.Call{{Name: "deep", Arguments: `{"input":"think"}`}}, Input: 100, Output: 100}
			}
			return llmtest.Reply{Text: "done", Input: 300, Output: 300}
		}
		f := llm.File{Agents: map[string]llm.Config{
			"helper": {Limits: llm.Limits{Tokens: 2000}, Tools: []llm.Use{{Agent: "deep"}}},
			"deep":   {},
		}}
		d := newDesk(t, script, f)
		v := d.run(ask)
		rec := d.Record(v.TaskID)
		if v.Status != "completed" || rec.Usage.Tokens() != 800 || rec.UsageTotal.Tokens() != 1400 || rec.UsageTotal.ModelCalls != 3 {
			t.Errorf("%s %+v %+v %+v", v.Status, rec.Usage, rec.UsageTotal, v.Error)
		}
		child := d.Record(v.Children[0])
		if child.Within.Tokens != 1800 {
			t.Errorf("%+v", child.Within)
		}
	})
}

// A server that says that the conversation is too long gets a shorter one, once.
func TestAFullContextIsMadeShorterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := llmtest.Reply{Status: 400, Body: `{"error":{"message":"too long","code":"context_length_exceeded"}}`}
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Text: "first"}, full, llmtest.Reply{Text: "in short"}, llmtest.Reply{Text: "second"}, full), one(llm.Config{}))
		s := d.Session("helper")
		say := func() string {
			return d.Do("POST", "/sessions/"+s+"/messages", `{"text":"`+strings.Repeat("x", 600)+`"}`).Body.String()
		}
		say()
		if got := say(); !strings.Contains(got, "second") || len(d.model.Asked()) != 4 || len(d.model.Asked()[3].Messages) >= len(d.model.Asked()[1].Messages) {
			t.Errorf("%s after %d calls", got, len(d.model.Asked()))
		}
		if got := say(); !strings.Contains(got, "context_full") {
			t.Error(got)
		}
	})
}

func TestAConversationThatIsTooLongIsMadeShorter(t *testing.T) {
	long := strings.Repeat("word ", 500)
	for _, how := range []string{llm.Summarize, llm.DropOldest, llm.FailFull} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, func(r llmtest.Request) llmtest.Reply {
					if strings.HasPrefix(r.Messages[0].Content, "Sum up") {
						return llmtest.Reply{Text: "there were words"}
					}
					return llmtest.Reply{Text: long}
				}, one(llm.Config{Instructions: "Talk.", Context: llm.Context{MaxTokens: 1100, OnFull: how}}))
				s := d.Session("helper")
				say := func() string {
					return d.Do("POST", "/sessions/"+s+"/messages", `{"text":"go on `+strings.Repeat("x", 600)+`"}`).Body.String()
				}
				say()
				got := say()
				all := d.model.Asked()
				last := all[len(all)-1]
				switch how {
				case llm.FailFull:
					if !strings.Contains(got, "context_full") {
						t.Error(got)
					}
				case llm.DropOldest:
					if len(last.Messages) != 2 || len(all) != 2 {
						t.Errorf("%d messages, %d calls", len(last.Messages), len(all))
					}
				default:
					if !strings.Contains(last.Messages[0].Content, "there were words") || len(last.Messages) != 2 || len(all) != 3 {
						t.Errorf("%d messages, %d calls", len(last.Messages), len(all))
					}
				}
			})
		})
	}
}

package llm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/chat"
	"agentmesh/worker/agents/llm/llmtest"
)

func TestMain(m *testing.M) { meshtest.Main(m) }

// desk is a mesh with llm agents, and the model that they ask.
type desk struct {
	*meshtest.Mesh
	model *llmtest.Server
}

// newDesk is a desk whose agents are made of a file; others are served beside them.
func newDesk(t *testing.T, script llmtest.Script, f llm.File, others ...agent.Agent) *desk {
	t.Helper()
	d := &desk{Mesh: meshtest.New(t), model: llmtest.New(script)}
	d.Work(append(d.agents(f), others...)...)
	return d
}

// agents makes the agents of a file that ask the desk's model.
func (d *desk) agents(f llm.File) (all []agent.Agent) {
	d.T.Helper()
	f.Transport = d.model
	if f.Models == nil {
		f.Models = map[string]llm.Model{"default": priced(nil)}
	}
	catalog, err := llm.New(f)
	if err != nil {
		d.T.Fatal(err)
	}
	for name := range f.Agents {
		h, _ := catalog.Handler(name)
		all = append(all, meshtest.WithRetry(meshtest.Named(name, h)))
	}
	return all
}

func priced(p *llm.Price, fallback ...string) llm.Model {
	return llm.Model{Config: chat.Config{BaseURL: "http://model.test/v1", Model: "m"}, Price: p, Fallback: fallback}
}

// one is a file with the agent "helper".
func one(c llm.Config) llm.File { return llm.File{Agents: map[string]llm.Config{"helper": c}} }

// run runs a task to its end.
func (d *desk) run(body string) client.Task {
	d.T.Helper()
	v := d.End(d.Create(body))
	time.Sleep(time.Second) // what comes after the end
	return v
}

const ask = `{"agent":"helper","instruction":"What is the weather in Paris?"}`

func text(v client.Task) string {
	var r struct{ Text string }
	_ = json.Unmarshal(v.Result, &r)
	return r.Text
}

func TestAQuestionIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Text: "Sunny, I guess.", Chunk: 3}), one(llm.Config{Instructions: `You help {{.Labels.team}}. Today is {{.Now "2006"}}.`}))
		v := d.run(`{"agent":"helper","instruction":"What is the weather?","labels":{"team":"sales"}}`)
		asked := d.model.Asked()[0]
		if v.Status != "completed" || text(v) != "Sunny, I guess." || d.Record(v.TaskID).Output != "Sunny, I guess.\n" {
			t.Errorf("%s %s %q %+v", v.Status, v.Result, d.Record(v.TaskID).Output, v.Error)
		}
		if asked.Messages[0].Content != "You help sales. Today is 2000." || asked.Said() != "What is the weather?" {
			t.Errorf("%+v", asked.Messages)
		}
		u := d.Record(v.TaskID).Usage
		if u == nil || *u != (task.Usage{ModelCalls: 1, InputTokens: 10, CachedInputTokens: 2, OutputTokens: 5, ReasoningTokens: 1}) {
			t.Errorf("%+v", u)
		}
	})
}

// weather is an agent of the mesh that counts.
func weather(calls *[]string) agent.Agent {
	var mu sync.Mutex
	a := meshtest.Named("weather", func(_ context.Context, job *agent.Job) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		*calls = append(*calls, string(job.Input))
		return map[string]string{"sky": "blue"}, nil
	})
	a.InputSchema = json.RawMessage(`{"type":"object","required":["city"],"properties":{"city":{"type":"string"}},"additionalProperties":false}`)
	a.Description = "Tells the weather."
	return a
}

func TestAnAgentOfTheMeshIsATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		d := newDesk(t, llmtest.Replies(
			llmtest.Reply{Calls: []llmtest.Call{{Name: "weather", Arguments: `{"city":"Paris"}`}, {Name: "weather", Arguments: `{"town":"Rome"}`}, {Name: "wether", Arguments: `{}`}, {Name: "weather", Arguments: `{"city`}}},
			llmtest.Reply{Text: "Blue."},
		), one(llm.Config{Tools: []llm.Use{{Agent: "weather"}}}), weather(&calls))
		v := d.run(ask)
		if v.Status != "completed" || text(v) != "Blue." || len(calls) != 1 || calls[0] != `{"city":"Paris"}` {
			t.Fatalf("%s %s %v %+v", v.Status, v.Result, calls, v.Error)
		}
		last := d.model.Asked()[1].Messages
		var said []string
		for _, m := range last[len(last)-4:] {
			said = append(said, m.Content)
		}
		if said[0] != `{"sky":"blue"}` || !strings.Contains(said[1], "do not fit the schema") || !strings.Contains(said[2], `no tool "wether", there are weather`) || !strings.Contains(said[3], "no JSON") {
			t.Errorf("%q", said)
		}
		if u := d.Record(v.TaskID).Usage; u.ToolCalls != 4 || u.ModelCalls != 2 {
			t.Errorf("%+v", u)
		}
	})
}

func TestAModelThatIsAwayFailsTheAttemptAndItsFallbackAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(r llmtest.Request) llmtest.Reply {
			if r.Body["model"] == "m" {
				return llmtest.Reply{Status: 503}
			}
			return llmtest.Reply{Text: "from the other"}
		}
		other := priced(nil)
		other.Config.Model = "other"
		f := one(llm.Config{})
		f.Models = map[string]llm.Model{"default": priced(nil, "local"), "local": other}
		d := newDesk(t, script, f)
		if v := d.run(ask); text(v) != "from the other" || v.Attempt != 1 {
			t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
		}
		d.model.Script(llmtest.Replies(llmtest.Reply{Status: 401}))
		if v := d.run(ask); v.Status != "failed" || v.Error.Code != "model_rejected" || v.Attempt != 1 {
			t.Errorf("%s %+v", v.Status, v.Error)
		}
	})
}

// A wait that a server asks for holds no slot.
func TestALongRateLimitIsWaitedForAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Status: 429, Headers: map[string]string{"Retry-After": "600"}}, llmtest.Reply{Text: "now"}), one(llm.Config{}))
		id := d.Create(ask)
		time.Sleep(5 * time.Minute)
		if rec := d.Record(id); !rec.Suspended {
			t.Errorf("%s", rec.Status)
		}
		if v := d.End(id); text(v) != "now" || v.Attempt != 1 || len(d.model.Asked()) != 2 {
			t.Errorf("%s %s after %d", v.Status, v.Result, len(d.model.Asked()))
		}
	})
}

func TestTheAnswerFitsItsSchemaOrIsMendedOrFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		schema := json.RawMessage(`{"type":"object","required":["answer"],"properties":{"answer":{"type":"string"}}}`)
		d := newDesk(t, llmtest.Say("```json\n{\"answer\":7}\n```", `{"answer":"seven"}`), one(llm.Config{OutputSchema: schema}))
		if v := d.run(ask); string(v.Result) != `{"answer":"seven"}` {
			t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
		}
		if r := d.model.Asked(); r[0].Body["response_format"] == nil || !strings.Contains(r[1].Said(), "does not fit the schema") {
			t.Errorf("%v", r[1].Messages)
		}
		d.model.Script(llmtest.Say("never"))
		before := len(d.model.Asked())
		if v := d.run(ask); v.Status != "failed" || v.Error.Code != "agent_bad_output" || len(d.model.Asked())-before != 3 {
			t.Errorf("%s %+v after %d", v.Status, v.Error, len(d.model.Asked())-before)
		}
	})
}

func TestAServerWithoutSchemasIsGivenATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		schema := json.RawMessage(`{"type":"object","required":["answer"],"properties":{"answer":{"type":"string"}}}`)
		args := `{"answer":7}`
		d := newDesk(t, func(r llmtest.Request) llmtest.Reply {
			if r.Body["response_format"] != nil {
				return llmtest.Reply{Status: 400, Body: `{"error":{"message":"response_format is not supported"}}`}
			}
			defer func() { args = `{"answer":"seven"}` }()
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "final_answer", Arguments: args}}}
		}, one(llm.Config{OutputSchema: schema}))
		if v := d.run(ask); string(v.Result) != `{"answer":"seven"}` {
			t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
		}
	})
}

func TestAConversationIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(r llmtest.Request) llmtest.Reply {
			if strings.HasPrefix(r.Messages[0].Content, "You refund") {
				return llmtest.Reply{Text: "refunded"}
			}
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "transfer_to_refunds", Arguments: `{}`}}}
		}
		f := llm.File{Agents: map[string]llm.Config{
			"helper":  {Instructions: "You route.", Tools: []llm.Use{{Agent: "refunds", Handoff: true}}},
			"refunds": {Instructions: "You refund."},
		}}
		d := newDesk(t, script, f)
		if v := d.run(ask); text(v) != "refunded" || len(v.Children) != 0 {
			t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
		}
		foreign := newDesk(t, llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{Name: "transfer_to_weather", Arguments: `{"city":"Rome"}`}}}),
			one(llm.Config{Tools: []llm.Use{{Agent: "weather", Handoff: true}}}), weather(&[]string{}))
		if v := foreign.run(ask); string(v.Result) != `{"sky":"blue"}` {
			t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
		}
	})
}

func TestAPersonIsAskedAndNothingIsHeldMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, llmtest.Replies(
			llmtest.Reply{Calls: []llmtest.Call{{Name: "ask_human", Arguments: `{"question":"Which one?","options":["a","b"]}`}}}, llmtest.Reply{Text: "b it is"},
		), one(llm.Config{Tools: []llm.Use{{Human: true}}}))
		id := d.Create(ask)
		time.Sleep(time.Hour)
		rec := d.Record(id)
		if rec.Status != task.InputRequired || rec.Waits[0].Prompt != "Which one?" {
			t.Fatalf("%s %+v", rec.Status, rec.Waits)
		}
		if w := d.Do("POST", "/tasks/"+id+"/input", `{"value":"c"}`); w.Code != 422 {
			t.Errorf("an answer that was not to choose: %d %s", w.Code, w.Body)
		}
		d.Do("POST", "/tasks/"+id+"/input", `{"value":"b"}`)
		v := d.End(id)
		all := d.model.Asked()
		if text(v) != "b it is" || len(all) != 2 || all[1].Last().Content != "b" {
			t.Errorf("%s %s %d", v.Status, v.Result, len(all))
		}
	})
}

func TestASessionKeepsWhoHasTheConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(r llmtest.Request) llmtest.Reply {
			if strings.HasPrefix(r.Messages[0].Content, "You refund") {
				return llmtest.Reply{Text: fmt.Sprintf("refunds has %d messages", len(r.Messages)-1)}
			}
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "transfer_to_refunds"}}}
		}
		d := newDesk(t, script, llm.File{Agents: map[string]llm.Config{
			"helper":  {Instructions: "You route.", Tools: []llm.Use{{Agent: "refunds", Handoff: true}}},
			"refunds": {Instructions: "You refund."},
		}})
		s := d.Session("helper")
		for _, want := range []string{"refunds has 3 messages", "refunds has 3 messages"} {
			w := d.Do("POST", "/sessions/"+s+"/messages", `{"text":"my money"}`)
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if n := len(d.model.Asked()); n != 3 {
			t.Errorf("%d model calls", n)
		}
	})
}

// What is shown live of an answer that breaks off is void: readers go back.
func TestTextOfAnAnswerThatBrokeOffIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, llmtest.Replies(
			llmtest.Reply{Text: "The weather is bad", Chunk: 4, Delay: 100 * time.Millisecond, Quirks: []llmtest.Quirk{llmtest.NoFinish}},
			llmtest.Reply{Text: "The weather is fine", Chunk: 4, Delay: 100 * time.Millisecond},
		), one(llm.Config{}))
		id := d.Create(ask)
		stream := make(chan *httptest.ResponseRecorder, 1)
		go func() { stream <- d.Do("GET", "/tasks/"+id+"/events", "", "Accept", "text/event-stream") }()
		v := d.End(id)
		rec := d.Record(id)
		if v.Status != "completed" || rec.Output != "The weather is fine\n" || rec.OutputRewinds == 0 {
			t.Errorf("%q %+v", rec.Output, rec.OutputRewinds)
		}
		shown := ""
		meshtest.ScanEvents((<-stream).Body, func(_, event, data string) {
			if event == "output" {
				o := meshtest.Decode[api.Output](t, bytes.NewBufferString(data))
				shown = shown[:o.Offset] + o.Text
			}
		})
		if shown != rec.Output {
			t.Errorf("a reader has %q", shown)
		}
	})
}

// What a model thinks is seen by those who follow the task now: piece by piece, anew after
// a break, redacted, and in no record and no output.
func TestReasoningIsShownLiveAndKeptNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for redact, want := range map[string]string{"": "0:hm, |4:let |0:hm, |4:ann@|8:b.ex|", "email": "0:hm, ***\n|"} {
			c := llm.Config{}
			if redact != "" {
				c.Redact = []string{redact}
			}
			d := newDesk(t, llmtest.Replies(
				llmtest.Reply{Reasoning: "hm, let ", Chunk: 4, Delay: time.Second, Quirks: []llmtest.Quirk{llmtest.NoFinish}},
				llmtest.Reply{Reasoning: "hm, ann@b.ex", Text: "fine", Chunk: 4, Delay: time.Second},
			), one(c))
			id := d.Create(ask)
			stream := make(chan *httptest.ResponseRecorder, 1)
			go func() { stream <- d.Do("GET", "/tasks/"+id+"/events", "", "Accept", "text/event-stream") }()
			v, shown := d.End(id), ""
			meshtest.ScanEvents((<-stream).Body, func(_, event, data string) {
				if event == "reasoning" {
					r := meshtest.Decode[api.Reasoning](t, bytes.NewBufferString(data))
					shown += fmt.Sprint(r.Offset, ":", r.Text, "|")
				}
			})
			rec, _ := json.Marshal(d.Record(id))
			if shown != want || text(v) != "fine" || strings.Contains(string(rec), "hm") || strings.Contains(d.Do("GET", "/tasks/"+id+"/steps?include=values", "").Body.String(), "hm") {
				t.Errorf("saw %q, want %q, %s", shown, want, rec)
			}
		}
	})
}

// A person is asked for what the model wants to know, in the form that it wants, and not
// shown what is redacted.
func TestAPersonAnswersInTheFormThatTheModelAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		question := func(schema string) llmtest.Reply {
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "ask_human", Arguments: `{"question":"How many for ann@b.example?","schema":` + schema + `}`}}}
		}
		d := newDesk(t, llmtest.Replies(question(`{"type":"nmber"}`), question(`{"type":"integer","minimum":1}`), llmtest.Reply{Text: "ok"}), one(llm.Config{Tools: []llm.Use{{Human: true}}, Redact: []string{"email"}}))
		id := d.Create(ask)
		time.Sleep(time.Minute)
		rec := d.Record(id)
		if all := d.model.Asked(); len(all) != 2 || !strings.Contains(all[1].Last().Content, "the schema of the answer is not taken") || rec.Status != task.InputRequired || rec.Waits[0].Prompt != "How many for ***?" {
			t.Fatalf("%s %+v", rec.Status, rec.Waits)
		}
		if w := d.Do("POST", "/tasks/"+id+"/input", `{"value":0}`); w.Code != 422 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		d.Do("POST", "/tasks/"+id+"/input", `{"value":2}`)
		if v := d.End(id); text(v) != "ok" || d.model.Asked()[2].Last().Content != "2" {
			t.Errorf("%s %+v", v.Status, v.Error)
		}
	})
}

func TestSecretsAndWhatIsRedactedIsNeverShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{Redact: []string{"email", `(?i)iban [A-Z0-9 ]+`}})
		f.Secrets = []string{"sk-very-secret"}
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Text: "ann@example.com has IBAN DE12 3456\nand sk-very-secret, ok", Chunk: 5, Delay: time.Second}), f)
		id := d.Create(ask)
		v := d.End(id)
		d.Do("GET", "/tasks/"+id+"/steps?include=values", "")
		rec, _ := json.Marshal(d.Record(id))
		if text(v) != "*** has ***\nand ***, ok" {
			t.Errorf("%q", text(v))
		}
		if s := string(rec); strings.Contains(s, "ann@") || strings.Contains(s, "DE12") || strings.Contains(s, "sk-very") {
			t.Error(s)
		}
		if w := d.Do("GET", "/tasks/"+id+"/steps?include=values", ""); strings.Contains(w.Body.String(), "sk-very") {
			t.Error(w.Body)
		}
	})
}

func TestAFileWithAMistakeIsRefused(t *testing.T) {
	for want, c := range map[string]llm.Config{
		"no model \"gtp\"":       {Model: "gtp"},
		"instructions: template": {Instructions: "{{.Nope"},
		"output_schema":          {OutputSchema: json.RawMessage(`{"type":"objekt"}`)},
		"redact[0]":              {Redact: []string{"("}},
		"no tools \"jira\"":      {Tools: []llm.Use{{Set: "jira"}}},
	} {
		f := one(c)
		f.Models = map[string]llm.Model{"default": priced(nil)}
		if _, err := llm.New(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

package llm_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/llmtest"
)

// traced starts telemetry whose spans are kept, and whose metrics are read.
func traced(t *testing.T, content bool) (spans *tracetest.InMemoryExporter, metrics func() string) {
	t.Helper()
	before := otel.GetTracerProvider()
	start := func(ctx context.Context, cfg telemetry.Config, scraped bool) *telemetry.Exports {
		exports, err := telemetry.Start(ctx, cfg, "test", "test", scraped)
		if err != nil {
			t.Fatal(err)
		}
		return exports
	}
	exports := start(t.Context(), telemetry.Config{Mode: telemetry.ModeParent, Content: content}, true)
	spans = tracetest.NewInMemoryExporter()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), true)
	t.Cleanup(func() {
		start(context.Background(), telemetry.DefaultConfig(), false)
		telemetry.Use(before, false)
	})
	return spans, func() string {
		w := httptest.NewRecorder()
		exports.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
}

// written are the spans of a trace by name, with their attributes of the conventions.
func written(spans *tracetest.InMemoryExporter) (all []string, byName map[string]tracetest.SpanStub) {
	byName = map[string]tracetest.SpanStub{}
	for _, s := range spans.GetSpans() {
		byName[s.Name] = s
		attrs := []string{}
		for _, a := range s.Attributes {
			if k := string(a.Key); strings.HasPrefix(k, "gen_ai.") || k == "error.type" || k == "server.address" {
				attrs = append(attrs, k+"="+a.Value.String())
			}
		}
		if len(attrs) > 0 {
			slices.Sort(attrs)
			all = append(all, fmt.Sprintf("%s %v %s", s.Name, s.SpanKind, strings.Join(attrs, " ")))
		}
	}
	slices.Sort(all)
	return all, byName
}

// What a model and its tools do is in the trace, by the names of the conventions, and
// nothing of what is said.
func TestCallsOfModelsAndToolsAreInTheTraceWithoutWhatIsSaid(t *testing.T) {
	spans, metrics := traced(t, false)
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{Tools: []llm.Use{{Set: "shop"}, {Agent: "weather"}}})
		f.Tools = map[string]llm.ToolSet{"shop": {Server: &till{calls: map[string]int{}}}}
		f.Models = map[string]llm.Model{"default": priced(&llm.Price{Input: 1_000_000, Cached: 1_000_000, Output: 1_000_000, Currency: "EUR"})}
		f.Budgets = []task.Budget{{Tenant: "*", Period: task.Monthly, Tokens: 1000}}
		var calls []string
		d := &desk{Mesh: meshtest.New(t), model: llmtest.New(llmtest.Replies(
			llmtest.Reply{Calls: []llmtest.Call{{ID: "c1", Name: "shop__pay", Arguments: `{"euro":7531}`}, {ID: "c2", Name: "weather", Arguments: `{"city":"Atlantis"}`}}},
			llmtest.Reply{Text: "secretive", Reasoning: "hmm"},
		))}
		d.Work(append(d.agents(f), weather(&calls))...)
		if v := d.run(ask); text(v) != "secretive" {
			t.Fatalf("%s %s %+v", v.Status, v.Result, v.Error)
		}
		d.model.Script(llmtest.Replies(llmtest.Reply{Status: 401}))
		d.run(ask)
		got := metrics()
		for _, want := range []string{
			`gen_ai_client_inference_usage_input_tokens_total{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_token_modality="text"} 20`,
			`gen_ai_client_inference_usage_output_tokens_total{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_token_modality="text"} 10`,
			`gen_ai_client_inference_usage_cache_read_input_tokens_total{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_token_modality="text"} 4`,
			`gen_ai_client_inference_usage_reasoning_output_tokens_total{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_token_modality="text"} 2`,
			`gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m",gen_ai_token_type="input"} 20`,
			`gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m"} 2`,
			`gen_ai_client_operation_duration_seconds_count{error_type="model_rejected",gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m"} 1`,
			`gen_ai_execute_tool_duration_seconds_count{gen_ai_operation_name="execute_tool",gen_ai_tool_name="shop__pay"} 1`,
			`gen_ai_invoke_agent_duration_seconds_count{error_type="model_rejected",gen_ai_agent_name="helper",gen_ai_operation_name="invoke_agent"} 1`,
			`mesh_llm_cost_total{agent="helper",currency="EUR"} 30`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s", want)
			}
		}
	})
	all, by := written(spans)
	const base = " gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=m "
	answered := func(finish string) string {
		return "chat m client" + base + "gen_ai.response.finish_reasons=[\"" + finish + "\"] gen_ai.response.id=chatcmpl-1 gen_ai.response.model=m gen_ai.usage.cache_read.input_tokens=2" +
			" gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=5 gen_ai.usage.reasoning.output_tokens=1 server.address=model.test"
	}
	want := []string{
		answered("stop"), answered("tool_calls"),
		"chat m client error.type=model_rejected" + base + "server.address=model.test",
		"execute_tool shop__pay internal gen_ai.operation.name=execute_tool gen_ai.tool.call.id=c1 gen_ai.tool.name=shop__pay gen_ai.tool.type=function",
		"execute_tool weather internal gen_ai.operation.name=execute_tool gen_ai.tool.call.id=c2 gen_ai.tool.name=weather gen_ai.tool.type=function",
		"invoke_agent helper internal error.type=model_rejected gen_ai.agent.name=helper gen_ai.operation.name=invoke_agent gen_ai.request.model=m",
		"invoke_agent helper internal gen_ai.agent.name=helper gen_ai.operation.name=invoke_agent gen_ai.request.model=m",
		"invoke_agent weather internal gen_ai.agent.name=weather gen_ai.operation.name=invoke_agent",
	}
	slices.Sort(want)
	if strings.Join(all, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
	task := func(name string) attribute.Value {
		i := slices.IndexFunc(by[name].Attributes, func(a attribute.KeyValue) bool { return a.Key == "mesh.task.id" })
		if i < 0 {
			t.Fatalf("%s names no task", name)
		}
		return by[name].Attributes[i].Value
	}
	task("chat m")
	if pay := by["execute_tool shop__pay"]; task(pay.Name) == task("invoke_agent helper") || pay.SpanKind != trace.SpanKindInternal || !pay.Parent.IsValid() {
		t.Errorf("%+v", pay)
	}
	raw := fmt.Sprint(spans.GetSpans())
	for _, said := range []string{"7531", "Atlantis", "secretive", "hmm", "Paris"} {
		if strings.Contains(raw, said) {
			t.Errorf("%s is in the trace", said)
		}
	}
}

// What a run before has finished is in the trace once, and so is what a task has waited for.
func TestARunThatGoesOnRepeatsNoSpan(t *testing.T) {
	spans, _ := traced(t, false)
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{Tools: []llm.Use{{Set: "shop"}, {Agent: "weather"}, {Human: true}}})
		f.Tools = map[string]llm.ToolSet{"shop": {Server: &till{calls: map[string]int{}}}}
		var calls []string
		away := llmtest.Reply{Status: 503}
		d := newDesk(t, llmtest.Replies(
			llmtest.Reply{Calls: []llmtest.Call{{Name: "shop__pay", Arguments: `{"euro":1}`}, {Name: "weather", Arguments: `{"city":"Rome"}`}}}, away, away, away,
			llmtest.Reply{Calls: []llmtest.Call{{Name: "ask_human", Arguments: `{"question":"Sure?"}`}}}, llmtest.Reply{Text: "ok"},
		), f, weather(&calls))
		id := d.Create(ask)
		time.Sleep(time.Hour)
		d.Do("POST", "/tasks/"+id+"/input", `{"value":"yes"}`)
		if v := d.End(id); text(v) != "ok" || v.Attempt != 2 {
			t.Errorf("%s %+v", v.Status, v.Error)
		}
	})
	seen := map[string]int{}
	for _, s := range spans.GetSpans() {
		seen[s.Name]++
	}
	if seen["chat m"] != 4 || seen["execute_tool shop__pay"] != 1 || seen["execute_tool weather"] != 1 || seen["invoke_agent helper"] != 3 || seen["execute_tool ask_human"] != 0 {
		t.Errorf("%v", seen)
	}
}

// What is said is in the trace where the operator wants it there, and masked.
func TestWhatIsSaidIsInTheTraceWhereItIsWanted(t *testing.T) {
	spans, _ := traced(t, true)
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{Tools: []llm.Use{{Set: "shop"}}, Redact: []string{"email"}})
		f.Tools = map[string]llm.ToolSet{"shop": {Server: &till{calls: map[string]int{}}}}
		f.Secrets = []string{"hunter2-hunter2"}
		d := newDesk(t, llmtest.Replies(llmtest.Reply{Calls: []llmtest.Call{{ID: "c1", Name: "shop__pay", Arguments: `{"euro":7}`}}}, llmtest.Reply{Text: "write to a@b.example"}), f)
		d.run(`{"agent":"helper","instruction":"hunter2-hunter2 of c@d.example"}`)
	})
	_, by := written(spans)
	of := func(span string) (s string) {
		for _, a := range by[span].Attributes {
			s += string(a.Key) + "=" + a.Value.String() + "\n"
		}
		return s
	}
	for _, want := range []string{
		`gen_ai.input.messages=[{"role":"user","parts":[{"type":"text","content":"*** of ***"}]},{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"shop__pay","arguments":"{\"euro\":7}"}]},{"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"done {\"euro\":7}"}]}]`,
		`gen_ai.output.messages=[{"role":"assistant","parts":[{"type":"text","content":"write to ***"}]}]`,
	} {
		if got := of("chat m"); !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if got := of("execute_tool shop__pay"); !strings.Contains(got, `gen_ai.tool.call.arguments={"euro":7}`) || !strings.Contains(got, `gen_ai.tool.call.result=done {"euro":7}`) {
		t.Error(got)
	}
}

// The part of a budget that is spent is a gauge, of each budget of the file.
func TestWhatIsSpentOfABudgetIsMeasured(t *testing.T) {
	_, metrics := traced(t, false)
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{})
		f.Budgets = []task.Budget{{Tenant: "default", Period: task.Hourly, Tokens: 60}, {Tenant: "*", Period: task.Daily, Tokens: 1000}}
		d := &desk{Mesh: meshtest.New(t), model: llmtest.New(llmtest.Say("yes"))}
		d.budgeted(f, 1)
		d.run(ask)
		time.Sleep(time.Minute)
		got := metrics()
		for _, want := range []string{`mesh_budget_used_ratio{period="hour",tenant="default"} 0.25`, `mesh_budget_used_ratio{period="day",tenant="*"} 0.015`} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s", want)
			}
		}
		if strings.Contains(got, `tenant="default",period="day"`) {
			t.Error("a tenant has a series of its own that the file does not name")
		}
	})
}

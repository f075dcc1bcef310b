package agents_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents"
)

const whole = `
default_agent: research
agents:
  - name: research
    description: Reads the news and answers
    version: "1.2.0"
    greeting: Hello! How can I help you today?
    concurrency: 8
    max_in_flight: 100
    timeout: 5m
    retry: {max_attempts: 3, backoff: 1s, max_backoff: 1m}
    history: window
    max_transcript: 65536
    max_turns: 50
    input_schema: {type: object, required: [topic]}
    output_schema: {type: string}
    annotations: {read_only_hint: true, destructive_hint: false}
    mcp: {tasks: required}
    exec: {command: [python3, agents/research.py], dir: ., env: {KEY: "${KEY}", LITERAL: "$${KEY}"}, protocol: steps, pool: 8, max_jobs: 50}
  - name: pricing
    http: {url: "http://127.0.0.1:9000/run", headers: {Authorization: "Bearer ${KEY}"}}
  - name: summarize
    builtin: summarize
`

func env(name string) (string, bool) {
	v, ok := map[string]string{"KEY": "secret", "EMPTY": ""}[name]
	return v, ok
}

func TestParse(t *testing.T) {
	specs, err := agents.Parse("/etc/mesh/agents.yaml", []byte(whole), env)
	if err != nil || len(specs) != 3 {
		t.Fatalf("%+v, %v", specs, err)
	}
	r := specs[0]
	if !r.Default || r.Version != "1.2.0" || r.Concurrency != 8 || r.MaxInFlight != 100 || time.Duration(r.Timeout) != 5*time.Minute ||
		r.Retry.MaxAttempts != 3 || string(r.InputSchema) != `{"required":["topic"],"type":"object"}` || r.Greeting == "" ||
		string(r.OutputSchema) != `{"type":"string"}` || !*r.Annotations.ReadOnly || *r.Annotations.Destructive || r.Annotations.Idempotent != nil || r.AsTool.Tasks != task.TasksRequired || r.MCP != nil ||
		r.History != task.HistoryWindow || r.MaxTranscript != 65536 || r.MaxTurns != 50 {
		t.Errorf("%+v", r.Definition)
	}
	if !slices.Equal(r.Exec.Command, []string{"python3", "agents/research.py"}) || r.Exec.Dir != "/etc/mesh" || r.Exec.Env["KEY"] != "secret" || r.Exec.Env["LITERAL"] != "${KEY}" || !r.Exec.Steps || r.Exec.Pool != 8 || r.Exec.MaxJobs != 50 {
		t.Errorf("%+v", r.Exec)
	}
	if s, err := agents.Parse("f", []byte("agents:\n  - {name: a, exec: {command: [x], pool: 3}}"), env); err != nil || s[0].Concurrency != 3 {
		t.Errorf("a pool of 3 has %+v, %v", s, err)
	}
	if p := specs[1]; p.Default || p.HTTP.URL != "http://127.0.0.1:9000/run" || p.HTTP.Headers["Authorization"] != "Bearer secret" {
		t.Errorf("%+v", p.HTTP)
	}
	if s := specs[2]; s.Builtin != "summarize" {
		t.Errorf("%+v", s)
	}
}

// A mistake is named with its line, its field and what is allowed.
func TestMistakes(t *testing.T) {
	agent := func(lines string) string { return "agents:\n  - name: a\n    builtin: echo\n" + lines }
	for _, tt := range []struct{ text, want string }{
		{"", "the file is empty"},
		{"agents: {", "agents.yaml: yaml: line 1"},
		{"- a", "agents.yaml:1: it must be a mapping with default_agent, models, tools, budgets, agents"},
		{"agents: []", "agents.yaml:1: agents: it must be a list of at least one agent"},
		{"agent: []", "agents.yaml:1: agent: there is no such field (did you mean agents?); there are default_agent, models, tools, budgets, agents"},
		{"default_agent: b\n" + agent(""), `agents.yaml:1: default_agent: there is no agent "b" in this file`},
		{agent("    nme: x\n"), "agents.yaml:4: agents[0].nme: there is no such field (did you mean name?); there are name, description, version"},
		{agent("    name: b\n"), "agents.yaml:4: agents[0].name: it is there twice"},
		{agent("  - name: a\n    builtin: echo\n"), "agents.yaml:4: agents[1].name: a is the name of the agent in line 2 too"},
		{agent("    concurrency: 0\n"), `agents.yaml:4: agents[0].concurrency: "0" is not allowed, it must be a whole number from 1`},
		{agent("    concurrency: many\n"), "whole number"},
		{agent("    concurrency: 10001\n"), "concurrency is 10001, allowed is 1 to 10000"},
		{agent("    timeout: soon\n"), `agents.yaml:4: agents[0].timeout: "soon" is not allowed, it must be a duration such as 30s or 5m`},
		{agent("    timeout: 30\n"), "duration"},
		{agent("    timeout: 48h\n"), "timeout is 48h0m0s, allowed is 1ms to 24h0m0s"},
		{agent("    retry: {attempts: 3}\n"), "agents[0].retry.attempts: there is no such field; there are max_attempts, backoff, max_backoff"},
		{agent("    retry: 3\n"), "agents[0].retry: it must be a mapping with max_attempts"},
		{agent("    history: none\n"), `agents.yaml:4: agents[0].history: "none" is not allowed, it must be full`},
		{agent("    history: [full]\n"), "it must be a text"},
		{agent("    max_transcript: 512K\n"), `agents[0].max_transcript: "512K" is not allowed, it must be a whole number from 1`},
		{agent("    max_transcript: 1000000\n"), "max_transcript is 1000000, allowed is 1024 to 524288"},
		{agent("    max_turns: 0\n"), `agents[0].max_turns: "0" is not allowed`},
		{agent("    input_schema: {type: objekt}\n"), "agents.yaml:4: agents[0].input_schema: it is no JSON Schema"},
		{agent("    input_schema: {$ref: \"file:///etc/passwd\"}\n"), "may refer to itself only"},
		{agent("    description: ${NOPE}\n"), "agents.yaml:4: agents[0].description: the environment variable NOPE is not set"},
		{agent("    description: ${KEY\n"), "${ is not closed"},
		{agent("    description: [a]\n"), "it must be a text"},
		{agent("    exec: {command: [x]}\n"), "agent a has builtin and exec; it must have one"},
		{"agents:\n  - name: a\n", "agent a needs one of exec, http, mcp, synadia, llm, a2a and builtin"},
		{"agents:\n  - name: a\n    a2a: {url: \"https://x/\", push: true}\n", "agents.yaml:3: agents[0].a2a.push: true does not say where"},
		{"agents:\n  - name: a\n    a2a: {url: \"https://x/\", push: {url: \"https://y/\"}}\n", "agents[0].a2a.push: it needs the url of a hook of the mesh, and the token"},
		{"agents:\n  - builtin: echo\n", "agents[0].name: it is missing"},
		{"agents:\n  - name: A b\n    builtin: echo\n", "[a-z0-9-]{1,40}"},
		{"agents:\n  - name: a\n    exec: {command: python3 x.py}\n", "agents[0].exec.command: it must be a list"},
		{"agents:\n  - name: a\n    exec: {dir: /}\n", "agents[0].exec.command: it is missing"},
		{agent("    on_new_version: stop\n"), `agents.yaml:4: agents[0].on_new_version: "stop" is not allowed, it must be continue`},
		{"agents:\n  - name: a\n    exec: {command: [x], protocol: stps}\n", `agents.yaml:3: agents[0].exec.protocol: "stps" is not allowed, it must be lines`},
		{"agents:\n  - name: a\n    exec: {command: [x], protocl: steps}\n", "agents[0].exec.protocl: there is no such field (did you mean protocol?); there are command, dir, env, protocol, pool, max_jobs"},
		{"agents:\n  - name: a\n    exec: {command: [x], pool: 0}\n", `agents.yaml:3: agents[0].exec.pool: "0" is not allowed, it must be a whole number from 1`},
		{"agents:\n  - name: a\n    exec: {command: [x], pool: all}\n", "agents[0].exec.pool: \"all\" is not allowed"},
		{"agents:\n  - name: a\n    exec: {command: [x], pool: 1001}\n", "agents[0].exec.pool: it is 1001, allowed is 1 to 1000"},
		{"agents:\n  - name: a\n    exec: {command: [x], max_jobs: 7}\n", "agents[0].exec.max_jobs: it is of a pool: say pool, too"},
		{"agents:\n  - name: a\n    exec: {command: [x], pool: 2, max_jobs: -1}\n", "agents[0].exec.max_jobs: \"-1\" is not allowed"},
		{"agents:\n  - name: a\n    concurrency: 3\n    exec: {command: [x], pool: 2}\n", "agents[0].concurrency: it is 3, and 2 tasks have copies of the program"},
		{"agents:\n  - name: a\n    annotations: {read_only: true}\n    builtin: echo\n", "there are read_only_hint, destructive_hint, idempotent_hint, open_world_hint"},
		{"agents:\n  - name: a\n    output_schema: {type: objekt}\n    builtin: echo\n", "agents[0].output_schema: it is no JSON Schema"},
		{"agents:\n  - name: a\n    mcp: {tasks: required}\n", "agent a needs one of exec, http, mcp"},
		{"agents:\n  - name: a\n    http: {url: \"localhost:80\"}\n", "agents.yaml:3: agents[0].http.url: it must be an address"},
		{"agents:\n  - name: a\n    http: {}\n", "agents[0].http.url"},
		{"agents:\n  - name: a\n    http: {url: \"http://x\", headers: {A: {}}}\n", "agents[0].http.headers.A: it must be a text"},
	} {
		specs, err := agents.Parse("agents.yaml", []byte(tt.text), env)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\nis %+v, %v\nwant %q", tt.text, specs, err, tt.want)
		}
	}
	_, err := agents.Parse("agents.yaml", []byte(agent("    timeout: x\n  - name: b\n    builtin: echo\n    concurrency: x\n")), env)
	if err == nil || strings.Count(err.Error(), "agents.yaml:") != 2 {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

// The published schema accepts what the parser accepts, and knows its fields.
func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(agents.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for _, text := range []string{whole, withModels} {
		if err := valid(text); err != nil {
			t.Error(err)
		}
	}
	if valid("agents:\n  - name: a\n    builtin: echo\n    nme: x\n") == nil || valid("agents:\n  - name: a\n") == nil {
		t.Error("the schema accepts what the parser does not")
	}
	var shape struct {
		Defs struct {
			Agent struct {
				Properties map[string]json.RawMessage
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(agents.Schema, &shape); err != nil {
		t.Fatal(err)
	}
	_, err = agents.Parse("f", []byte("agents:\n  - zzz: 1\n"), env)
	_, listed, _ := strings.Cut(err.Error(), "there are ")
	listed, _, _ = strings.Cut(listed, "\n")
	known := slices.Sorted(slices.Values(strings.Split(listed, ", ")))
	if got := slices.Sorted(maps.Keys(shape.Defs.Agent.Properties)); !slices.Equal(got, known) {
		t.Errorf("the schema has %v, the parser %v", got, known)
	}
}

func TestLoad(t *testing.T) {
	o := agents.Options{Log: slog.New(slog.DiscardHandler)}
	samples, err := agents.Load("", o)
	if err != nil || len(samples) != 3 {
		t.Errorf("%v, %v", samples, err)
	}
	file := filepath.Join(t.TempDir(), "agents.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("agents:\n  - name: short\n    builtin: summarize\n    timeout: 3s\n")
	got, err := agents.Load(file, o)
	if err != nil || len(got) != 1 || got[0].Name != "short" || got[0].InputSchema == nil || got[0].Description == "" || time.Duration(got[0].Timeout) != 3*time.Second || got[0].Handler == nil {
		t.Errorf("%+v, %v", got, err)
	}
	write("agents:\n  - name: a\n    builtin: poetry\n")
	if _, err := agents.Load(file, o); err == nil || !strings.Contains(err.Error(), `there is no "poetry", there are echo, summarize, travel`) {
		t.Errorf("%v", err)
	}
	if _, err := agents.Load(file+"x", o); err == nil || !strings.Contains(err.Error(), "--agents") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(withModels))
	f.Add([]byte("agents: &a [*a]"))
	f.Add([]byte("agents:\n  - &x {name: a, builtin: echo, input_schema: *x}"))
	f.Add([]byte("? [a]\n: b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		specs, err := agents.Parse("agents.yaml", text, env)
		if err != nil {
			return
		}
		for _, s := range specs {
			if err := s.WithDefaults().Validate(); err != nil || s.Exec == nil && s.HTTP == nil && s.LLM == nil && s.Builtin == "" {
				t.Errorf("accepted %+v: %v", s, err)
			}
		}
	})
}

const withModels = `
models:
  default: {base_url: "https://api.example.com/v1", model: m, api_key: "${KEY}", price: {input: 0.15, output: 0.6}, fallback: [local]}
  local: &local {base_url: "http://127.0.0.1:11434/v1", model: llama3.2, api: responses, timeout: 1m, params: {temperature: 0.2}, compat: {stream_usage: off}}
tools:
  jira: {mcp: {url: "https://tools.example.com/mcp", headers: {Authorization: "Bearer ${KEY}"}}, allow: [search, move], approve: [move], timeout: 10s, max_result: 1000, on_unknown: fail}
budgets: [{tenant: "*", period: day, cost: 20, tokens: 5000000, warn_at: 0.8}, {tenant: ann, period: month, cost: 7}]
agents:
  - name: support
    llm:
      model: default
      instructions: You answer.
      tools: [jira, {agent: summarize}, {agent: support, handoff: true}, ask_human]
      output_schema: {type: object}
      limits: {steps: 3, cost: 0.5, time: 1m, on_limit: fail}
      context: {max_tokens: 1000, on_full: drop_oldest}
      stream: false
      show: {tools: full}
      redact: [email]
      seal: true
  - name: summarize
    builtin: summarize
`

func TestAgentsThatAreModels(t *testing.T) {
	specs, err := agents.Parse("agents.yaml", []byte(withModels), env)
	if err != nil {
		t.Fatal(err)
	}
	c := specs[0].LLM
	if len(c.Tools) != 4 || !c.Tools[2].Handoff || !c.Tools[3].Human || c.Limits.Cost != 500_000 || !c.Quiet || c.Show != "full" || c.Limits.Time != time.Minute || !c.Seal {
		t.Errorf("%+v", c)
	}
	if a, err := specs[0].Agent(agents.Options{}); err != nil || !a.Seal {
		t.Errorf("the agent does not seal, %v", err)
	}
	for _, tt := range []struct{ old, now, want string }{
		{"instructions:", "instruction:", "agents.yaml:12: agents[0].llm.instruction: there is no such field (did you mean instructions?)"},
		{"model: default", "model: defalt", `agents.yaml:9: agent support: llm.model: there is no model "defalt", there are default, local`},
		{"on_limit: fail", "on_limit: fial", `"fial" is not allowed, it must be one of answer, fail (did you mean fail?)`},
		{"ask_human", "ask_humn", `llm.tools[3]: there are no tools "ask_humn", there are jira`},
		{"fallback: [local]", "fallback: [lokal]", `models.default.fallback: there is no model "lokal"`},
		{"base_url: \"https://api.example.com/v1\"", "base_url: api.example.com", "models.default.base_url: it must be an address"},
		{"output: 0.6", "output: much", `models.default.price.output: "much" is not allowed`},
		{"model: llama3.2, ", "", "models.local.model: it is missing"},
		{"{agent: summarize}", "{agent: \"\"}", "llm.tools[1].agent: it must be the name of an agent"},
		{"approve: [move]", "approve: [mvoe]", "tools.jira.approve: mvoe is not under allow (did you mean move?)"},
		{"max_result: 1000", "max_reslt: 1000", "there is no such field (did you mean max_result?)"},
		{"{url: \"https://tools.example.com/mcp\", headers: {Authorization: \"Bearer ${KEY}\"}}", "{}", "tools.jira.mcp: it must have either url"},
		{"period: month, cost: 7", "period: month", "budgets[1]: it must bound tokens, cost or both"},
		{"period: month", "period: week", "it must be one of hour, day, month"},
		{"warn_at: 0.8", "warn_at: 80", "budgets[0].warn_at"},
		{"stream: false", "stream: nope", "it must be true or false"},
		{"You answer.", "\"{{.Nope\"", "llm.instructions: template"},
	} {
		_, err := agents.Parse("agents.yaml", []byte(strings.Replace(withModels, tt.old, tt.now, 1)), env)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s is %v\nwant %q", tt.now, err, tt.want)
		}
	}
}

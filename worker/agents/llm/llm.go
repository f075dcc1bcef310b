// Package llm makes agents of a few lines of YAML: a model behind an OpenAI-compatible
// endpoint, tools, instructions and limits.
//
// It promises that each answer of the model and each tool call is a step of the task's
// journal: a task that runs again, after a crash, a retry or a question, repeats no
// finished one. A call whose outcome nobody knows is repeated only where that does no
// harm, or where a person or the file says so. What a tool returns is text for the
// model, never an instruction to the worker, and a model calls only what its agent
// lists.
//
// It knows a task as agent.Job shows it, and neither stores nor the mesh's protocols.
package llm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/schema"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// Model is a model of a file.
type Model struct {
	chat.Config
	Price    *Price
	Fallback []string // models to ask in its place when it is away
}

// Price is in millionths of a currency for a million tokens.
type Price struct {
	Input, Cached, Output int64
	Currency              string
}

// OnUnknown is what becomes of a tool call that was begun and has no known end.
type OnUnknown string

// The policies.
const (
	AskOnUnknown   OnUnknown = "ask"
	RetryOnUnknown OnUnknown = "retry"
	FailOnUnknown  OnUnknown = "fail"
)

// ToolSet are the tools of one server of a file.
type ToolSet struct {
	Server    Server
	Allow     []string // none: all
	Approve   []string // ask a person first; "*": all
	Timeout   time.Duration
	MaxResult int
	OnUnknown OnUnknown // empty: ask, unless the tool says that it may be called again
}

// Use is one entry of an agent's tools. One member is set.
type Use struct {
	Set     string // the name of a ToolSet
	Agent   string // an agent of the mesh
	Handoff bool   // of Agent: the conversation is handed over
	Human   bool   // a person may be asked
}

// The ends of an agent that comes to a limit.
const (
	LimitAnswer = "answer"
	LimitFail   = "fail"
)

// Limits bound one task, its children included. 0: as the default has it, or none.
type Limits struct {
	Steps     int // model calls; default 12
	ToolCalls int // default 30
	Tokens    int64
	Cost      int64 // millionths
	Time      time.Duration
	OnLimit   string // answer (the default) or fail
}

// What becomes of a conversation that is too long.
const (
	Summarize  = "summarize"
	DropOldest = "drop_oldest"
	FailFull   = "fail"
)

// Context bounds what the model is shown.
type Context struct {
	MaxTokens int64  // estimated; 0: no bound of ours
	OnFull    string // summarize (the default), drop_oldest or fail
}

// What events show of tool calls.
const (
	ShowNone  = "none"
	ShowNames = "names"
	ShowFull  = "full"
)

// Config is an agent of a file.
type Config struct {
	Model         string
	Instructions  string // text/template with .Labels, .Input and .Now "2006-01-02"
	Prompt        string // text/template of the user's message; empty: the instruction and the input
	Tools         []Use
	ToolChoice    string
	ParallelTools int // default 4
	OutputSchema  json.RawMessage
	Limits        Limits
	Context       Context
	Quiet         bool     // nothing of the answer is shown while it comes
	Show          string   // names (the default), none or full
	Seal          bool     // the journal's values are sealed with the worker's key
	Redact        []string // regular expressions, or email: never shown outside of the conversation
}

// File is all that a file says.
type File struct {
	Models  map[string]Model
	Tools   map[string]ToolSet
	Agents  map[string]Config
	Budgets []task.Budget
	// Secrets are values that the file has from the environment. They are masked
	// wherever they appear.
	Secrets []string
	// Transport is how models are reached; nil: as HTTP does.
	Transport http.RoundTripper
}

// Catalog are the agents of a file. They know one another, and share models and tools.
type Catalog struct {
	models map[string]*model
	tools  map[string]*toolSet
	agents map[string]*compiled
	mask   *mask

	budgets []task.Budget
}

// model is a Model with its client.
type model struct {
	Model
	name   string
	client *chat.Client
}

// compiled is a Config that can be run.
type compiled struct {
	Config
	name         string
	instructions *template.Template
	prompt       *template.Template
	schema       *jsonschema.Schema
	redact       []*regexp.Regexp
	catalog      *Catalog
}

// email is what redact: [email] stands for.
const email = `[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`

// Fault is a mistake of a file.
type Fault struct {
	Agent  string // whose section has it; empty: models
	Member string
	Err    error
}

// Error implements error.
func (f *Fault) Error() string { return f.Member + ": " + f.Err.Error() }

func fault(agent, member, format string, args ...any) error {
	return &Fault{agent, member, fmt.Errorf(format, args...)}
}

// New compiles a file. The error is a *Fault.
func New(f File) (*Catalog, error) {
	c := &Catalog{models: map[string]*model{}, tools: map[string]*toolSet{}, agents: map[string]*compiled{}, mask: newMask(f.Secrets), budgets: f.Budgets}
	for name, m := range f.Models {
		c.models[name] = &model{Model: m, name: name, client: chat.New(m.Config, f.Transport)}
		telemetry.CountModel(m.Config.Model, c.models[name].client.Host())
	}
	for name, s := range f.Tools {
		c.tools[name] = newToolSet(name, s)
	}
	for name, m := range f.Models {
		for _, other := range m.Fallback {
			if c.models[other] == nil {
				return nil, fault("", "models."+name+".fallback", "there is no model %q, there are %s", other, names(c.models))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Agents)) {
		a, err := c.compile(name, f.Agents[name])
		if err != nil {
			return nil, err
		}
		c.agents[name] = a
	}
	return c, nil
}

func names[V any](of map[string]V) string {
	if len(of) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}

func (c *Catalog) compile(name string, cfg Config) (*compiled, error) {
	cfg.Limits.Steps, cfg.Limits.ToolCalls = cmp.Or(cfg.Limits.Steps, 12), cmp.Or(cfg.Limits.ToolCalls, 30)
	cfg.Limits.OnLimit, cfg.Context.OnFull = cmp.Or(cfg.Limits.OnLimit, LimitAnswer), cmp.Or(cfg.Context.OnFull, Summarize)
	cfg.Model, cfg.Show, cfg.ParallelTools = cmp.Or(cfg.Model, "default"), cmp.Or(cfg.Show, ShowNames), cmp.Or(cfg.ParallelTools, 4)
	a := &compiled{Config: cfg, name: name, catalog: c}
	if c.models[cfg.Model] == nil {
		return nil, fault(name, "model", "there is no model %q, there are %s", cfg.Model, names(c.models))
	}
	for i, u := range cfg.Tools {
		if u.Set != "" && c.tools[u.Set] == nil {
			return nil, fault(name, fmt.Sprintf("tools[%d]", i), "there are no tools %q, there are %s; an agent of the mesh is written {agent: NAME}, and a person ask_human", u.Set, names(c.tools))
		}
	}
	var err error
	if a.instructions, err = template.New("instructions").Option("missingkey=zero").Parse(cfg.Instructions); err != nil {
		return nil, &Fault{name, "instructions", err}
	}
	if a.prompt, err = template.New("prompt").Option("missingkey=zero").Parse(cfg.Prompt); err != nil {
		return nil, &Fault{name, "prompt", err}
	}
	if cfg.OutputSchema != nil {
		if a.schema, err = schema.Compile(cfg.OutputSchema); err != nil {
			return nil, &Fault{name, "output_schema", err}
		}
	}
	for i, text := range cfg.Redact {
		if text == "email" {
			text = email
		}
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, &Fault{name, fmt.Sprintf("redact[%d]", i), err}
		}
		a.redact = append(a.redact, pattern)
	}
	return a, nil
}

// Handler is the handler of an agent of the file.
func (c *Catalog) Handler(name string) (agent.Handler, bool) {
	a := c.agents[name]
	if a == nil {
		return nil, false
	}
	return a.handle, true
}

// cost is what an answer of the model costs in millionths.
func (m *model) cost(u chat.Usage) (int64, string) {
	p := m.Price
	if p == nil {
		return 0, ""
	}
	sum := (u.Input-u.Cached)*p.Input + u.Cached*p.Cached + u.Output*p.Output
	return (sum + 999_999) / 1_000_000, p.Currency
}

// render runs a template.
func render(t *template.Template, data any) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}

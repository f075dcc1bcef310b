package agents

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/schema"
	"agentmesh/shared/task"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/chat"
	"agentmesh/worker/agents/mcp"
)

// shared is what the llm agents of a file have in common.
type shared struct {
	llm.File
	servers map[string]mcp.Config // of tools

	made    sync.Once
	catalog *llm.Catalog
	err     error
}

// open makes the agents, once: they share their models and their sessions with servers
// of tools.
func (s *shared) open(o Options) (*llm.Catalog, error) {
	s.made.Do(func() {
		if o.MCP == nil {
			o.MCP = mcp.NewPool(mcp.Options{Log: o.Log})
		}
		s.Transport = o.Models
		for name, t := range s.Tools {
			t.Server = toolServer{o.MCP.Client(s.servers[name])}
			s.Tools[name] = t
		}
		s.catalog, s.err = llm.New(s.File)
	})
	return s.catalog, s.err
}

// compile looks whether the agents can be made of what the file says.
func (p *parser) compile(root *yaml.Node, nodes map[string]*yaml.Node) {
	if len(nodes) == 0 && len(p.shared.Models) == 0 {
		return
	}
	_, err := llm.New(p.shared.File)
	var f *llm.Fault
	switch {
	case errors.As(err, &f) && nodes[f.Agent] != nil:
		p.fault(nodes[f.Agent], "agent "+f.Agent+": llm."+f.Member, "%v", f.Err)
	case err != nil:
		p.fault(root, "", "%v", err)
	}
}

// llmParser reads what is there for agents that are models.
type llmParser struct{ *parser }

// models reads the models of a file.
func (p llmParser) models(n *yaml.Node, field string) {
	p.secret(func() {
		p.named(n, field, func(name string, n *yaml.Node, f string) {
			p.shared.Models[name] = p.model(n, f)
		})
	})
	currency := ""
	for _, m := range p.shared.Models {
		if m.Price != nil && currency != "" && m.Price.Currency != currency {
			p.fault(n, field, "prices are in %s and in %s; costs are added, so there must be one currency", min(currency, m.Price.Currency), max(currency, m.Price.Currency))
			return
		}
		if m.Price != nil {
			currency = m.Price.Currency
		}
	}
}

// named reads a mapping whose keys are names.
func (p llmParser) named(n *yaml.Node, field string, each func(name string, n *yaml.Node, field string)) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, field, "it must be a mapping of names")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		switch {
		case !task.ValidAgent(strings.ReplaceAll(name, "_", "-")):
			p.fault(n.Content[i], field+"."+name, "names match [a-z0-9_-]{1,40}")
		case seen[name]:
			p.fault(n.Content[i], field+"."+name, "it is there twice")
		default:
			each(name, unaliased(n.Content[i+1]), field+"."+name)
		}
		seen[name] = true
	}
}

func unaliased(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (p llmParser) model(n *yaml.Node, field string) llm.Model {
	m := llm.Model{Config: chat.Config{API: chat.Completions}}
	before := len(p.errs)
	p.mapping(n, field, fields{
		"base_url": func(n *yaml.Node, f string) { p.text(n, f, &m.BaseURL) },
		"model":    func(n *yaml.Node, f string) { p.text(n, f, &m.Config.Model) },
		"api_key":  func(n *yaml.Node, f string) { p.text(n, f, &m.APIKey) },
		"api": func(n *yaml.Node, f string) {
			m.API = chat.API(p.choice(n, f, string(chat.Completions), string(chat.Responses)))
		},
		"headers":        func(n *yaml.Node, f string) { m.Headers = p.strings(n, f) },
		"timeout":        func(n *yaml.Node, f string) { p.span(n, f, &m.Timeout) },
		"first_byte":     func(n *yaml.Node, f string) { p.span(n, f, &m.FirstByte) },
		"max_concurrent": func(n *yaml.Node, f string) { p.count(n, f, &m.MaxConcurrent) },
		"price":          func(n *yaml.Node, f string) { m.Price = p.price(n, f) },
		"params":         func(n *yaml.Node, f string) { m.Params = p.any(n, f) },
		"compat": func(n *yaml.Node, f string) {
			p.mapping(n, f, fields{
				"stream_usage": func(n *yaml.Node, f string) { m.Compat.StreamUsage = p.choice(n, f, "auto", "on", "off") },
				"max_tokens_field": func(n *yaml.Node, f string) {
					m.Compat.MaxTokensField = p.choice(n, f, "auto", "max_completion_tokens", "max_tokens")
				},
				"strict_schema": func(n *yaml.Node, f string) { m.Compat.StrictSchema = p.choice(n, f, "auto", "on", "off") },
			})
		},
		"fallback": func(n *yaml.Node, f string) { m.Fallback = p.list(n, f) },
	})
	if len(p.errs) > before {
		return m
	}
	if !isAddress(m.BaseURL) {
		p.fault(n, field+".base_url", "it must be an address such as https://api.openai.com/v1 or http://127.0.0.1:11434/v1")
	}
	if m.Config.Model == "" {
		p.fault(n, field+".model", "it is missing: the name of the model, as its server knows it")
	}
	return m
}

func (p llmParser) price(n *yaml.Node, field string) *llm.Price {
	price := &llm.Price{Cached: -1, Currency: "USD"}
	p.mapping(n, field, fields{
		"input":        func(n *yaml.Node, f string) { price.Input = p.money(n, f) },
		"cached_input": func(n *yaml.Node, f string) { price.Cached = p.money(n, f) },
		"output":       func(n *yaml.Node, f string) { price.Output = p.money(n, f) },
		"currency": func(n *yaml.Node, f string) {
			if p.text(n, f, &price.Currency); len(price.Currency) != 3 {
				p.fault(n, f, "it must be a currency of three letters, such as USD")
			}
		},
	})
	if price.Cached < 0 {
		price.Cached = price.Input
	}
	return price
}

// money reads an amount and returns its millionths.
func (p llmParser) money(n *yaml.Node, field string) int64 {
	v, err := strconv.ParseFloat(p.expand(n, field), 64)
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 || v > 1e6 {
		p.fault(n, field, "%q is not allowed, it must be an amount such as 0.15, at most 1000000", n.Value)
		return 0
	}
	return int64(math.Round(v * 1e6))
}

// big reads a whole number from 1.
func (p llmParser) big(n *yaml.Node, field string, to *int64) {
	v := 0
	p.count(n, field, &v)
	*to = int64(v)
}

func (p llmParser) span(n *yaml.Node, field string, to *time.Duration) {
	var d task.Duration
	p.duration(n, field, &d)
	*to = time.Duration(d)
}

func (p llmParser) choice(n *yaml.Node, field string, allowed ...string) string {
	v := ""
	if p.text(n, field, &v); !slices.Contains(allowed, v) {
		p.fault(n, field, "%q is not allowed, it must be one of %s%s", v, strings.Join(allowed, ", "), didYouMean(v, allowed))
	}
	return v
}

func (p llmParser) list(n *yaml.Node, field string) []string {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, field, "it must be a list")
		return nil
	}
	all := make([]string, len(n.Content))
	for i, e := range n.Content {
		p.text(e, field+"["+strconv.Itoa(i)+"]", &all[i])
	}
	return all
}

// any reads a mapping of anything that is JSON.
func (p llmParser) any(n *yaml.Node, field string) map[string]any {
	v := map[string]any{}
	if err := n.Decode(&v); err != nil {
		p.fault(n, field, "%v", err)
	} else if _, err := task.Marshal(v); err != nil {
		p.fault(n, field, "it must be JSON: keys are texts")
	}
	return v
}

func (p llmParser) llm(n *yaml.Node, field string) *llm.Config {
	c := &llm.Config{}
	p.mapping(n, field, fields{
		"model":             func(n *yaml.Node, f string) { p.text(n, f, &c.Model) },
		"instructions":      func(n *yaml.Node, f string) { p.text(n, f, &c.Instructions) },
		"instructions_file": func(n *yaml.Node, f string) { c.Instructions = p.textFile(n, f) },
		"prompt":            func(n *yaml.Node, f string) { p.text(n, f, &c.Prompt) },
		"tools":             func(n *yaml.Node, f string) { c.Tools = p.uses(n, f) },
		"tool_choice":       func(n *yaml.Node, f string) { c.ToolChoice = p.choice(n, f, "auto", "none", "required") },
		"parallel_tools":    func(n *yaml.Node, f string) { p.count(n, f, &c.ParallelTools) },
		"output_schema":     func(n *yaml.Node, f string) { c.OutputSchema = p.jsonSchema(n, f) },
		"limits":            func(n *yaml.Node, f string) { p.limits(n, f, &c.Limits) },
		"context": func(n *yaml.Node, f string) {
			p.mapping(n, f, fields{
				"max_tokens": func(n *yaml.Node, f string) { p.big(n, f, &c.Context.MaxTokens) },
				"on_full": func(n *yaml.Node, f string) {
					c.Context.OnFull = p.choice(n, f, llm.Summarize, llm.DropOldest, llm.FailFull)
				},
			})
		},
		"stream": func(n *yaml.Node, f string) { c.Quiet = !p.yes(n, f) },
		"show": func(n *yaml.Node, f string) {
			p.mapping(n, f, fields{"tools": func(n *yaml.Node, f string) { c.Show = p.choice(n, f, llm.ShowNone, llm.ShowNames, llm.ShowFull) }})
		},
		"seal":   func(n *yaml.Node, f string) { c.Seal = p.yes(n, f) },
		"redact": func(n *yaml.Node, f string) { c.Redact = p.list(n, f) },
	})
	return c
}

func (p llmParser) limits(n *yaml.Node, field string, l *llm.Limits) {
	p.mapping(n, field, fields{
		"steps":      func(n *yaml.Node, f string) { p.count(n, f, &l.Steps) },
		"tool_calls": func(n *yaml.Node, f string) { p.count(n, f, &l.ToolCalls) },
		"tokens":     func(n *yaml.Node, f string) { p.big(n, f, &l.Tokens) },
		"cost":       func(n *yaml.Node, f string) { l.Cost = p.money(n, f) },
		"time":       func(n *yaml.Node, f string) { p.span(n, f, &l.Time) },
		"on_limit":   func(n *yaml.Node, f string) { l.OnLimit = p.choice(n, f, llm.LimitAnswer, llm.LimitFail) },
	})
}

// uses reads the tools of an agent: names of tools of the file, ask_human, or agents of
// the mesh.
func (p llmParser) uses(n *yaml.Node, field string) (all []llm.Use) {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, field, "it must be a list, such as [jira, {agent: summarize}, ask_human]")
		return nil
	}
	for i, e := range n.Content {
		e, f := unaliased(e), field+"["+strconv.Itoa(i)+"]"
		var u llm.Use
		if e.Kind == yaml.MappingNode {
			p.mapping(e, f, fields{
				"agent":   func(n *yaml.Node, f string) { p.text(n, f, &u.Agent) },
				"handoff": func(n *yaml.Node, f string) { u.Handoff = p.yes(n, f) },
			})
			if !task.ValidAgent(u.Agent) {
				p.fault(e, f+".agent", "it must be the name of an agent, which matches [a-z0-9-]{1,40}")
			}
		} else if p.text(e, f, &u.Set); u.Set == "ask_human" {
			u = llm.Use{Human: true}
		}
		all = append(all, u)
	}
	return all
}

func (p llmParser) yes(n *yaml.Node, field string) (v bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&v) != nil {
		p.fault(n, field, "%q is not allowed, it must be true or false", n.Value)
	}
	return v
}

// textFile reads a text from a file beside this one.
func (p llmParser) textFile(n *yaml.Node, field string) string {
	path := ""
	if p.text(n, field, &path); path == "" {
		return ""
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		p.fault(n, field, "%v", err)
	}
	return string(text)
}

func (p *parser) jsonSchema(n *yaml.Node, field string) []byte {
	var v any
	if err := n.Decode(&v); err != nil {
		p.fault(n, field, "%v", err)
		return nil
	}
	raw, err := task.Marshal(v)
	if err != nil {
		p.fault(n, field, "it must be a JSON Schema: keys are texts")
		return nil
	}
	if _, err := schema.Compile(raw); err != nil {
		p.fault(n, field, "it is no JSON Schema: %v", err)
		return nil
	}
	return raw
}

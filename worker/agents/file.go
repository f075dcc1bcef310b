// Package agents reads agents.yaml, the file that says which agents a worker
// serves, and makes them: programs (exec), HTTP services (http), tools of MCP servers
// (mcp) and what is built in. It promises that every mistake in the file is reported with its
// line, its field and what is allowed there, and that nothing is served from a
// file that has one.
package agents

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/a2a"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/http"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/mcp"
	"agentmesh/worker/agents/synadia"
)

// Spec is one agent of a file.
type Spec struct {
	task.Definition

	// One of these is set.
	Exec    *exec.Config
	HTTP    *http.Config
	MCP     *mcp.AgentConfig
	LLM     *llm.Config
	A2A     *a2a.Config
	Synadia *synadia.Config
	Builtin string

	file *shared // with the other agents of the file
}

// Parse reads a file's text. name is shown in errors, and relative folders in
// it are relative to its own. getenv resolves ${VAR}; it reports whether VAR is
// set. All mistakes are reported together.
func Parse(name string, text []byte, getenv func(string) (string, bool)) ([]Spec, error) {
	p := &parser{name: name, dir: filepath.Dir(name), getenv: getenv, shared: &shared{File: llm.File{
		Models: map[string]llm.Model{}, Tools: map[string]llm.ToolSet{}, Agents: map[string]llm.Config{},
	}, servers: map[string]mcp.Config{}}}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("%s: the file is empty; it needs a list of agents", name)
	}
	specs := p.file(doc.Content[0])
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return specs, nil
}

// parser collects the mistakes of a file.
type parser struct {
	name, dir string
	getenv    func(string) (string, bool)
	errs      []error

	shared *shared // models and tools, and who uses them
	hides  bool    // what comes from the environment now is a secret
}

// secret reads a part of the file whose values from the environment are secrets.
func (p *parser) secret(read func()) {
	p.hides = true
	defer func() { p.hides = false }()
	read()
}

func (p *parser) fault(n *yaml.Node, field, format string, args ...any) {
	place := fmt.Sprintf("%s:%d: ", p.name, n.Line)
	if field != "" {
		place += field + ": "
	}
	p.errs = append(p.errs, errors.New(place+fmt.Sprintf(format, args...)))
}

// fields are the keys of a mapping and who reads each.
type fields map[string]func(value *yaml.Node, field string)

// order is how messages list the fields: that of the manual.
var order = []string{
	"default_agent", "models", "tools", "budgets", "agents", "name", "description", "version", "greeting", "concurrency", "max_in_flight", "timeout", "suspend_after", "on_new_version", "retry",
	"max_attempts", "backoff", "max_backoff", "history", "max_transcript", "max_turns", "input_schema", "output_schema", "annotations", "tags", "examples", "skills", "conversation", "a2a",
	"id", "input_modes", "output_modes",
	"exec", "http", "mcp", "synadia", "llm", "builtin",
	"command", "dir", "env", "protocol", "pool", "max_jobs", "url", "headers",
	"tool", "arguments", "on_unknown", "tasks", "allow_hosts",
	"read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint",
	"context", "creds", "nkey", "agent", "owner", "inactivity", "max_wait", "idempotent", "sign",
}

func (f fields) list() []string {
	rank := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	return slices.SortedFunc(maps.Keys(f), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
}

func (f fields) names() string { return strings.Join(f.list(), ", ") }

// mapping reads a mapping whose keys are known.
func (p *parser) mapping(n *yaml.Node, field string, known fields) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.fault(n, field, "it must be a mapping with %s", known.names())
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(field+"."+key.Value, ".")
		read, ok := known[key.Value]
		switch {
		case !ok:
			p.fault(key, path, "there is no such field%s; there are %s", didYouMean(key.Value, known.list()), known.names())
		case seen[key.Value]:
			p.fault(key, path, "it is there twice")
		default:
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			read(value, path)
		}
		seen[key.Value] = true
	}
}

func (p *parser) file(root *yaml.Node) []Spec {
	var specs []Spec
	var list, defaultNode *yaml.Node
	defaultAgent := ""
	p.mapping(root, "", fields{
		"default_agent": func(n *yaml.Node, field string) { defaultNode = n; p.text(n, field, &defaultAgent) },
		"models":        llmParser{p}.models,
		"tools":         llmParser{p}.tools,
		"budgets":       llmParser{p}.budgets,
		"agents":        func(n *yaml.Node, _ string) { list = n },
	})
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		if list == nil {
			list = root
		}
		p.fault(list, "agents", "it must be a list of at least one agent, such as - name: research")
		return nil
	}
	lines, nodes := map[string]int{}, map[string]*yaml.Node{}
	for i, n := range list.Content {
		s := p.agent(n, fmt.Sprintf("agents[%d]", i))
		if line, ok := lines[s.Name]; ok && s.Name != "" {
			p.fault(n, fmt.Sprintf("agents[%d].name", i), "%s is the name of the agent in line %d too", s.Name, line)
		}
		lines[s.Name] = n.Line
		s.Default, s.file = defaultAgent != "" && s.Name == defaultAgent, p.shared
		if s.LLM != nil {
			p.shared.Agents[s.Name] = *s.LLM
			nodes[s.Name] = n
		}
		specs = append(specs, s)
	}
	if _, ok := lines[defaultAgent]; defaultAgent != "" && !ok {
		p.fault(defaultNode, "default_agent", "there is no agent %q in this file", defaultAgent)
	}
	if len(p.errs) == 0 {
		p.compile(root, nodes)
	}
	return specs
}

func (p *parser) agent(n *yaml.Node, field string) Spec {
	var s Spec
	var kinds []string
	before := len(p.errs)
	p.mapping(n, field, fields{
		"name":          func(n *yaml.Node, f string) { p.text(n, f, &s.Name) },
		"description":   func(n *yaml.Node, f string) { p.text(n, f, &s.Description) },
		"version":       func(n *yaml.Node, f string) { p.text(n, f, &s.Version) },
		"greeting":      func(n *yaml.Node, f string) { p.text(n, f, &s.Greeting) },
		"concurrency":   func(n *yaml.Node, f string) { p.count(n, f, &s.Concurrency) },
		"max_in_flight": func(n *yaml.Node, f string) { p.count(n, f, &s.MaxInFlight) },
		"timeout":       func(n *yaml.Node, f string) { p.duration(n, f, &s.Timeout) },
		"suspend_after": func(n *yaml.Node, f string) { p.duration(n, f, &s.SuspendAfter) },
		"on_new_version": func(n *yaml.Node, f string) {
			policy := ""
			if p.text(n, f, &policy); policy == "" || !task.OnNewVersion(policy).Valid() {
				p.fault(n, f, "%q is not allowed, it must be continue (steps of another version are taken over), restart (they are dropped) or fail", policy)
			}
			s.OnNewVersion = task.OnNewVersion(policy)
		},
		"retry": func(n *yaml.Node, f string) {
			p.mapping(n, f, fields{
				"max_attempts": func(n *yaml.Node, f string) { p.count(n, f, &s.Retry.MaxAttempts) },
				"backoff":      func(n *yaml.Node, f string) { p.duration(n, f, &s.Retry.Backoff) },
				"max_backoff":  func(n *yaml.Node, f string) { p.duration(n, f, &s.Retry.MaxBackoff) },
			})
		},
		"history": func(n *yaml.Node, f string) {
			history := ""
			if p.text(n, f, &history); history != "full" && history != "window" {
				p.fault(n, f, "%q is not allowed, it must be full (a session takes no more messages) or window (the agent sees the newest)", history)
			}
			s.History = task.History(history)
		},
		"max_transcript": func(n *yaml.Node, f string) { p.count(n, f, &s.MaxTranscript) },
		"max_turns":      func(n *yaml.Node, f string) { p.count(n, f, &s.MaxTurns) },
		"input_schema":   func(n *yaml.Node, f string) { s.InputSchema = p.jsonSchema(n, f) },
		"output_schema":  func(n *yaml.Node, f string) { s.OutputSchema = p.jsonSchema(n, f) },
		"annotations":    func(n *yaml.Node, f string) { s.Annotations = about{p}.annotations(n, f) },
		"tags":           func(n *yaml.Node, f string) { s.Tags = about{p}.texts(n, f) },
		"examples":       func(n *yaml.Node, f string) { s.Examples = about{p}.texts(n, f) },
		"skills":         func(n *yaml.Node, f string) { s.Skills = about{p}.skills(n, f) },
		"conversation":   func(n *yaml.Node, f string) { s.Conversation = about{p}.yes(n, f) },
		"a2a": func(n *yaml.Node, f string) {
			if n.Kind == yaml.MappingNode {
				kinds, s.A2A = append(kinds, "a2a"), about{p}.remote(n, f)
				return
			}
			s.NoA2A = !about{p}.yes(n, f)
		},
		"exec": func(n *yaml.Node, f string) { kinds = append(kinds, "exec"); s.Exec = p.exec(n, f) },
		"http": func(n *yaml.Node, f string) { kinds = append(kinds, "http"); s.HTTP = p.http(n, f) },
		"mcp": func(n *yaml.Node, f string) {
			if s.MCP = (remoteParser{p}).mcp(n, f, &s.AsTool); s.MCP != nil {
				kinds = append(kinds, "mcp")
			}
		},
		"llm": func(n *yaml.Node, f string) { kinds = append(kinds, "llm"); s.LLM = llmParser{p}.llm(n, f) },
		"synadia": func(n *yaml.Node, f string) {
			kinds = append(kinds, "synadia")
			s.Synadia = remoteParser{p}.synadia(n, f)
		},
		"builtin": func(n *yaml.Node, f string) { kinds = append(kinds, "builtin"); p.text(n, f, &s.Builtin) },
	})
	if len(p.errs) > before {
		return s // one fault at a time: the rest may follow from it
	}
	switch {
	case s.Name == "":
		p.fault(n, field+".name", "it is missing; names match [a-z0-9-]{1,40}")
	case len(kinds) == 0:
		p.fault(n, field, "agent %s needs one of exec, http, mcp, synadia, llm, a2a and builtin", s.Name)
	case len(kinds) > 1:
		p.fault(n, field, "agent %s has %s; it must have one of exec, http, mcp, synadia, llm, a2a and builtin", s.Name, strings.Join(kinds, " and "))
	default:
		p.pool(n, field, &s)
		d := s.Definition.WithDefaults()
		if d.Retry.MaxBackoff < d.Retry.Backoff && s.Retry.MaxBackoff == 0 {
			s.Retry.MaxBackoff, d.Retry.MaxBackoff = d.Retry.Backoff, d.Retry.Backoff
		}
		if err := d.Validate(); err != nil {
			p.fault(n, field, "%v", err)
		}
	}
	return s
}

// pool has an agent run as many tasks at once as there are copies of its program.
func (p *parser) pool(n *yaml.Node, field string, s *Spec) {
	if s.Exec == nil || s.Exec.Pool == 0 {
		return
	}
	if s.Concurrency > s.Exec.Pool {
		p.fault(n, field+".concurrency", "it is %d, and %d tasks have copies of the program: leave it out, or have pool as large", s.Concurrency, s.Exec.Pool)
	}
	if s.Concurrency == 0 {
		s.Concurrency = s.Exec.Pool
	}
}

func (p *parser) exec(n *yaml.Node, field string) *exec.Config {
	c := &exec.Config{Dir: p.dir}
	var jobs *yaml.Node
	p.mapping(n, field, fields{
		"command": func(n *yaml.Node, f string) { c.Command = p.command(n, f) },
		"dir":     func(n *yaml.Node, f string) { c.Dir = p.folder(n, f) },
		"env":     func(n *yaml.Node, f string) { c.Env = p.strings(n, f) },
		"protocol": func(n *yaml.Node, f string) {
			protocol := ""
			if p.text(n, f, &protocol); protocol != "lines" && protocol != "steps" {
				p.fault(n, f, "%q is not allowed, it must be lines (as it is when left out) or steps (the program keeps steps, and its standard input stays open)", protocol)
			}
			c.Steps = protocol == "steps"
		},
		"pool": func(n *yaml.Node, f string) {
			if p.count(n, f, &c.Pool); c.Pool > maxPool {
				p.fault(n, f, "it is %d, allowed is 1 to %d", c.Pool, maxPool)
			}
		},
		"max_jobs": func(n *yaml.Node, f string) { jobs = n; p.count(n, f, &c.MaxJobs) },
	})
	if len(c.Command) == 0 || c.Command[0] == "" {
		p.fault(n, field+".command", "it is missing: the program, then its arguments, such as [python3, agent.py]")
	}
	if jobs != nil && c.Pool == 0 {
		p.fault(jobs, field+".max_jobs", "it is of a pool: say pool, too")
	}
	return c
}

// maxPool is how many copies of a program there may be.
const maxPool = 1000

func (p *parser) http(n *yaml.Node, field string) *http.Config {
	c := &http.Config{}
	at := n
	p.mapping(n, field, fields{
		"url":     func(n *yaml.Node, f string) { at = n; p.text(n, f, &c.URL) },
		"headers": func(n *yaml.Node, f string) { c.Headers = p.strings(n, f) },
	})
	if !isAddress(c.URL) {
		p.fault(at, field+".url", "it must be an address such as http://127.0.0.1:9000/run")
	}
	return c
}

func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// text reads a scalar and puts the environment's values in.
func (p *parser) text(n *yaml.Node, field string, to *string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fault(n, field, "it must be a text")
		return
	}
	*to = p.expand(n, field)
}

// expand replaces ${VAR}. $${ is a ${ that stays.
func (p *parser) expand(n *yaml.Node, field string) string {
	var out strings.Builder
	rest := n.Value
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String()
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString(strings.TrimSuffix(before, "$") + "${")
			rest = after
			continue
		}
		out.WriteString(before)
		name, tail, closed := strings.Cut(after, "}")
		value, set := p.getenv(name)
		switch {
		case !closed:
			p.fault(n, field, "${ is not closed; write $${ for a literal ${")
			return ""
		case !set:
			p.fault(n, field, "the environment variable %s is not set", name)
		}
		if p.hides {
			p.shared.Secrets = append(p.shared.Secrets, value)
		}
		out.WriteString(value)
		rest = tail
	}
}

func (p *parser) count(n *yaml.Node, field string, to *int) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(to) != nil || *to < 1 {
		p.fault(n, field, "%q is not allowed, it must be a whole number from 1", n.Value)
	}
}

func (p *parser) duration(n *yaml.Node, field string, to *task.Duration) {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		p.fault(n, field, "%q is not allowed, it must be a duration such as 30s or 5m", n.Value)
	}
	*to = task.Duration(d)
}

func (p *parser) strings(n *yaml.Node, field string) map[string]string {
	m := map[string]string{}
	if n.Kind != yaml.MappingNode {
		p.fault(n, field, "it must be a mapping of texts")
		return m
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		var v string
		p.text(n.Content[i+1], field+"."+n.Content[i].Value, &v)
		m[n.Content[i].Value] = v
	}
	return m
}

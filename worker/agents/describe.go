package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
)

// Bounds of a program that is asked what it has.
const (
	describesWithin = 30 * time.Second
	maxDescription  = 1 << 20 // bytes
)

// described is an agent as a program of a worker kit tells it, by --describe.
type described struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Version     string          `json:"version"`
	InputSchema json.RawMessage `json:"input_schema"`
}

// Describe asks a program of a worker kit which agents it has. text is an agents.yaml
// that serves them, which has been read once.
func Describe(ctx context.Context, program string) (specs []Spec, text []byte, err error) {
	command := commandOf(program)
	all, err := askProgram(ctx, command)
	if err != nil {
		return nil, nil, fmt.Errorf("%s --describe: %w", strings.Join(command, " "), err)
	}
	root := mapping()
	list := &yaml.Node{Kind: yaml.SequenceNode}
	put(root, "agents", list)
	for _, d := range all {
		list.Content = append(list.Content, d.entry(command))
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, nil, err
	}
	specs, err = Parse(program, b.Bytes(), func(string) (string, bool) { return "", false })
	return specs, b.Bytes(), err
}

// commandOf is how a program is started: by its language where it says it, else itself.
func commandOf(program string) []string {
	switch filepath.Ext(program) {
	case ".py":
		return []string{"python3", program}
	case ".js", ".mjs":
		return []string{"node", program}
	}
	if !strings.ContainsRune(program, os.PathSeparator) {
		program = "." + string(os.PathSeparator) + program
	}
	return []string{program}
}

func askProgram(ctx context.Context, command []string) ([]described, error) {
	ctx, cancel := context.WithTimeout(ctx, describesWithin)
	defer cancel()
	cmd := osexec.CommandContext(ctx, command[0], append(command[1:], "--describe")...)
	cmd.WaitDelay = time.Second
	out, errs := &clipped{most: maxDescription}, &clipped{most: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.b.String()))
	}
	var all struct{ Agents []described }
	if err := json.Unmarshal(out.b.Bytes(), &all); err != nil || len(all.Agents) == 0 {
		return nil, errors.New(`it does not say {"agents": [...]}: is it a program of a worker kit, which calls serve?`)
	}
	return all.Agents, nil
}

// clipped keeps the beginning of what is written.
type clipped struct {
	b    bytes.Buffer
	most int
}

var _ io.Writer = (*clipped)(nil)

func (c *clipped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), c.most-c.b.Len())])
	return len(p), nil
}

// entry is the agent as agents.yaml has it.
func (d described) entry(command []string) *yaml.Node {
	n := mapping()
	put(n, "name", literal(d.Name))
	if d.Description != "" {
		put(n, "description", literal(d.Description))
	}
	if d.Version != "" {
		put(n, "version", literal(d.Version))
	}
	var schema yaml.Node
	if len(d.InputSchema) > 0 && yaml.Unmarshal(d.InputSchema, &schema) == nil && len(schema.Content) == 1 {
		put(n, "input_schema", schema.Content[0])
	}
	exec := mapping()
	words := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, w := range command {
		words.Content = append(words.Content, literal(w))
	}
	put(exec, "command", words)
	put(n, "exec", exec)
	return n
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func put(to *yaml.Node, name string, value *yaml.Node) {
	to.Content = append(to.Content, literal(name), value)
}

// literal is a text of which nothing is replaced by the environment.
func literal(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(strings.ReplaceAll(text, "${", "$${"))
	return n
}

// CompareWith tells of each agent that a program has whether a file says the same of its
// input as the program does.
func CompareWith(file string, of []Spec) ([]Finding, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	specs, err := Parse(file, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	said := map[string]task.Definition{}
	for _, s := range specs {
		said[s.Name] = s.Definition
	}
	var found []Finding
	for _, s := range of {
		f := Finding{Agent: s.Name}
		switch d, ok := said[s.Name]; {
		case !ok:
			f.Err = fmt.Errorf("%s has no such agent", file)
		case !sameJSON(d.InputSchema, s.InputSchema):
			f.Err = fmt.Errorf("its input_schema in %s is not that of the program: %s", file, nonEmpty(s.InputSchema))
		}
		found = append(found, f)
	}
	return found, nil
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	_ = json.Unmarshal(a, &x)
	_ = json.Unmarshal(b, &y)
	return reflect.DeepEqual(x, y)
}

func nonEmpty(schema json.RawMessage) string {
	if len(schema) == 0 {
		return "it has none"
	}
	return string(schema)
}

package agents

import (
	"fmt"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/a2a"
)

// about reads what an agent says of itself, and where one of others is.
type about struct{ *parser }

// skills reads what an agent can do, as cards list it.
func (p about) skills(n *yaml.Node, field string) (all []task.Skill) {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, field, "it must be a list of skills, such as - {id: sum, name: Sums up}")
		return nil
	}
	for i, one := range n.Content {
		var s task.Skill
		p.mapping(one, fmt.Sprintf("%s[%d]", field, i), fields{
			"id":           func(n *yaml.Node, f string) { p.text(n, f, &s.ID) },
			"name":         func(n *yaml.Node, f string) { p.text(n, f, &s.Name) },
			"description":  func(n *yaml.Node, f string) { p.text(n, f, &s.Description) },
			"tags":         func(n *yaml.Node, f string) { s.Tags = p.texts(n, f) },
			"examples":     func(n *yaml.Node, f string) { s.Examples = p.texts(n, f) },
			"input_modes":  func(n *yaml.Node, f string) { s.InputModes = p.texts(n, f) },
			"output_modes": func(n *yaml.Node, f string) { s.OutputModes = p.texts(n, f) },
		})
		all = append(all, s)
	}
	return all
}

// annotations reads hints about what an agent does.
func (p about) annotations(n *yaml.Node, field string) (a task.Annotations) {
	hint := func(to **bool) func(*yaml.Node, string) {
		return func(n *yaml.Node, f string) { yes := p.yes(n, f); *to = &yes }
	}
	p.mapping(n, field, fields{
		"read_only_hint": hint(&a.ReadOnly), "destructive_hint": hint(&a.Destructive),
		"idempotent_hint": hint(&a.Idempotent), "open_world_hint": hint(&a.OpenWorld),
	})
	return a
}

// texts reads a list of texts.
func (p about) texts(n *yaml.Node, field string) []string {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, field, "it must be a list of texts")
		return nil
	}
	all := make([]string, len(n.Content))
	for i, one := range n.Content {
		p.text(one, fmt.Sprintf("%s[%d]", field, i), &all[i])
	}
	return all
}

// yes reads true or false.
func (p about) yes(n *yaml.Node, field string) (yes bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&yes) != nil {
		p.fault(n, field, "%q is not allowed, it must be true or false", n.Value)
	}
	return yes
}

// remote reads the section of an agent that is one of others, over A2A.
func (p about) remote(n *yaml.Node, field string) *a2a.Config {
	c, at := &a2a.Config{}, n
	before := len(p.errs)
	p.mapping(n, field, fields{
		"url":         func(n *yaml.Node, f string) { at = n; p.text(n, f, &c.URL) },
		"headers":     func(n *yaml.Node, f string) { c.Headers = p.strings(n, f) },
		"allow_hosts": func(n *yaml.Node, f string) { c.AllowHosts = p.texts(n, f) },
		"push": func(n *yaml.Node, f string) {
			if n.Kind == yaml.ScalarNode {
				if p.yes(n, f) {
					p.fault(n, f, "true does not say where: write {url: <a hook of the mesh>, token: <what it verifies>}")
				}
				return
			}
			p.mapping(n, f, fields{
				"url":   func(n *yaml.Node, f string) { p.text(n, f, &c.Push.URL) },
				"token": func(n *yaml.Node, f string) { p.text(n, f, &c.Push.Token) },
			})
		},
	})
	if err := c.Push.Check(); err != nil && len(p.errs) == before {
		p.fault(n, field+".push", "%v", err)
	}
	if err := c.Check(); err != nil && len(p.errs) == before {
		p.fault(at, field+".url", "it must be the address of a card or the base of it, such as https://agents.example.com/research/: %v", err)
	}
	return c
}

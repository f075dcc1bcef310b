package agents

import (
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
)

// budgets reads what tenants may use of the models of a file.
func (p llmParser) budgets(n *yaml.Node, field string) {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, field, "it must be a list, such as [{tenant: \"*\", period: day, cost: 20}]")
		return
	}
	for i, e := range n.Content {
		f := field + "[" + strconv.Itoa(i) + "]"
		b := p.budget(unaliased(e), f)
		if slices.ContainsFunc(p.shared.Budgets, func(o task.Budget) bool { return o.Tenant == b.Tenant && o.Period == b.Period }) {
			p.fault(e, f, "there is a budget of tenant %s for the %s before it", b.Tenant, b.Period)
		}
		p.shared.Budgets = append(p.shared.Budgets, b)
	}
}

func (p llmParser) budget(n *yaml.Node, field string) task.Budget {
	b := task.Budget{Tenant: "*", Period: task.Daily}
	before := len(p.errs)
	p.mapping(n, field, fields{
		"tenant": func(n *yaml.Node, f string) {
			if p.text(n, f, &b.Tenant); b.Tenant != "*" && !task.ValidTenant(b.Tenant) {
				p.fault(n, f, "%q is no tenant; \"*\" is each of them", b.Tenant)
			}
		},
		"period": func(n *yaml.Node, f string) {
			b.Period = task.Period(p.choice(n, f, string(task.Hourly), string(task.Daily), string(task.Monthly)))
		},
		"tokens": func(n *yaml.Node, f string) { p.big(n, f, &b.Tokens) },
		"cost":   func(n *yaml.Node, f string) { b.Cost = p.money(n, f) },
		"warn_at": func(n *yaml.Node, f string) {
			v, err := strconv.ParseFloat(n.Value, 64)
			if b.WarnAt = v; n.Kind != yaml.ScalarNode || err != nil || v <= 0 || v > 1 {
				p.fault(n, f, "%q is not allowed, it must be a part such as 0.8", n.Value)
			}
		},
	})
	if b.Tokens == 0 && b.Cost == 0 && len(p.errs) == before {
		p.fault(n, field, "it must bound tokens, cost or both")
	}
	return b
}

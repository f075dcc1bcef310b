package agents

import (
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/synadia"
)

// synadia reads the section of an agent that is found on NATS.
func (p remoteParser) synadia(n *yaml.Node, field string) *synadia.Config {
	c := &synadia.Config{Place: synadia.Place{Sign: true}}
	var inactivity, wait task.Duration
	before := len(p.errs)
	p.mapping(n, field, fields{
		"context":    func(n *yaml.Node, f string) { p.text(n, f, &c.Context) },
		"url":        func(n *yaml.Node, f string) { p.text(n, f, &c.URL) },
		"creds":      func(n *yaml.Node, f string) { c.Creds = p.folder(n, f) },
		"nkey":       func(n *yaml.Node, f string) { c.NKey = p.folder(n, f) },
		"agent":      func(n *yaml.Node, f string) { p.text(n, f, &c.Agent) },
		"owner":      func(n *yaml.Node, f string) { p.text(n, f, &c.Owner) },
		"name":       func(n *yaml.Node, f string) { p.text(n, f, &c.Name) },
		"inactivity": func(n *yaml.Node, f string) { p.duration(n, f, &inactivity) },
		"max_wait":   func(n *yaml.Node, f string) { p.duration(n, f, &wait) },
		"idempotent": func(n *yaml.Node, f string) { p.flag(n, f, &c.Idempotent) },
		"sign":       func(n *yaml.Node, f string) { p.flag(n, f, &c.Sign) },
		"on_unknown": func(n *yaml.Node, f string) {
			way := ""
			if p.text(n, f, &way); !slices.Contains(synadia.Unknowns, synadia.Unknown(way)) {
				p.fault(n, f, "%q is not allowed, it must be fail (as it is when left out), retry (the prompt is sent again) or ask (a person decides)", way)
			}
			c.OnUnknown = synadia.Unknown(way)
		},
		"history": func(n *yaml.Node, f string) {
			way := ""
			if p.text(n, f, &way); !slices.Contains(synadia.Histories, synadia.History(way)) {
				p.fault(n, f, "%q is not allowed, it must be last (the last message of a session, as it is when left out) or full (its transcript)", way)
			}
			c.History = synadia.History(way)
		},
	})
	c.Inactivity, c.MaxWait = time.Duration(inactivity), time.Duration(wait)
	if len(p.errs) > before {
		return c
	}
	if (c.Context == "") == (c.URL == "") {
		p.fault(n, field, "it must have either context, a NATS context, or url, such as nats://nats.example.com:4222")
	}
	for name, v := range map[string]string{"agent": c.Agent, "owner": c.Owner, "name": c.Name} {
		if !synadia.ValidToken(v) {
			p.fault(n, field+"."+name, "%q is not allowed, it must match [a-z0-9_-]{1,63}; $SRV.INFO.agents on NATS tells those of each agent", v)
		}
	}
	return c
}

func (p remoteParser) flag(n *yaml.Node, field string, to *bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(to) != nil {
		p.fault(n, field, "%q is not allowed, it must be true or false", n.Value)
	}
}

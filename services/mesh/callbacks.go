package main

import (
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/egress"
	"agentmesh/shared/secret"
)

// callbackConfig is what gateways and notifiers share: where callbacks may go,
// and the key of their secrets.
type callbackConfig struct {
	egress egress.Config
	secret secretConfig

	keeper *secret.Keeper // once it is known
}

func (c *callbackConfig) settings() []any { return []any{&c.egress, &c.secret} }

// guard makes the guard of the policy, which sends nothing to the ports of this
// process.
func (c *callbackConfig) guard(at *ports) (*egress.Guard, error) {
	policy, err := c.egress.Policy()
	if err != nil {
		return nil, cli.Misuse(err)
	}
	g := egress.New(policy, nil)
	for _, l := range at.open {
		g.DenyOwn(l.Addr())
	}
	return g, nil
}

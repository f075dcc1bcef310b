package main

import (
	_ "embed"
	"os"

	"agentmesh/services/mesh/cli"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/llm/llmtest"
)

// demoFile has the agent of --demo-llm.
//
//go:embed demo-llm.yaml
var demoFile []byte

// demoModel says whether an agent with a scripted model is served.
type demoModel struct {
	On bool `flag:"demo-llm" env:"MESH_DEMO_LLM" help:"serve the agent assistant as well, whose model is a script: how an llm agent works, without a key"`
}

// agents are those of the demo, none without it.
func (d demoModel) agents(file string, o agents.Options) (all []agent.Agent, err error) {
	if !d.On {
		return nil, nil
	}
	if file != "" {
		return nil, cli.Usage("demo-llm is served with the sample agents: leave out --agents")
	}
	specs, err := agents.Parse("demo-llm.yaml", demoFile, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	o.Models = llmtest.New(llmtest.Demo)
	for _, s := range specs {
		a, err := s.Agent(o)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

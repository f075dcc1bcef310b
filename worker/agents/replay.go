package agents

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"agentmesh/worker/agent"
	"agentmesh/worker/agent/agenttest"
)

// Past is a task that has run before, and Report what the agents of a file make of it.
type (
	Past     = agenttest.Past
	PastStep = agenttest.Step
	PastCall = agenttest.Call
	// StepFailure is why a step failed for good.
	StepFailure = agent.LineError
	Report      = agenttest.Report
)

// ReplayVariable is set in the environment of a program that is run by Replay.
const ReplayVariable = "MESH_REPLAY"

// Replay runs the agent of a task, as a file has it, over what the task had finished. A
// program is really run, until it does the first thing that is new; a service is not.
func Replay(ctx context.Context, path string, past Past) (Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Report{}, fmt.Errorf("read agents: %w", err)
	}
	specs, err := Parse(path, text, os.LookupEnv)
	if err != nil {
		return Report{}, err
	}
	i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == past.Agent })
	if i < 0 {
		return Report{}, fmt.Errorf("%s has no agent %s, which task %s is of", path, past.Agent, past.TaskID)
	}
	s := specs[i]
	switch {
	case s.HTTP != nil, s.MCP != nil, s.A2A != nil:
		return Report{}, fmt.Errorf("agent %s is a service that runs elsewhere: it cannot be run over the steps of a task here", s.Name)
	case s.Exec != nil && !s.Exec.Steps:
		return Report{}, fmt.Errorf("agent %s keeps no steps: it has no protocol: steps", s.Name)
	case s.Exec != nil:
		c := *s.Exec
		if c.Env = maps.Clone(c.Env); c.Env == nil {
			c.Env = map[string]string{}
		}
		c.Env[ReplayVariable] = "1"
		s.Exec = &c
	}
	a, err := s.Agent(Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Report{}, fmt.Errorf("agent %s: %w", s.Name, err)
	}
	return agenttest.Replay(ctx, a.Handler, past), nil
}

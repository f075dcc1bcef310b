package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"agentmesh/shared/task"
)

// Limiter is a Caller that bounds what the called task may use, and knows the agents of
// the mesh. The worker is one.
type Limiter interface {
	CallWithin(ctx context.Context, agent string, input json.RawMessage, within task.Within) (json.RawMessage, task.Usage, error)
	Describe(ctx context.Context, agent string) (Definition, error)
}

// CallWithin is Call, with a bound on what the called task may use of models, its own
// children included. It returns what it has used, also beside an error.
func (j *Job) CallWithin(ctx context.Context, agent string, input any, within task.Within) (json.RawMessage, task.Usage, error) {
	c, ok := j.caller.(Limiter)
	if !ok {
		raw, err := j.Call(ctx, agent, input)
		return raw, task.Usage{}, err
	}
	raw, err := encode(input)
	if err != nil {
		return nil, task.Usage{}, Permanent(fmt.Errorf("call %s: encode the input: %w", agent, err))
	}
	return c.CallWithin(ctx, agent, raw, within)
}

// Describe is what the mesh knows of an agent.
func (j *Job) Describe(ctx context.Context, agent string) (Definition, error) {
	if c, ok := j.caller.(Limiter); ok {
		return c.Describe(ctx, agent)
	}
	return Definition{Name: agent}, nil
}

// Package echo is the sample agent that gives back what it got, for trying the
// mesh out. An input object may ask it to take its time or to fail:
//
//	{"echo_delay": "2s"}             progress every tenth, then the input
//	{"echo_fail": "why"}             an error that is retried
//	{"echo_fail_permanent": "why"}   an error that is not
//
// In a session it says what the user says; a text that is such an object is
// obeyed.
package echo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Agent is the agent "echo", which also serves tasks that name no agent.
func Agent() agent.Agent {
	return agent.Agent{
		Definition: agent.Definition{
			Name: "echo", Version: "1.0.0", Default: true, Concurrency: 16,
			Greeting:    `Hello! I say what you say. {"echo_delay":"2s"} makes me slow.`,
			Description: "Returns its input, or its instruction. For trying the mesh out: echo_delay, echo_fail and echo_fail_permanent in the input make it slow or fail.",
		},
		Handler: run,
	}
}

// controls are the fields of an input object that echo obeys.
type controls struct {
	Delay         string `json:"echo_delay"`
	Fail          string `json:"echo_fail"`
	FailPermanent string `json:"echo_fail_permanent"`
}

func run(ctx context.Context, job *agent.Job) (any, error) {
	input := job.Input
	if job.Turn != nil {
		input = json.RawMessage(job.Turn.Text())
	}
	var c controls
	if bytes.ContainsAny(input, `_\`) { // a name of theirs has one or the other
		_ = json.Unmarshal(input, &c) // any other input has no controls
	}
	if c.Delay != "" {
		d, err := time.ParseDuration(c.Delay)
		if err != nil {
			return nil, &agent.Error{Code: task.CodeBadInput, Message: `echo_delay is no duration, such as "2s"`, Permanent: true}
		}
		if err := take(ctx, job, d); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Fail != "":
		return nil, errors.New(c.Fail)
	case c.FailPermanent != "":
		return nil, agent.Permanent(errors.New(c.FailPermanent))
	case job.Turn != nil:
		job.Output(job.Turn.Text())
		return agent.Reply{Message: job.Turn.Text()}, nil
	case job.Input == nil:
		return map[string]string{"instruction": job.Instruction}, nil
	case job.Instruction == "":
		return job.Input, nil
	}
	return map[string]any{"instruction": job.Instruction, "input": job.Input}, nil
}

// take spends d in ten steps.
func take(ctx context.Context, job *agent.Job, d time.Duration) error {
	const steps = 10
	tick := time.NewTicker(max(d/steps, time.Microsecond))
	defer tick.Stop()
	for i := range steps {
		select {
		case <-tick.C:
			job.Progress((i+1)*100/steps, "taking time")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

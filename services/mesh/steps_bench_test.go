package main

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"agentmesh/worker/agent"
)

// BenchmarkSteps is the whole path of a task with ten steps of about 200 bytes. Its
// floor makes a publish for each, and keeps no archive.
func BenchmarkSteps(b *testing.B) {
	grid(b, func(b *testing.B, impl string, always bool, clients int) {
		const steps = 10
		if impl == "floor" {
			benchPost(b, benchFloorSteps(b, always, steps).URL, clients, "wait=30", http.StatusOK)
			return
		}
		a := benchEcho()
		a.Handler = func(ctx context.Context, job *agent.Job) (any, error) {
			for range steps {
				_, err := agent.Step(ctx, job, "step", func(context.Context, agent.StepInfo) (json.RawMessage, error) { return job.Input, nil })
				if err != nil {
					return nil, err
				}
			}
			return job.Input, nil
		}
		benchPost(b, benchAgent(b, always, a).URL, clients, "wait=30", http.StatusOK)
	})
}

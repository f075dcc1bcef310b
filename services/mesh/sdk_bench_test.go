package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// BenchmarkClients compares the clients over loopback: ms from the creation of a task to
// its result, and to its first event. curl is beside them, with a process for each call.
func BenchmarkClients(b *testing.B) {
	srv := benchAgent(b, true, meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }))
	c, err := client.New(srv.URL)
	if err != nil {
		b.Fatal(err)
	}
	for _, program := range [][]string{{"python3", "../../gateway/client/python/tests/bench.py"}, {"node", "../../gateway/client/typescript/test/bench.js"}} {
		b.Run(program[0], func(b *testing.B) {
			if _, err := osexec.LookPath(program[0]); err != nil {
				b.Skip(err)
			}
			cmd := osexec.CommandContext(b.Context(), program[0], program[1], fmt.Sprint(b.N))
			cmd.Env = append(os.Environ(), "MESH_URL="+srv.URL)
			out, err := cmd.Output()
			var came map[string]float64
			if err == nil {
				err = json.Unmarshal(out, &came)
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(came["result"], "ms/result")
			b.ReportMetric(came["first_event"], "ms/first-event")
		})
	}
	b.Run("go", func(b *testing.B) {
		var results, events []time.Duration
		for range b.N {
			began := time.Now()
			if _, err := c.Tasks.Create(b.Context(), client.Request{Agent: "echo", Input: json.RawMessage(`1`)}, client.CreateOptions{Wait: 10 * time.Second}); err != nil {
				b.Fatal(err)
			}
			results, began = append(results, time.Since(began)), time.Now()
			v, err := c.Tasks.Create(b.Context(), client.Request{Agent: "echo", Input: json.RawMessage(`1`)}, client.CreateOptions{})
			if err != nil {
				b.Fatal(err)
			}
			for range c.Tasks.Events(b.Context(), v.TaskID) {
				break
			}
			events = append(events, time.Since(began))
		}
		b.ReportMetric(middle(results), "ms/result")
		b.ReportMetric(middle(events), "ms/first-event")
	})
	b.Run("curl", func(b *testing.B) {
		if _, err := osexec.LookPath("curl"); err != nil {
			b.Skip(err)
		}
		var results []time.Duration
		for range b.N {
			began := time.Now()
			out, err := osexec.CommandContext(b.Context(), "curl", "-s", srv.URL+"/tasks", "-H", "Prefer: wait=10", "-H", "Content-Type: application/json", "-d", `{"agent":"echo","input":1}`).Output()
			if err != nil || !strings.Contains(string(out), "completed") {
				b.Fatalf("%s, %v", out, err)
			}
			results = append(results, time.Since(began))
		}
		b.ReportMetric(middle(results), "ms/result")
	})
}

// middle is the median in milliseconds.
func middle(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

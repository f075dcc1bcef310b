package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// BenchmarkFair is a tenant that queues 2,000 tasks of 1 ms for an agent with 8 slots,
// and tenants that come behind it with a task each: how long the task waits, how many
// of the first one's run meanwhile, and how many tasks are worked off in a second.
// With impl=line all are of one tenant, so that they stand in one line.
func BenchmarkFair(b *testing.B) {
	for _, tenants := range []int{1, 10, 100} {
		for _, impl := range []string{"line", "fair"} {
			b.Run(fmt.Sprintf("tenants=%d/impl=%s", tenants, impl), func(b *testing.B) { benchFair(b, tenants, impl == "fair") })
		}
	}
}

// fairRun is one run of the benchmark.
type fairRun struct {
	served  atomic.Int64 // tasks of the first tenant
	started sync.Map     // of others, by their instruction: served, when they began
	left    sync.WaitGroup
}

func (f *fairRun) handle(_ context.Context, job *agent.Job) (any, error) {
	defer f.left.Done()
	if job.Instruction == "big" {
		f.served.Add(1)
	} else {
		f.started.Store(job.Instruction, [2]int64{f.served.Load(), time.Now().UnixNano()})
	}
	<-time.After(time.Millisecond)
	return "done", nil
}

func benchFair(b *testing.B, tenants int, apart bool) {
	const queued = 2000
	run := &fairRun{}
	a := meshtest.Named("works", run.handle)
	a.Concurrency = 8
	_, st := benchParts(b, false, a)
	core := mesh.New(st, mesh.Options{Log: meshtest.Quiet()})
	accept := func(tenant, instruction string) {
		if !apart {
			tenant = "big"
		}
		run.left.Add(1)
		if _, err := core.Tasks.Accept(b.Context(), auth.Caller{Tenant: tenant}, &mesh.Submission{Kind: task.KindTask, Agent: "works", Instruction: instruction}); err != nil {
			b.Fatal(err)
		}
	}
	var waited, passed []int64
	n := 0
	for b.Loop() {
		for range queued {
			accept("big", "big")
		}
		before := map[string][2]int64{}
		for i := range tenants - 1 {
			name := fmt.Sprint("small", i)
			before[name] = [2]int64{run.served.Load(), time.Now().UnixNano()}
			accept(name, name)
		}
		run.left.Wait()
		for name, was := range before {
			began, _ := run.started.LoadAndDelete(name)
			passed, waited = append(passed, began.([2]int64)[0]-was[0]), append(waited, began.([2]int64)[1]-was[1])
		}
		n += queued + tenants - 1
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
	if len(waited) > 0 {
		slices.Sort(waited)
		slices.Sort(passed)
		b.ReportMetric(float64(waited[len(waited)/2])/1e6, "ms/first")
		b.ReportMetric(float64(passed[len(passed)/2]), "others/first")
		b.ReportMetric(float64(passed[len(passed)-1]), "others/worst")
	}
}

package mesh_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// BenchmarkAThousandSchedulesOfTheSameTime is how late the tasks of 1,000 schedules
// are that are due at once, with one gateway. Once is enough: -benchtime 1x.
func BenchmarkAThousandSchedulesOfTheSameTime(b *testing.B) {
	const tenants, each = 20, 50
	nc := natstest.Start(b).Connect(b)
	st, err := store.Open(b.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := st.Registry.Register(b.Context(), task.Definition{Name: "echo"}, "w"); err != nil {
		b.Fatal(err)
	}
	m := mesh.New(st, mesh.Options{Log: quiet()})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() { cancel(); <-ended; m.Close() }()
	of := func(i int) auth.Caller {
		who := auth.Local()
		who.Tenant = fmt.Sprintf("t%d", i)
		return who
	}
	var late []time.Duration
	for b.Loop() {
		at := time.Now().Add(20 * time.Second).Truncate(time.Second)
		for i := range tenants * each {
			spec := schedule.Spec{Every: task.Duration(time.Hour), Anchor: at, Task: &schedule.Work{Work: task.Work{Agent: "echo"}, Input: []byte(`1`)}}
			if _, err := m.Schedules.Create(b.Context(), of(i/each), spec); err != nil {
				b.Fatal(err)
			}
		}
		if time.Now().After(at) {
			b.Fatal("the schedules were not made in time: the machine is too busy")
		}
		natstest.Until(b, "all have started their task", func() bool {
			late = latenesses(b, m, of, tenants, at)
			return len(late) >= tenants*each
		})
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Milliseconds()), "p50-late-ms")
	b.ReportMetric(float64(late[len(late)*99/100].Milliseconds()), "p99-late-ms")
}

// latenesses are how long after a time the tasks were created that are due then.
func latenesses(b *testing.B, m *mesh.Mesh, of func(int) auth.Caller, tenants int, at time.Time) (late []time.Duration) {
	if time.Now().Before(at) {
		return nil
	}
	for i := range tenants {
		page, err := m.Tasks.List(b.Context(), of(i), mesh.Filter{Created: true}, 200, "")
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range page.Tasks {
			if t.ScheduledAt.Equal(at) {
				late = append(late, t.CreatedAt.Sub(at))
			}
		}
	}
	return late
}

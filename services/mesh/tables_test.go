package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"testing"

	"agentmesh/services/mesh/load"
)

var (
	tableRounds = flag.Int("tables", 0, "measure the tables of deploy/BENCHMARKS.md so many times, taking turns; 0: not at all")
	tableTasks  = flag.Int("table-tasks", 10_000, "tasks of each measurement of -tables; a tenth with one client")
)

// rounds are the reports of one setting, one for each round.
type rounds struct {
	sync    string
	clients int
	reports []*benchReport
}

// The whole path and the accept beside the floor, as a table with medians and
// spread. It judges nothing: a machine has neighbours.
func TestBenchmarkTables(t *testing.T) {
	if *tableRounds == 0 {
		t.Skip("measures for minutes: -tables 5")
	}
	var all []*rounds
	for _, sync := range []string{"always", "2m"} {
		for _, clients := range []int{1, 32} {
			all = append(all, &rounds{sync: sync, clients: clients})
		}
	}
	for range *tableRounds {
		for _, s := range all {
			s.measure(t)
		}
	}
	machine, setup := thisMachine(), all[0].reports[0].Setup
	fmt.Printf("\n%s, %d CPUs, %s, nats-server %s, data on %s; medians of %d (smallest to largest), 200 bytes.\n\n", machine.OS, machine.CPUs, machine.Go, setup.NATS, setup.Data, *tableRounds)
	fmt.Println("| | durability | clients | mesh, tasks/s | floor, tasks/s | ratio | p50 ms | p90 ms | p99 ms | p99.9 ms | CPU µs | CPU µs of the floor |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, part := range []struct {
		name string
		of   func(*load.Result) *load.Figures
	}{{"accept", func(r *load.Result) *load.Figures { return r.Accept }}, {"whole path", func(r *load.Result) *load.Figures { return r.WholePath }}} {
		for _, s := range all {
			s.row(part.name, part.of)
		}
	}
}

func (s *rounds) measure(t *testing.T) {
	t.Helper()
	b := benchConfig{workers: 1, gateways: 1, sync: s.sync, dir: t.TempDir()}
	b.Config = load.Config{Agent: "echo", Tasks: *tableTasks, Clients: s.clients, Payload: 200}
	if s.clients == 1 {
		b.Tasks = max(b.Tasks/10, 1)
	}
	r := &benchReport{}
	if err := b.measureOwn(t.Context(), r, &progress{out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	s.reports = append(s.reports, r)
}

func (s *rounds) row(name string, of func(*load.Result) *load.Figures) {
	mesh := func(f func(*load.Figures) float64) []float64 {
		return s.each(func(r *benchReport) float64 { return f(of(&r.Mesh)) })
	}
	base := func(f func(*load.Figures) float64) []float64 {
		return s.each(func(r *benchReport) float64 { return f(of(r.Floor)) })
	}
	rate := func(f *load.Figures) float64 { return f.PerSecond }
	computed := func(f *load.Figures) float64 { return f.CPU }
	ratio := s.each(func(r *benchReport) float64 { return of(&r.Mesh).PerSecond / of(r.Floor).PerSecond })
	fmt.Printf("| %s | sync %s | %d | %s | %s | %s |", name, s.sync, s.clients, spread("%.0f", mesh(rate)), spread("%.0f", base(rate)), spread("%.2f", ratio))
	for _, f := range []func(*load.Figures) float64{
		func(f *load.Figures) float64 { return f.P50 }, func(f *load.Figures) float64 { return f.P90 },
		func(f *load.Figures) float64 { return f.P99 }, func(f *load.Figures) float64 { return f.P999 },
	} {
		fmt.Printf(" %s |", spread("%.2f", mesh(f)))
	}
	fmt.Printf(" %s | %s |\n", spread("%.0f", mesh(computed)), spread("%.0f", base(computed)))
}

func (s *rounds) each(f func(*benchReport) float64) (all []float64) {
	for _, r := range s.reports {
		all = append(all, f(r))
	}
	return all
}

// spread is the median of some figures, with the smallest and the largest.
func spread(form string, all []float64) string {
	slices.Sort(all)
	text := fmt.Sprintf(form, all[len(all)/2])
	if len(all) > 1 {
		text += fmt.Sprintf(" ("+form+" to "+form+")", all[0], all[len(all)-1])
	}
	return text
}

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/services/mesh/load"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

var (
	flatTime  = flag.Duration("flat", 0, "measure what stays the same however much there is, for about this long; 0: not at all")
	flatTasks = flag.Int("flat-tasks", 1000, "tasks of each measurement of -flat")
)

// flatSetting is a mesh with more of something.
type flatSetting struct {
	what              string
	workers, gateways int
	agents            int // that the workers serve beside echo
	fill              func(ctx context.Context, p *flatMesh) error
	cost              time.Duration // about, of fill
}

var flatSettings = []flatSetting{
	{what: "1 worker, 1 gateway, nothing else"},
	{what: "2 workers", workers: 2},
	{what: "4 workers", workers: 4},
	{what: "2 gateways", gateways: 2},
	{what: "1,000 retained", fill: retained(1_000)},
	{what: "200 agents", agents: 199},
	{what: "10,000 sessions", fill: sessions(10_000), cost: 10 * time.Second},
	{what: "5,000 webhooks", fill: webhooks(5_000), cost: 5 * time.Second},
	{what: "100,000 pending", fill: pending(100_000), cost: 20 * time.Second},
	{what: "1,000,000 retained", fill: retained(1_000_000), cost: 2 * time.Minute},
}

// Rates, latencies and CPU of a task stay the same however much there is. It prints
// the figures as a table and judges nothing: a machine has neighbours.
func TestFlat(t *testing.T) {
	if *flatTime == 0 {
		t.Skip("measures for minutes: -flat 8m")
	}
	end := time.Now().Add(*flatTime)
	fmt.Printf("\n%d tasks each, 32 clients, 200 bytes, `--sync 2m`, everything in one process.\n\n", *flatTasks)
	fmt.Println("| | accepted/s | CPU of an accept and its run, µs | whole path/s | p50 ms | p99 ms | CPU µs |\n|---|---|---|---|---|---|---|")
	for _, s := range flatSettings {
		if time.Now().Add(s.cost).After(end) {
			fmt.Printf("| %s | skipped: -flat has no time left | | | | | |\n", s.what)
			continue
		}
		r := measureFlat(t, s)
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %.2f | %.2f | %.0f |\n", s.what, r.Accept.PerSecond, r.Accept.CPU, r.WholePath.PerSecond, r.WholePath.P50, r.WholePath.P99, r.WholePath.CPU)
	}
}

// flatMesh is a mesh that is filled and measured.
type flatMesh struct {
	*ownMesh

	js jetstream.JetStream
	st *store.Store
}

func measureFlat(t *testing.T, s flatSetting) load.Result {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	b := benchConfig{workers: max(s.workers, 1), gateways: max(s.gateways, 1), sync: "2m", agents: s.agents}
	m, err := b.open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if s.fill != nil {
		p := &flatMesh{ownMesh: m}
		if err := p.fill(ctx, s.fill); err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
	}
	key, err := adminKeyIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := load.Run(ctx, load.Config{
		URLs: m.urls, Header: http.Header{"Authorization": {"Bearer " + key.Reveal()}}, Agent: "echo",
		Tasks: *flatTasks, Clients: 32, Payload: 200, CPU: processorTime,
	})
	if err != nil {
		t.Fatalf("%s: %v", s.what, err)
	}
	return r
}

// fill fills the mesh past its gateway, and waits until the notifier has read it all.
func (p *flatMesh) fill(ctx context.Context, with func(context.Context, *flatMesh) error) error {
	nc, err := natsconn.InProcess(p.srv, "fill", p.srv.token(), quiet())
	if err != nil {
		return err
	}
	defer nc.Close()
	if p.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		return err
	}
	if p.st, err = store.Open(ctx, nc, p.cfg.store); err != nil {
		return err
	}
	if err := with(ctx, p); err != nil {
		return err
	}
	select {
	case <-p.js.PublishAsyncComplete():
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("not stored within five minutes")
	}
	fanout, err := p.js.Consumer(ctx, topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		info, err := fanout.Info(ctx)
		if err != nil || info.NumPending == 0 && info.NumAckPending == 0 {
			return err
		}
	}
	return nil
}

func flatTask(agent string, status task.State) *task.Task {
	now := task.Stamp(time.Now())
	t := &task.Task{
		ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindTask, Agent: agent, Status: status,
		CreatedAt: now, Input: task.Value{Inline: json.RawMessage(`{"text":"` + strings.Repeat("0123456789", 18) + `"}`)},
	}
	if status.Terminal() {
		t.Attempt, t.UpdatedAt, t.StartedAt, t.FinishedAt, t.Result = 1, now, now, now, t.Input
	}
	return t
}

// publish stores n messages without waiting for each.
func (p *flatMesh) publish(n int, one func() (subject string, v any)) error {
	for range n {
		subject, v := one()
		data, err := json.Marshal(v)
		if err == nil {
			_, err = p.js.PublishAsync(subject, data, jetstream.WithStallWait(time.Minute))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func retained(n int) func(context.Context, *flatMesh) error {
	return func(_ context.Context, p *flatMesh) error {
		return p.publish(n, func() (string, any) {
			t := flatTask("echo", task.Completed)
			return topology.TaskRecord(t.Tenant, t.ID), t
		})
	}
}

// pending are those of an agent that nobody serves.
func pending(n int) func(context.Context, *flatMesh) error {
	return func(_ context.Context, p *flatMesh) error {
		return p.publish(n, func() (string, any) {
			t := flatTask("away", task.Pending)
			return topology.TaskReady(t.Tenant, t.Agent, t.ID), t
		})
	}
}

func sessions(n int) func(context.Context, *flatMesh) error {
	return func(ctx context.Context, p *flatMesh) error {
		for range n {
			s := session.New(session.NewID(uuid.Must(uuid.NewV7())), "default", "echo", "Hi", time.Now())
			if err := p.st.Sessions.Save(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// webhooks are those that ask for the events of another agent.
func webhooks(n int) func(context.Context, *flatMesh) error {
	return func(ctx context.Context, p *flatMesh) error {
		for range n {
			now := task.Stamp(time.Now())
			e := &webhook.Endpoint{ID: webhook.NewID(uuid.Must(uuid.NewV7())), Tenant: "default", URL: "https://example.com/", Agents: []string{"other"}, CreatedAt: now, UpdatedAt: now}
			if err := p.st.Webhooks.Save(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}
}

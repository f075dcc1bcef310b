package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/mcp"
)

// workerRole is a worker with the agents that it serves.
type workerRole struct {
	worker worker.Config
	agents agentsConfig
	demo   demoModel
	sealed sealConfig // of a process of its own

	served  []agent.Agent
	found   foundGateway
	tools   *mcp.Pool                     // the sessions of MCP servers
	running atomic.Pointer[worker.Worker] // once there is one
}

// load reads the agents; nothing of the mesh is needed for it.
func (r *workerRole) load(log *slog.Logger) (err error) {
	r.found.set, r.found.log = r.agents.Gateway, log
	demo, err := r.demo.agents(r.agents.Agents, r.options(log))
	if err != nil {
		return err
	}
	r.tools = mcp.NewPool(mcp.Options{Log: log, Version: version()})
	r.served, err = agents.Load(r.agents.Agents, r.options(log))
	r.served = append(r.served, demo...)
	if err == nil {
		r.warnOfMissing(log)
	}
	return err
}

// warnOfMissing names agents whose programs are not there: they are served all the same,
// since what is missing may come, and until then their tasks fail.
func (r *workerRole) warnOfMissing(log *slog.Logger) {
	if r.agents.Agents == "" {
		return
	}
	found, err := agents.Check(context.Background(), r.agents.Agents, agents.CheckOptions{})
	if err != nil {
		return // said by who has read the file
	}
	for _, f := range found {
		if f.Err != nil {
			log.Warn("the agent could not be run here: its tasks fail until that is mended", "agent", f.Agent, "part", f.Part, "error", f.Err)
		}
	}
}

func (r *workerRole) options(log *slog.Logger) agents.Options {
	return agents.Options{GatewayURL: r.found.url, Log: log, MCP: r.tools, NATS: dialAgents(log)}
}

// parts makes the worker on an open store, and what reads its agents again.
func (r *workerRole) parts(ctx context.Context, st *store.Store, log *slog.Logger) ([]proc.Part, error) {
	r.found.in(st)
	w, err := worker.New(ctx, r.worker, st, r.served, log)
	if err != nil {
		return nil, err
	}
	r.running.Store(w)
	log.Info("worker pulls", "worker", w.ID(), "agents", len(r.served))
	serve := func(ctx context.Context) error {
		defer r.tools.Close() // once no attempt runs
		return w.Run(ctx)
	}
	return []proc.Part{{Name: "worker", Run: serve}, r.reloading(w, log)}, nil
}

// attempts counts those that run now.
func (r *workerRole) attempts() int {
	if w := r.running.Load(); w != nil {
		return w.Running()
	}
	return 0
}

func workerCommand() *cobra.Command {
	r := &workerRole{worker: worker.Default()}
	return role{
		name: "worker", short: "Run a worker against a NATS server",
		settings: []any{&r.worker, &r.agents, &r.sealed}, drain: &r.worker.Drain, attempts: r.attempts,
		prepare: func(_ *ports, log *slog.Logger) (err error) {
			own := secretConfig{Key: r.sealed.Key, File: r.sealed.File}
			own.seen(log)
			if r.worker.Keeper, err = own.keeper(); err != nil {
				return err
			}
			return r.load(log)
		},
		parts: r.parts,
	}.command()
}

// agentsConfig says which agents a worker serves.
type agentsConfig struct {
	Agents  string `flag:"agents" env:"MESH_AGENTS" help:"agents.yaml; the sample agents when left out. SIGHUP reads it again"`
	Watch   bool   `flag:"watch" env:"MESH_WATCH" help:"read agents.yaml again when it changes"`
	Gateway string `flag:"gateway-url" env:"MESH_GATEWAY_URL" help:"gateway for programs that call the mesh (their MESH_GATEWAY_URL); one that the mesh's gateways name when left out"`
}

const watchEvery = time.Second

// reloading reads the file again on SIGHUP, and with --watch when its text has
// changed. A file with a mistake is reported, and nothing changes. It listens from
// now on: once the gateway answers, a signal or a change is not missed.
func (r *workerRole) reloading(w *worker.Worker, log *slog.Logger) proc.Part {
	c := r.agents
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	seen, _ := os.ReadFile(c.Agents)
	return proc.Part{Name: "agents", Run: func(ctx context.Context) error {
		defer signal.Stop(hup)
		if c.Agents == "" {
			<-ctx.Done()
			return nil
		}
		var tick <-chan time.Time
		if c.Watch {
			t := time.NewTicker(watchEvery)
			defer t.Stop()
			tick = t.C
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hup:
			case <-tick:
				now, err := os.ReadFile(c.Agents)
				if err != nil || bytes.Equal(now, seen) {
					continue // a file that is being replaced may be away for a moment
				}
				seen = now
			}
			all, err := agents.Load(c.Agents, r.options(log))
			if err == nil {
				err = w.Reload(ctx, all)
				r.warnOfMissing(log)
			}
			if err != nil && ctx.Err() == nil {
				log.Error("agents not reloaded, those before go on", "error", err)
			}
		}
	}}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/services/mesh/cli"
	"agentmesh/services/mesh/load"
	"agentmesh/shared/proc"
)

// benchConfig is what `mesh bench` measures.
type benchConfig struct {
	load.Config

	url, key string
	noFloor  bool

	// Of the embedded form.
	workers, gateways int
	agents            int // beside echo
	sync, dir         string
}

// Bounds of a measurement: beyond them it measures the machine of the load, or fills
// its disk.
const (
	mostTasks   = 1_000_000
	mostClients = 1_000
	mostPayload = 1 << 20
	mostBytes   = 4 << 30 // of all tasks
	mostRoles   = 16
)

func benchCommand() *cobra.Command {
	var b benchConfig
	var output string
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure a mesh, or one of its own beside the least code that does the same writes", Args: cli.NoArgs,
		Example: "  mesh bench --sync 2m\n  mesh bench --url https://mesh.example --key @key --tasks 1000",
	}
	p := cmd.Flags()
	p.IntVar(&b.Tasks, "tasks", 5000, "how many tasks; as many once more by clients that wait for the end")
	p.IntVar(&b.Clients, "clients", 32, "how many send at once")
	p.IntVar(&b.Payload, "payload", 200, "bytes of each input")
	p.StringVar(&b.Agent, "agent", "echo", "the agent; one that does nothing, or it is the agent that is measured")
	p.StringVar(&b.url, "url", "", "gateway of a mesh that runs, with --key; a mesh of its own when left out")
	p.StringVar(&b.key, "key", "", "API key for --url; @file to read it from a file (env MESH_API_KEY)")
	p.IntVar(&b.workers, "workers", 1, "workers of its own mesh, 64 slots each")
	p.IntVar(&b.gateways, "gateways", 1, "gateways of its own mesh")
	p.StringVar(&b.sync, "sync", "always", "of its own mesh: always, or an interval such as 2m")
	p.StringVar(&b.dir, "data", "", "folder below which its own mesh keeps its data, until the end; the system's for temporary files when left out")
	p.BoolVar(&b.noFloor, "no-floor", false, "measure the mesh only")
	cli.OutputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmp.Or(cli.CheckOutput(output), b.validate(cmd)); err != nil {
			return err
		}
		draw := &progress{out: cmd.ErrOrStderr(), tasks: b.Tasks}
		b.Progress = draw.step()
		r, err := b.measure(cmd.Context(), draw)
		draw.end()
		if err != nil {
			return b.explain(err)
		}
		if err := cli.Write(cmd.OutOrStdout(), output, r, showBench); err != nil {
			return err
		}
		if r.Mesh.Interrupted {
			return &cli.ExitError{Code: proc.ExitForced}
		}
		if r.Mesh.Backlog != nil && r.Mesh.Backlog.Lost > 0 {
			return fmt.Errorf("%d tasks were not completed; mesh task list --agent %s --status failed,canceled shows them", r.Mesh.Backlog.Lost, b.Agent)
		}
		return nil
	}
	return cmd
}

// validate refuses what would measure nothing.
func (b *benchConfig) validate(cmd *cobra.Command) error {
	for _, n := range []struct {
		name             string
		is, least, limit int
	}{{"tasks", b.Tasks, 1, mostTasks}, {"clients", b.Clients, 1, mostClients}, {"payload", b.Payload, 0, mostPayload}, {"workers", b.workers, 1, mostRoles}, {"gateways", b.gateways, 1, mostRoles}} {
		if n.is < n.least || n.is > n.limit {
			return cli.Usage("%s is %d, allowed is %d to %d", n.name, n.is, n.least, n.limit)
		}
	}
	if b.Tasks*b.Payload > mostBytes {
		return cli.Usage("%d tasks of %d bytes are more than 4 GiB: choose fewer --tasks or a smaller --payload", b.Tasks, b.Payload)
	}
	b.Clients = min(b.Clients, b.Tasks)
	if b.url == "" {
		if b.key != "" {
			return cli.Usage("--key is for --url: a mesh of its own has its own key")
		}
		if b.Agent != "echo" {
			return cli.Usage("--agent is for --url: a mesh of its own serves echo only")
		}
		return nil
	}
	for _, name := range []string{"workers", "gateways", "sync", "data"} {
		if cmd.Flags().Changed(name) {
			return cli.Usage("--%s is for a mesh of its own, not for --url", name)
		}
	}
	if _, err := client.New(b.url); err != nil {
		return cli.Misuse(err)
	}
	return nil
}

// measure measures the mesh that is asked for, and its floor where there can be one.
func (b *benchConfig) measure(ctx context.Context, draw *progress) (*benchReport, error) {
	r := &benchReport{Load: benchLoad{b.Tasks, b.Clients, b.Payload, b.Agent}, Machine: thisMachine()}
	if b.url == "" {
		return r, b.measureOwn(ctx, r, draw)
	}
	key, err := cli.Credential("key", b.key)
	if err != nil {
		return nil, err
	}
	b.URLs, b.Header = []string{strings.TrimSuffix(b.url, "/")}, http.Header{}
	if key != "" {
		b.Header.Set("Authorization", "Bearer "+key)
	}
	if err := r.Setup.ask(ctx, b.URLs[0], b.Header); err != nil {
		return nil, err
	}
	r.Setup.Floor = "not measured: it needs the NATS server itself"
	draw.side = "mesh"
	r.Mesh, err = load.Run(ctx, b.Config)
	return r, err
}

// explain says what to do about an answer that ended the measurement.
func (b *benchConfig) explain(err error) error {
	var refused *load.Refused
	if !errors.As(err, &refused) {
		return err
	}
	switch {
	case refused.Code == "agent_not_found":
		return fmt.Errorf("the mesh has no agent %q: choose one that does nothing with --agent, or have a worker serve the sample agents (mesh worker without --agents), which have echo: %w", b.Agent, err)
	case refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w; show an API key with --key @file or MESH_API_KEY", err)
	case refused.Status == http.StatusTooManyRequests:
		return fmt.Errorf("%w; a limit was measured, not the mesh: raise it for this tenant (mesh tenants set), or choose fewer --clients and --tasks", err)
	}
	return err
}

// progress draws how far a measurement is, on a terminal only.
type progress struct {
	out   io.Writer
	tasks int
	side  string // mesh, or floor
	drawn atomic.Int64
	used  bool
}

const drawEvery = 100 * time.Millisecond

// step returns what is called as tasks are answered, nil where nothing is drawn.
func (p *progress) step() func(part string, done int) {
	if !cli.IsTerminal(p.out) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	p.used = true
	return func(part string, done int) {
		now, last := time.Now().UnixNano(), p.drawn.Load()
		if now-last < int64(drawEvery) && done < p.tasks || !p.drawn.CompareAndSwap(last, now) {
			return
		}
		const width = 30
		full := min(width*done/p.tasks, width)
		fmt.Fprintf(p.out, "\r%-6s %-10s [%s%s] %d of %d\x1b[K", p.side, part, strings.Repeat("=", full), strings.Repeat(" ", width-full), done, p.tasks)
	}
}

// end takes the line away.
func (p *progress) end() {
	if p.used {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

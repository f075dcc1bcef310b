//go:build unix

// Package fleet runs a mesh as what it is in production: a cluster of NATS
// servers and several processes of each role, on loopback. Each of them can be
// killed, frozen, ended and started again, at the same addresses and on the same
// data. Only tests and `make cluster` use it.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"agentmesh/shared/pause"
)

// Options say how large a fleet is, and of what.
type Options struct {
	Dir                          string // of the data, the configurations and the logs
	Mesh, NATS                   string // the programs; see Build
	Nodes                        int    // NATS servers
	Gateways, Workers, Notifiers int
	Lease                        time.Duration // of the workers; 0: the default
	WorkerArgs                   []string      // of each worker
	Disks                        []string      // folders for the stores of the first nodes; empty: in Dir
	Detached                     bool          // the fleet outlives this process
}

// Default is the fleet of `make cluster`.
func Default() Options { return Options{Nodes: 3, Gateways: 2, Workers: 3, Notifiers: 2} }

// Fleet is the processes of a mesh.
type Fleet struct {
	Nodes, Gateways, Workers, Notifiers []*Member

	opts Options
}

// Build builds the programs of a fleet into dir: mesh from this tree, and the NATS
// server of the version in go.mod.
func Build(ctx context.Context, dir string) (mesh, nats string, err error) {
	mesh, nats = filepath.Join(dir, "mesh"), filepath.Join(dir, "nats-server")
	for file, pkg := range map[string]string{mesh: "agentmesh/services/mesh", nats: "github.com/nats-io/nats-server/v2"} {
		out, err := exec.CommandContext(ctx, "go", "build", "-o", file, pkg).CombinedOutput()
		if err != nil {
			return "", "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return mesh, nats, nil
}

// Start starts a fleet and waits until every member is ready. Nothing is left
// running after an error.
func Start(ctx context.Context, opts Options) (*Fleet, error) {
	f := &Fleet{opts: opts}
	if err := f.plan(); err != nil {
		return nil, err
	}
	for _, group := range [][]*Member{f.Nodes, f.Gateways, append(f.Workers[:len(f.Workers):len(f.Workers)], f.Notifiers...)} {
		for _, m := range group {
			if err := m.Start(); err != nil {
				f.Kill()
				return nil, err
			}
		}
		for _, m := range group {
			if err := m.Ready(ctx); err != nil {
				f.Kill()
				return nil, err
			}
		}
	}
	return f, nil
}

// Members are all processes of the fleet, the NATS servers first.
func (f *Fleet) Members() []*Member {
	var all []*Member
	for _, group := range [][]*Member{f.Nodes, f.Gateways, f.Workers, f.Notifiers} {
		all = append(all, group...)
	}
	return all
}

// NATSURL names every node.
func (f *Fleet) NATSURL() string { return natsURL(f.Nodes) }

func natsURL(nodes []*Member) string {
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.URL)
	}
	return strings.Join(urls, ",")
}

// Stop ends the roles, then the servers, each within grace.
func (f *Fleet) Stop(grace time.Duration) error {
	var faults []error
	for _, group := range [][]*Member{append(append(f.Gateways[:len(f.Gateways):len(f.Gateways)], f.Workers...), f.Notifiers...), f.Nodes} {
		for _, m := range group {
			m.signalEnd()
		}
		for _, m := range group {
			faults = append(faults, m.await(grace))
		}
	}
	return errors.Join(faults...)
}

// Kill kills every process.
func (f *Fleet) Kill() {
	for _, m := range f.Members() {
		m.Kill()
	}
}

// plan chooses the addresses and writes the configurations.
func (f *Fleet) plan() error {
	if err := os.MkdirAll(f.opts.Dir, 0o755); err != nil {
		return fmt.Errorf("plan fleet: %w", err)
	}
	ports, err := freePorts(3*f.opts.Nodes + 2*f.opts.Gateways + f.opts.Workers + f.opts.Notifiers)
	if err != nil {
		return fmt.Errorf("plan fleet: %w", err)
	}
	next := func() string { p := ports[0]; ports = ports[1:]; return p }
	clients, routes, monitors := make([]string, f.opts.Nodes), make([]string, f.opts.Nodes), make([]string, f.opts.Nodes)
	for i := range f.opts.Nodes {
		clients[i], routes[i], monitors[i] = next(), next(), next()
	}
	for i := range f.opts.Nodes {
		n := f.member("node", i, f.opts.NATS)
		n.URL, n.health = "nats://"+clients[i], "http://"+monitors[i]+"/healthz"
		file := filepath.Join(f.opts.Dir, n.Name+".conf")
		n.args = []string{"-c", file}
		n.Store = filepath.Join(f.opts.Dir, n.Name)
		if i < len(f.opts.Disks) {
			n.Store = f.opts.Disks[i]
		}
		if err := os.WriteFile(file, nodeConfig(n.Name, n.Store, clients[i], routes[i], monitors[i], routes), 0o600); err != nil {
			return fmt.Errorf("plan fleet: %w", err)
		}
		f.Nodes = append(f.Nodes, n)
	}
	gateway := ""
	for i := range f.opts.Gateways {
		g := f.role("gateway", i, next())
		address := next()
		g.URL, gateway = "http://"+address, "http://"+address
		g.args = append(g.args, "--http", address, "--allow-private-callbacks", "127.0.0.0/8")
		f.Gateways = append(f.Gateways, g)
	}
	for i := range f.opts.Workers {
		w := f.role("worker", i, next())
		w.args = append(w.args, f.opts.WorkerArgs...)
		if gateway != "" {
			w.args = append(w.args, "--gateway-url", gateway)
		}
		if f.opts.Lease > 0 {
			w.args = append(w.args, "--lease", f.opts.Lease.String())
		}
		f.Workers = append(f.Workers, w)
	}
	for i := range f.opts.Notifiers {
		n := f.role("notifier", i, next())
		n.args = append(n.args, "--allow-private-callbacks", "127.0.0.0/8")
		f.Notifiers = append(f.Notifiers, n)
	}
	return nil
}

func (f *Fleet) member(kind string, i int, program string) *Member {
	name := fmt.Sprintf("%s%d", kind, i+1)
	return &Member{Name: name, Log: filepath.Join(f.opts.Dir, name+".log"), program: program, detached: f.opts.Detached}
}

// role is a process of a role of the mesh. Its NATS servers are in an order of its
// own, so that the members of a role do not all hang on one server.
func (f *Fleet) role(kind string, i int, admin string) *Member {
	m := f.member(kind, i, f.opts.Mesh)
	first := i % max(len(f.Nodes), 1)
	servers := append(append([]*Member(nil), f.Nodes[first:]...), f.Nodes[:first]...)
	m.env = []string{"NATS_URL=" + natsURL(servers)}
	m.health = "http://" + admin + "/healthz"
	m.args = []string{kind, "--admin", admin, "--replicas", fmt.Sprint(min(3, len(f.Nodes))), "--log-format", "json"}
	return m
}

// nodeConfig is that of one NATS server: sync always, as the manual has it.
func nodeConfig(name, dir, client, route, monitor string, routes []string) []byte {
	var others []string
	for _, r := range routes {
		others = append(others, "nats-route://"+r)
	}
	list, _ := json.Marshal(others)
	return fmt.Appendf(nil, `server_name: %q
listen: %q
http: %q
max_payload: 4MB
jetstream { store_dir: %q, sync_interval: always }
cluster { name: mesh, listen: %q, routes: %s }
`, name, client, monitor, dir, route, list)
}

// freePorts are addresses on loopback that are free now.
func freePorts(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// Ready waits until a member answers that it is well.
func (m *Member) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := m.Health(ctx)
		switch {
		case err == nil:
			return nil
		case m.Ended():
			return fmt.Errorf("%s ended: %s", m.Name, m.lastWords())
		case !pause.For(ctx, 50*time.Millisecond):
			return fmt.Errorf("%s is not ready: %w: %s", m.Name, err, m.lastWords())
		}
	}
}

// Health asks a member once; nil: it is well.
func (m *Member) Health(ctx context.Context) error {
	url := m.health
	if strings.HasPrefix(m.Name, "gateway") {
		url = m.URL + "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("it answers %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return nil
}

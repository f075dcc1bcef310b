//go:build unix

// The program fleet runs a mesh as separate processes on this machine, for
// `make cluster`: three NATS servers and several processes of each role. `start`
// leaves them running and prints their addresses, `stop` ends them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/pause"
	"agentmesh/shared/proc"
)

func main() {
	ctx, stop := proc.Context(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("say start or stop, and the folder of the fleet")
	}
	dir, err := filepath.Abs(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "start":
		return start(ctx, dir, out)
	case "stop":
		return stop(ctx, dir, out)
	}
	return fmt.Errorf("%q is neither start nor stop", args[0])
}

// running is what a folder remembers of its fleet: names and process ids.
type running []struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
}

func start(ctx context.Context, dir string, out io.Writer) error {
	if _, err := read(dir); err == nil {
		return fmt.Errorf("a fleet runs in %s: end it with make cluster-stop", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	opts := fleet.Default()
	opts.Dir, opts.Detached = dir, true
	var err error
	if opts.Mesh, opts.NATS, err = fleet.Build(ctx, dir); err != nil {
		return err
	}
	f, err := fleet.Start(ctx, opts)
	if err != nil {
		return err
	}
	if err := served(ctx, f.Gateways, "echo", "travel"); err != nil {
		f.Kill()
		return err
	}
	all := running{}
	var addresses strings.Builder
	for _, m := range f.Members() {
		all = append(all, running{{m.Name, m.PID()}}...)
		_, _ = fmt.Fprintf(&addresses, "%-10s process %-7d %s\n", m.Name, m.PID(), m.URL)
	}
	_, _ = io.WriteString(out, addresses.String())
	raw, err := json.Marshal(all)
	if err == nil {
		err = errors.Join(os.WriteFile(list(dir), raw, 0o600), os.WriteFile(filepath.Join(dir, "addresses"), []byte(addresses.String()), 0o600))
	}
	if err != nil {
		f.Kill()
		return err
	}
	_, _ = fmt.Fprintf(out, "\nNATS_URL=%s\nlogs and data in %s; make cluster-stop ends it\n\ncurl -s %s/tasks -H 'Content-Type: application/json' -d '{\"agent\":\"echo\",\"instruction\":\"hello\"}'\n",
		f.NATSURL(), dir, f.Gateways[0].URL)
	return nil
}

// served waits until every gateway knows the agents: a worker that lives has not
// registered them yet.
func served(ctx context.Context, gateways []*fleet.Member, agents ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, g := range gateways {
		for _, agent := range agents {
			for !known(ctx, g.URL+"/agents/"+agent) {
				if !pause.For(ctx, 50*time.Millisecond) {
					return fmt.Errorf("%s does not know the agent %s: %w", g.Name, agent, ctx.Err())
				}
			}
		}
	}
	return nil
}

func known(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func list(dir string) string { return filepath.Join(dir, "fleet.json") }

func read(dir string) (all running, err error) {
	raw, err := os.ReadFile(list(dir))
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(raw, &all)
}

// stop ends the roles first, then the servers, and removes the folder.
func stop(ctx context.Context, dir string, out io.Writer) error {
	all, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := fmt.Fprintln(out, "no fleet runs in", dir)
		return err
	}
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- { // the servers stand first
		if err := end(ctx, all[i].PID); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", all[i].Name, err)
		}
	}
	return os.RemoveAll(dir)
}

// end has a process end within 40 s, and kills it then.
func end(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for until := time.Now().Add(40 * time.Second); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(until) || !pause.For(ctx, 50*time.Millisecond) {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return nil
}

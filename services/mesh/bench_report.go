package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/gateway/api"
	"agentmesh/services/mesh/load"
)

// benchReport is what `mesh bench` tells: no figure without what it was measured on.
type benchReport struct {
	Machine machine     `json:"machine"`
	Setup   benchSetup  `json:"mesh"`
	Load    benchLoad   `json:"load"`
	Mesh    load.Result `json:"measured"`

	Floor *load.Result `json:"floor,omitempty"`
	Ratio *benchRatio  `json:"ratio,omitempty"` // of the mesh to the floor
}

// machine is where the load ran; of a mesh of its own also the mesh.
type machine struct {
	OS   string `json:"os"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

func thisMachine() machine {
	return machine{runtime.GOOS + "/" + runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version()}
}

// benchSetup is the mesh that was measured.
type benchSetup struct {
	Where      string `json:"where"`
	Version    string `json:"version"`
	Commit     string `json:"commit"`
	NATS       string `json:"nats_server"`
	Durability string `json:"durability"`
	Data       string `json:"data,omitempty"` // the kind of file system
	Gateways   int    `json:"gateways,omitempty"`
	Workers    int    `json:"workers,omitempty"`
	Floor      string `json:"floor"`
	MemoryMB   int64  `json:"resident_mb,omitempty"` // of the process, at the end
}

type benchLoad struct {
	Tasks   int    `json:"tasks"`
	Clients int    `json:"clients"`
	Payload int    `json:"payload_bytes"`
	Agent   string `json:"agent"`
}

type benchRatio struct {
	Accept    float64 `json:"accept"`
	WholePath float64 `json:"whole_path"`
}

// ask finds out what a mesh that runs is.
func (s *benchSetup) ask(ctx context.Context, url string, header http.Header) error {
	s.Where = url
	var v api.Version
	if err := ask(ctx, url+"/version", header, &v); err != nil {
		return fmt.Errorf("no gateway at %s: %w", url, err)
	}
	s.Version, s.Commit, s.NATS = v.Version, v.Commit, v.NATS
	var ready api.Readiness
	if err := ask(ctx, url+"/readyz", header, &ready); err != nil {
		return fmt.Errorf("ask what the mesh is made of: %w", err)
	}
	if s.Durability = ready.Durability; s.Durability == "" {
		s.Durability = "that of the NATS cluster, which the gateway does not know"
	}
	return nil
}

func ask(ctx context.Context, url string, header http.Header, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(answer)
}

// own is the setup of a mesh in this process.
func (b *benchConfig) own(dir string) benchSetup {
	return benchSetup{
		Where: "in this process, with the load", Version: version(), Commit: commit(), NATS: server.VERSION, Durability: "sync " + b.sync,
		Data: fileSystem(dir), Gateways: b.gateways, Workers: b.workers, Floor: "not measured",
	}
}

// fileSystem is the kind of the file system that a folder is on, where the system
// tells: one in memory makes every sync free.
func fileSystem(dir string) (kind string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	longest := ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 2 && strings.HasPrefix(dir+"/", strings.TrimSuffix(f[1], "/")+"/") && len(f[1]) >= len(longest) {
			longest, kind = f[1], f[2]
		}
	}
	return kind
}

func (r *benchReport) compare() {
	if r.Floor == nil || r.Mesh.WholePath == nil || r.Floor.WholePath == nil || r.Mesh.Interrupted {
		return
	}
	r.Ratio = &benchRatio{r.Mesh.Accept.PerSecond / r.Floor.Accept.PerSecond, r.Mesh.WholePath.PerSecond / r.Floor.WholePath.PerSecond}
}

func showBench(out io.Writer, r *benchReport) error {
	s := r.Setup
	fmt.Fprintf(out, "load     %d tasks of %d bytes for %s, %d clients; %s, %d CPUs, %s\n", r.Load.Tasks, r.Load.Payload, r.Load.Agent, r.Load.Clients, r.Machine.OS, r.Machine.CPUs, r.Machine.Go)
	fmt.Fprintf(out, "mesh     %s; %s (%s), nats-server %s\n", s.Where, s.Version, s.Commit, s.NATS)
	if s.Workers > 0 {
		fmt.Fprintf(out, "parts    gateways: %d, workers: %d, notifiers: 1; authentication on, tracing off\n", s.Gateways, s.Workers)
	}
	durability := s.Durability
	if s.Data != "" {
		durability += ", data on " + s.Data
	}
	fmt.Fprintf(out, "a 202    %s\n\n", durability)
	if err := r.table(out); err != nil {
		return err
	}
	for _, line := range r.notes() {
		fmt.Fprintln(out, line)
	}
	return nil
}

// table writes the figures.
func (r *benchReport) table(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "part\ttasks\ttasks/s\tp50 ms\tp90\tp99\tp99.9\tmax\tCPU µs/task\t")
	sides := []struct {
		who string
		m   *load.Result
	}{{"", &r.Mesh}, {"floor: ", r.Floor}}
	for _, side := range sides {
		if side.m == nil {
			continue
		}
		row(t, side.who+load.PartAccept, side.m.Accept)
		if b := side.m.Backlog; b != nil {
			fmt.Fprintf(t, "%s%s\t%d\t%.0f\t\t\t\t\t\t\t\n", side.who, load.PartBacklog, b.Completed, b.PerSecond)
		}
		row(t, side.who+load.PartWhole, side.m.WholePath)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func row(t io.Writer, name string, f *load.Figures) {
	if f != nil {
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t\n", name, f.Tasks, f.PerSecond, f.P50, f.P90, f.P99, f.P999, f.Max, f.CPU)
	}
}

// notes say what the figures do not.
func (r *benchReport) notes() (lines []string) {
	s := r.Setup
	if r.Ratio != nil {
		lines = append(lines, fmt.Sprintf("the mesh reaches %.2f of the floor in accepting, %.2f on the whole path", r.Ratio.Accept, r.Ratio.WholePath))
	} else {
		lines = append(lines, "the floor, the least code that does the same writes, was "+s.Floor)
	}
	if s.MemoryMB > 0 {
		lines = append(lines, fmt.Sprintf("resident memory of this process at the end: %d MB", s.MemoryMB))
	}
	if r.Mesh.Interrupted {
		lines = append(lines, fmt.Sprintf("interrupted: these are the figures so far; %d tasks that had not ended were canceled", r.Mesh.Canceled))
	}
	if s.Workers == 0 {
		lines = append(lines, "the records of the tasks stay in that mesh for as long as it keeps any")
	}
	return lines
}

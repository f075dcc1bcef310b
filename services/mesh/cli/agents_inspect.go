package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/worker/agents/inspect"
	"agentmesh/worker/agents/synadia"
)

// inspection is what mesh agents inspect prints.
type inspection struct {
	OK        bool             `json:"ok"` // no fault
	Inspected []inspect.Report `json:"inspected"`
}

// inspector is one inspection.
type inspector struct {
	f       *clientFlags
	dial    synadia.Dial
	place   synadia.Place
	as      string
	headers []string
	wait    time.Duration
}

func agentsInspectCommand(f *clientFlags, nats synadia.Dial) *cobra.Command {
	i := &inspector{f: f, dial: nats}
	cmd := &cobra.Command{
		Use: "inspect URL|NAME", Short: "Check the card of an A2A agent, an MCP server or an agent on NATS against its specification",
		Long: `Read an agent as its clients do, and say row by row what is not as its specification
has it. Nothing is begun: only what reads, or what must be refused, is sent.

  https://...        an A2A 1.0 card (its address or the base of it), or an MCP server
  nats://...         all agents on that NATS (Synadia Agent Protocol 0.3)
  AGENT.OWNER.NAME   agents on NATS, at --nats-url, --nats-context or NATS_URL
  NAME               an agent of the mesh: its card, its MCP server, and where NATS is
                     named its face there

Exit status: 0 no fault (there may be warnings), 1 a fault, 2 the command line is wrong.`,
		Example: "  mesh agents inspect https://agents.example.com/research/\n  mesh agents inspect https://tools.example.com/mcp --header @headers.txt -o json\n  mesh agents inspect claude-code.alice.repo --nats-url nats://127.0.0.1:4222 --wait 35s\n  mesh agents inspect echo",
		Args:    one("URL or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.curl {
				return Usage("mesh agents inspect makes requests that depend on the answers before: there is no --curl of it")
			}
			if err := CheckOutput(f.output); err != nil {
				return err
			}
			all, err := i.look(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			found := inspection{OK: !slices.ContainsFunc(all, func(r inspect.Report) bool { return !r.OK }), Inspected: all}
			if err := write(cmd.OutOrStdout(), f.output, found, showInspection); err != nil {
				return err
			}
			return failedIf(!found.OK)
		},
	}
	p := cmd.Flags()
	p.StringVar(&i.as, "as", "", "a2a or mcp: what a URL is, which is found out when left out")
	p.StringArrayVar(&i.headers, "header", nil, "header for the host of the URL, \"Name: value\"; @file reads some from a file, a line each")
	p.DurationVar(&i.wait, "wait", 0, "how long a heartbeat of an agent on NATS is waited for, such as 35s; none is when left out")
	bindPlace(cmd, &i.place, "nats-context")
	completeFlag(cmd, "as", words("a2a", "mcp"))
	return completes(cmd, someAgents)
}

// bindPlace binds the flags that say where NATS is.
func bindPlace(cmd *cobra.Command, p *synadia.Place, context string) {
	f := cmd.Flags()
	f.StringVar(&p.URL, "nats-url", "", "NATS servers, separated by commas (env NATS_URL)")
	f.StringVar(&p.Context, context, "", "NATS context to connect with (env NATS_CONTEXT)")
	f.StringVar(&p.Creds, "nats-creds", "", "credentials file for NATS (env NATS_CREDS)")
	f.StringVar(&p.NKey, "nats-nkey", "", "NKey seed file for NATS (env NATS_NKEY)")
}

// look inspects what the argument names.
func (i *inspector) look(ctx context.Context, what string) ([]inspect.Report, error) {
	u, err := url.Parse(what)
	if err != nil || u.Scheme == "" {
		if strings.Count(what, ".") >= 2 {
			return i.onNATS(ctx, what)
		}
		return i.ofMesh(ctx, what)
	}
	switch u.Scheme {
	case "http", "https":
		one, err := i.overHTTP(ctx, what)
		return []inspect.Report{one}, err
	case "nats", "tls", "ws", "wss":
		i.place.URL = what
		return i.onNATS(ctx, "")
	}
	return nil, Usage("%s has the scheme %s; there are http, https, nats, tls, ws and wss", inspect.Place(what), u.Scheme)
}

// overHTTP inspects a URL.
func (i *inspector) overHTTP(ctx context.Context, what string) (r inspect.Report, err error) {
	t := inspect.Target{URL: what}
	if t.Headers, err = readHeaders(i.headers); err != nil {
		return r, err
	}
	if err := t.Check(); err != nil {
		return r, Usage("%s: %w", inspect.Place(what), err)
	}
	switch i.as {
	case "":
		return t.Any(ctx), nil
	case string(inspect.A2A):
		return t.Card(ctx), nil
	case string(inspect.MCP):
		return t.MCP(ctx), nil
	}
	return r, Usage("--as is %q, allowed are a2a and mcp", i.as)
}

func readHeaders(given []string) (http.Header, error) {
	all := http.Header{}
	for _, one := range given {
		text, err := textFlag("header", one, nil)
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			name, value, ok := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, Usage("--header: it must be \"Name: value\"")
			}
			all.Add(name, strings.TrimSpace(value))
		}
	}
	return all, nil
}

// ofMesh inspects the faces of an agent of the mesh, through its gateway.
func (i *inspector) ofMesh(ctx context.Context, name string) ([]inspect.Report, error) {
	if err := i.f.resolve(); err != nil {
		return nil, err
	}
	way, err := i.f.secure.http()
	if err != nil {
		return nil, err
	}
	t := inspect.Target{Client: way, Headers: http.Header{}}
	if i.f.key != "" {
		t.Headers.Set("Authorization", "Bearer "+i.f.key)
	}
	if i.f.tenant != "" {
		t.Headers.Set("Mesh-Tenant", i.f.tenant)
	}
	base := strings.TrimSuffix(i.f.gateway, "/") + "/agents/" + url.PathEscape(name)
	t.URL = base + "/a2a"
	card := t.Card(ctx)
	t.URL = base + "/mcp"
	all := []inspect.Report{card, t.MCP(ctx)}
	if i.place == (synadia.Place{}) && os.Getenv("NATS_URL") == "" && os.Getenv("NATS_CONTEXT") == "" {
		return all, nil
	}
	more, err := i.onNATS(ctx, "agentmesh.*."+name)
	return append(all, more...), err
}

// onNATS inspects the agents whose names match; empty: all.
func (i *inspector) onNATS(ctx context.Context, names string) ([]inspect.Report, error) {
	names = strings.TrimPrefix(names, "agents.prompt.")
	conn, err := i.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	at := conn.Place()
	all, err := inspect.Agents(ctx, conn, at, names, i.wait)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no agent %s answers on NATS at %s; mesh agents discover lists those that do", names, at)
		if names == "" {
			err = fmt.Errorf("no agent answers on NATS at %s", at)
		}
	}
	return all, err
}

func (i *inspector) connect(ctx context.Context) (*synadia.Conn, error) {
	if i.dial == nil {
		return nil, errors.New("agents on NATS are not reached from here")
	}
	conn, _, err := i.dial(ctx, i.place)
	return conn, err
}

// showInspection writes reports for people.
func showInspection(out io.Writer, found inspection) error {
	n := map[inspect.Status]int{}
	for _, r := range found.Inspected {
		fmt.Fprintf(out, "%s %s %s\n", r.Kind, oneLine(r.At, 0), oneLine(r.Name, 128))
		t := newTable(out)
		for _, row := range r.Rows {
			n[row.Status]++
			t.row(row.Status, row.Check, row.Says)
		}
		if err := t.flush(); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "%d good, %d warnings, %d faults, %d skipped\n", n[inspect.Good], n[inspect.Warning], n[inspect.Fault], n[inspect.Skipped])
	return err
}

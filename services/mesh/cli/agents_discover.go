package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/synadia"
)

func agentsDiscoverCommand(nats synadia.Dial) *cobra.Command {
	var output string
	var place synadia.Place
	within := 2 * time.Second
	cmd := &cobra.Command{
		Use: "discover", Short: "List the agents that answer on NATS, and print the agents.yaml that would adopt them",
		Long: `List the agents that answer $SRV.INFO.agents on NATS (Synadia Agent Protocol 0.3), and print
the agents.yaml of those that a mesh can adopt. Nothing is adopted by itself, and agents
of a mesh are left out: they are there by their own gateway.`,
		Example: "  mesh agents discover --context prod > agents.yaml",
		Args:    NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := CheckOutput(output); err != nil {
				return err
			}
			conn, err := (&inspector{dial: nats, place: place}).connect(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			all, err := discovered(cmd.Context(), conn, within)
			if err != nil {
				return err
			}
			place.URL = cmp.Or(place.URL, os.Getenv("NATS_URL"), conn.Place())
			place.Context, place.Creds, place.NKey = cmp.Or(place.Context, os.Getenv("NATS_CONTEXT")), cmp.Or(place.Creds, os.Getenv("NATS_CREDS")), cmp.Or(place.NKey, os.Getenv("NATS_NKEY"))
			return Write(cmd.OutOrStdout(), output, all, func(out io.Writer, all []synadia.Info) error { return showDiscovered(out, all, place) })
		},
	}
	bindPlace(cmd, &place, "context")
	cmd.Flags().DurationVar(&within, "within", within, "how long agents have to answer")
	OutputFlag(cmd, &output)
	return cmd
}

// discovered never is null in JSON.
func discovered(ctx context.Context, conn *synadia.Conn, within time.Duration) ([]synadia.Info, error) {
	all, err := conn.Discover(ctx, within)
	return append([]synadia.Info{}, all...), err
}

// adopted is an agent of agents.yaml.
type adopted struct {
	Name        string       `yaml:"name"`
	Description string       `yaml:"description,omitempty"`
	Synadia     adoptedPlace `yaml:"synadia"`
}

type adoptedPlace struct {
	Context string `yaml:"context,omitempty"`
	URL     string `yaml:"url,omitempty"`
	Creds   string `yaml:"creds,omitempty"`
	NKey    string `yaml:"nkey,omitempty"`
	Agent   string `yaml:"agent"`
	Owner   string `yaml:"owner"`
	Name    string `yaml:"name"`
}

// showDiscovered writes what answers as comments, and the agents.yaml below it.
func showDiscovered(out io.Writer, all []synadia.Info, place synadia.Place) error {
	var lines strings.Builder
	t := newTable(&lines, "AGENT", "OWNER", "NAME", "INSTANCE", "PROTOCOL", "NOTE")
	var file struct {
		Agents []adopted `yaml:"agents"`
	}
	taken, names := map[string]bool{}, map[string]bool{}
	for _, i := range all {
		at := adoptedPlace{Context: place.Context, Creds: place.Creds, NKey: place.NKey, Agent: i.Agent, Owner: i.Owner, Name: i.Name}
		if at.Context == "" {
			at.URL = place.URL
		}
		note, key := "", i.Agent+"."+i.Owner+"."+i.Name
		switch {
		case i.Agent == "agentmesh":
			note = "of a mesh"
		case !i.Speaks():
			note = "not adopted: it speaks another version of the protocol"
		case !synadia.ValidToken(i.Agent) || !synadia.ValidToken(i.Owner) || !synadia.ValidToken(i.Name):
			note = "not adopted: its names are not those of the protocol"
		case taken[key]:
			note = "one more instance"
		default:
			note = strings.Join(i.Faults, "; ")
			file.Agents = append(file.Agents, adopted{Name: nameFor(i, names), Description: strings.TrimSpace(clean(task.Clip(i.Description, 256))), Synadia: at})
		}
		taken[key] = true
		t.row(i.Agent, i.Owner, i.Name, i.ID, i.Protocol, note)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for line := range strings.Lines(lines.String()) {
		fmt.Fprint(out, "# ", line)
	}
	if len(file.Agents) == 0 {
		_, err := fmt.Fprintln(out, "# none that a mesh can adopt")
		return err
	}
	text, err := yaml.Marshal(file)
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}

// nameFor is a name of the mesh for an agent, which no other has.
func nameFor(i synadia.Info, taken map[string]bool) string {
	plain := func(s string) string {
		s = strings.Trim(strings.ReplaceAll(s, "_", "-"), "-")
		return s[:min(len(s), 40)]
	}
	for _, name := range []string{plain(i.Name), plain(i.Agent + "-" + i.Name), plain(i.Agent + "-" + i.Owner + "-" + i.Name)} {
		if task.ValidAgent(name) && !taken[name] {
			taken[name] = true
			return name
		}
	}
	for n := 1; ; n++ {
		if name := fmt.Sprintf("agent-%d", n); !taken[name] {
			taken[name] = true
			return name
		}
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/synadia"
)

func agentsCommand(nats synadia.Dial) *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("agents", "List agents, pause and remove them, look at those of others, and check agents.yaml",
		agentsListCommand(f), agentsPauseCommand(f), agentsResumeCommand(f), agentsDeleteCommand(f), agentsInspectCommand(f, nats), agentsDiscoverCommand(nats),
		agentsCheckCommand(f, nats), agentsSchemaCommand()))
}

func agentsListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the agents that the mesh knows", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Agent]{
				doing: "list agents", requests: get("/agents"), show: showAgents,
				ask: func(ctx context.Context, c *client.Client) ([]client.Agent, error) { return c.Agents.List(ctx) },
			}.run(cmd, f)
		},
	}
}

func showAgents(out io.Writer, all []client.Agent) error {
	t := newTable(out, "NAME", "VERSION", "WORKERS", "NOTE", "DESCRIPTION")
	for _, a := range all {
		note := ""
		switch {
		case a.Conflict:
			note = "conflict: workers differ"
		case a.Paused && !a.PausedUntil.IsZero():
			note = "paused until " + clock(a.PausedUntil)
		case a.Paused:
			note = "paused"
		case a.LiveWorkers > 0 && !slices.ContainsFunc(a.Workers, func(w api.AgentWorker) bool { return w.Away == "" }):
			note = "away: " + a.Workers[0].Away
		case a.Default:
			note = "default"
		}
		t.row(a.Name, a.Version, a.LiveWorkers, note, a.Description)
	}
	return t.flush()
}

// agentCall is a call that is answered by an agent.
func agentCall(doing string, requests []request, ask func(context.Context, *client.Client) (*client.Agent, error)) call[*client.Agent] {
	return call[*client.Agent]{
		doing: doing, requests: requests, ask: ask,
		show: func(out io.Writer, a *client.Agent) error { return showAgents(out, []client.Agent{*a}) },
	}
}

func agentsPauseCommand(f *clientFlags) *cobra.Command {
	var d time.Duration
	cmd := completes(&cobra.Command{Use: "pause NAME", Short: "Have no worker begin a task of an agent; what runs goes on, what is accepted waits", Args: one("agent name")}, someAgents)
	cmd.Flags().DurationVar(&d, "for", 0, "how long, such as 1h; until mesh agents resume when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var body any
		if d != 0 {
			body = map[string]string{"for": d.String()}
		}
		return agentCall("pause agent", post(at("agents", args[0], "pause"), body), func(ctx context.Context, c *client.Client) (*client.Agent, error) {
			return c.Agents.Pause(ctx, args[0], d)
		}).run(cmd, f)
	}
	return cmd
}

func agentsResumeCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "resume NAME", Short: "Have workers take the tasks of an agent again", Args: one("agent name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return agentCall("resume agent", post(at("agents", args[0], "resume"), nil), func(ctx context.Context, c *client.Client) (*client.Agent, error) {
				return c.Agents.Resume(ctx, args[0])
			}).run(cmd, f)
		},
	}, someAgents)
}

// deletedAgent says how many tasks go on waiting for an agent.
type deletedAgent struct {
	Waiting int `json:"waiting"`
}

func agentsDeleteCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete NAME", Short: "Remove an agent that no live worker serves; tasks that wait for it stay", Args: one("agent name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[deletedAgent]{
				doing: "delete agent", requests: remove(at("agents", args[0])),
				ask: func(ctx context.Context, c *client.Client) (deletedAgent, error) {
					waiting, err := c.Agents.Delete(ctx, args[0])
					return deletedAgent{waiting}, err
				},
				show: func(out io.Writer, d deletedAgent) (err error) {
					if d.Waiting > 0 {
						_, err = fmt.Fprintf(out, "%d tasks go on waiting for an agent of this name: mesh task list --agent %s --status pending\n", d.Waiting, args[0])
					}
					return err
				},
			}.run(cmd, f)
		},
	}, someAgents)
}

func agentsSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of agents.yaml, for editors", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(agents.Schema)
			return err
		},
	}
}

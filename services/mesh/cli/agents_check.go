package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/worker/agents"
	"agentmesh/worker/agents/synadia"
)

func agentsCheckCommand(f *clientFlags, nats synadia.Dial) *cobra.Command {
	var connect bool
	var replay, instruction string
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Check an agents.yaml and its programs without serving it",
		Example: "  mesh agents check agents.yaml --connect\n  mesh agents check agents.yaml --replay tsk_...",
		Args:    one("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if replay != "" {
				return replayCommand(cmd, f, args[0], replay, instruction)
			}
			all, err := agents.Check(cmd.Context(), args[0], agents.CheckOptions{Connect: connect, NATS: nats})
			if err != nil {
				return err
			}
			return showFindings(cmd.OutOrStdout(), all)
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also try whether what the agents need can be reached: HTTP agents (HEAD), models (their list), MCP servers (their tools), A2A cards, agents on NATS; nothing is run")
	cmd.Flags().StringVar(&replay, "replay", "", "run the agent of this task over the steps that it has finished, and list what it would do again and what it does not use (exit 1 if there is any); a program is really run, with MESH_REPLAY=1, until it does something new")
	cmd.Flags().StringVar(&instruction, "instruction", "", "that of the task of --replay")
	return cmd
}

// showFindings tells of each agent whether it could be run; the error says how
// many could not.
func showFindings(out io.Writer, all []agents.Finding) error {
	seen, failed := map[string]bool{}, map[string]bool{}
	for _, f := range all {
		seen[f.Agent] = true
		at := f.Agent
		if f.Part != "" {
			at += ": " + f.Part
		}
		switch {
		case f.Err != nil:
			failed[f.Agent] = true
			fmt.Fprintf(out, "%s: %s\n", at, oneLine(f.Err.Error(), 0))
		case f.Note != "":
			fmt.Fprintf(out, "%s: ok, %s\n", at, oneLine(f.Note, 0))
		default:
			fmt.Fprintf(out, "%s: ok\n", at)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d agents could not be run here", len(failed), len(seen))
	}
	return nil
}

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
	var replay, instruction, from string
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Check an agents.yaml and its programs without serving it",
		Example: "  mesh agents check agents.yaml --connect\n  mesh agents check agents.yaml --replay tsk_...\n  mesh agents check --from ./agent.py >agents.yaml",
		Args:    between(0, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from != "" {
				return checkProgram(cmd, from, args)
			}
			if len(args) == 0 {
				return Usage("%s takes one file, or --from with a program", cmd.CommandPath())
			}
			if replay != "" {
				return replayCommand(cmd, f, args[0], replay, instruction)
			}
			all, err := agents.Check(cmd.Context(), args[0], agents.CheckOptions{Connect: connect, NATS: nats})
			if err != nil {
				return err
			}
			return showFindings(cmd.OutOrStdout(), all, "could not be run here")
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also try whether what the agents need can be reached: HTTP agents (HEAD), models (their list), MCP servers (their tools), A2A cards, agents on NATS; nothing is run")
	cmd.Flags().StringVar(&replay, "replay", "", "run the agent of this task over the steps that it has finished, and list what it would do again and what it does not use (exit 1 if there is any); a program is really run, with MESH_REPLAY=1, until it does something new")
	cmd.Flags().StringVar(&instruction, "instruction", "", "that of the task of --replay")
	cmd.Flags().StringVar(&from, "from", "", "a program of a worker kit, which is run with --describe: without a file the agents.yaml that serves it is written, with one the schemas of the two are compared (exit 1 if they differ)")
	return cmd
}

// checkProgram writes what a program says of its agents, or compares it with a file.
func checkProgram(cmd *cobra.Command, program string, files []string) error {
	specs, text, err := agents.Describe(cmd.Context(), program)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	found, err := agents.CompareWith(files[0], specs)
	if err != nil {
		return err
	}
	return showFindings(cmd.OutOrStdout(), found, "differ from their program")
}

// showFindings tells of each agent what was found out; the error says of how many
// something is wrong.
func showFindings(out io.Writer, all []agents.Finding, what string) error {
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
		return fmt.Errorf("%d of %d agents %s", len(failed), len(seen), what)
	}
	return nil
}

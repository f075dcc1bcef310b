package cli

import (
	"os"
	"os/signal"

	"github.com/spf13/cobra"
)

func sessionChatCommand(f *clientFlags) *cobra.Command {
	var agent, id string
	cmd := &cobra.Command{
		Use: "chat", Short: "Talk with an agent, a line at a time", Args: NoArgs,
		Long: "Begins a session, or goes on with one, and sends each line of standard input as a message.\n" +
			"Replies appear as they are produced. Ctrl-C interrupts the turn that runs; without one it ends, as does Ctrl-D.\n" +
			"With -o json it prints the session and then each turn as one line. The exit status is 1 when a turn has failed.",
		Example: "  mesh session chat --agent travel\n  echo 'Find flights to Tokyo.' | mesh session chat --agent travel",
	}
	cmd.Flags().StringVar(&agent, "agent", "", "whom to talk with; the mesh's default agent when left out")
	cmd.Flags().StringVar(&id, "session", "", "go on with this session")
	completeFlag(cmd, "agent", someAgents)
	completeFlag(cmd, "session", someSessions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if agent != "" && id != "" {
			return Usage("choose one of --agent and --session: a session stays with its agent")
		}
		c, err := f.open(cmd, chatRequests(agent, id)...)
		if c == nil {
			return err
		}
		// Ctrl-C ends a turn here, not the process.
		signal.Reset(os.Interrupt)
		interrupts := make(chan os.Signal, 1)
		signal.Notify(interrupts, os.Interrupt)
		defer signal.Stop(interrupts)
		t := &chat{
			f: f, c: c, out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), interrupts: interrupts, json: f.output == "json",
			prompt: f.output == "text" && IsTerminal(cmd.InOrStdin()) && IsTerminal(cmd.OutOrStdout()),
		}
		if err := t.begin(cmd.Context(), agent, id); err != nil {
			return err
		}
		return t.converse(cmd.Context(), cmd.InOrStdin())
	}
	return cmd
}

// chatRequests are the requests of a conversation.
func chatRequests(agent, id string) (all []request) {
	if id == "" {
		id = "SESSION_ID"
		body := map[string]string{}
		if agent != "" {
			body["agent"] = agent
		}
		all = post("/sessions", body)
	}
	return append(all, post(at("sessions", id, "messages"), map[string]string{"text": "TEXT"})...)
}

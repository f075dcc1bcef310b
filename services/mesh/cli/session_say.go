package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// sessionSayCommand says one thing in a session.
func sessionSayCommand(f *clientFlags) *cobra.Command {
	o := client.SayOptions{Async: true}
	var noWait bool
	cmd := &cobra.Command{
		Use: "say SESSION TEXT", Short: "Say one thing in a session, and show the reply",
		Long:    "The exit status is 1 when the turn has failed or was canceled.",
		Example: "  mesh session say ses_01a2118b… 'Find flights to Tokyo.' --on-busy wait",
		Args:    between(2, 2, "a session id and one text (quote it)"),
	}
	cmd.Flags().StringVar(&o.OnBusy, "on-busy", "reject", "while another turn is open: reject, wait behind it and all that wait, or interrupt them all")
	cmd.Flags().StringVar(&o.IdempotencyKey, "key", "", "Idempotency-Key; one is made when left out")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "show the turn when it is accepted, and do not wait for the reply")
	completes(cmd, someSessions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, text := args[0], args[1]
		return call[*client.Turn]{
			doing: "say", requests: post(at("sessions", id, "messages"), map[string]string{"text": text, "on_busy": o.OnBusy}, keyHeader(o.IdempotencyKey)...), show: showTurn,
			ask: func(ctx context.Context, c *client.Client) (*client.Turn, error) {
				turn, err := c.Sessions.Say(ctx, id, text, o)
				if err == nil && !noWait {
					turn, err = c.Sessions.WaitTurn(ctx, id, turn.TurnID)
				}
				return turn, err
			},
			outcome: func(turn *client.Turn) error { return failedIf(turn.Status == "failed" || turn.Status == "canceled") },
		}.run(cmd, f)
	}
	return cmd
}

func showTurn(out io.Writer, t *client.Turn) (err error) {
	switch {
	case t.Status == "completed":
		_, err = fmt.Fprintln(out, clean(t.Message))
		if err == nil && t.Awaiting != "" {
			_, err = fmt.Fprintf(out, "(awaits an answer: %s)\n", clean(t.Awaiting))
		}
	case t.Error != nil:
		_, err = fmt.Fprintf(out, "%s  %s: %s (%s)\n", t.TurnID, t.Status, clean(t.Error.Message), oneLine(t.Error.Code, 0))
	default:
		_, err = fmt.Fprintf(out, "%s  %s\n", t.TurnID, t.Status)
	}
	return err
}

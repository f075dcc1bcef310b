package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

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
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return Usage("%s takes a session id and one text, got %d arguments; quote the text", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.OnBusy, "on-busy", "reject", "while another turn is open: reject, wait behind it and all that wait, or interrupt them all")
	cmd.Flags().StringVar(&o.IdempotencyKey, "key", "", "Idempotency-Key; one is made when left out")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "show the turn when it is accepted, and do not wait for the reply")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var turn *client.Turn
		err := f.run(cmd, "say", request{
			method: http.MethodPost, path: "/sessions/" + url.PathEscape(args[0]) + "/messages", show: showTurn,
			body: map[string]string{"text": args[1], "on_busy": o.OnBusy},
			call: func(ctx context.Context, c *client.Client) (_ any, err error) {
				if turn, err = c.Say(ctx, args[0], args[1], o); err == nil && !noWait {
					turn, err = c.WaitTurn(ctx, args[0], turn.TurnID)
				}
				return turn, err
			},
		})
		if err == nil && turn != nil && (turn.Status == "failed" || turn.Status == "canceled") {
			return &ExitError{Code: ExitFailed}
		}
		return err
	}
	return cmd
}

func showTurn(out io.Writer, v any) {
	switch t, _ := v.(*client.Turn); {
	case t.Status == "completed":
		fmt.Fprintln(out, clean(t.Message))
	case t.Error != nil:
		fmt.Fprintf(out, "%s  %s: %s (%s)\n", t.TurnID, t.Status, clean(t.Error.Message), oneLine(t.Error.Code, 0))
	default:
		fmt.Fprintf(out, "%s  %s\n", t.TurnID, t.Status)
	}
}

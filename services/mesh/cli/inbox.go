package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// defaultInbox is where the examples have it.
const defaultInbox = "127.0.0.1:8091"

// inboxFlags are those of the commands that ask an inbox.
type inboxFlags struct{ at, output string }

// inboxCommand shows and steers the receiver of callbacks for development. It is no part
// of the gateway, so it has no key and no context.
func inboxCommand() *cobra.Command {
	f := &inboxFlags{}
	cmd := group("inbox", "See what came to the inbox of mesh up --inbox, and how it answers", inboxListCommand(f), inboxShowCommand(f), inboxAnswerCommand(f), inboxClearCommand(f))
	p := cmd.PersistentFlags()
	p.StringVar(&f.at, "inbox", "", "address of the inbox (env MESH_INBOX); "+defaultInbox+" when left out")
	p.StringVarP(&f.output, "output", "o", "text", "text, or json for scripts")
	completeFlag(cmd, "output", words("text", "json"))
	return cmd
}

// open finds the inbox.
func (f *inboxFlags) open() (client.Inbox, error) {
	if err := CheckOutput(f.output); err != nil {
		return client.Inbox{}, err
	}
	at := f.at
	if at == "" {
		at = os.Getenv("MESH_INBOX")
	}
	if at == "" || at == "off" {
		at = defaultInbox
	}
	if !strings.Contains(at, "://") {
		at = "http://" + at
	}
	b, err := client.NewInbox(at)
	if err != nil {
		return b, Misuse(err)
	}
	return b, nil
}

// explainInbox says what to do about an inbox that is not there.
func explainInbox(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; mesh up --inbox %s has one, --inbox says where it is", err, defaultInbox)
}

func inboxListCommand(f *inboxFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List what came, newest first", Args: NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		b, err := f.open()
		if err != nil {
			return err
		}
		all, err := b.Contents(cmd.Context())
		if err != nil {
			return explainInbox(err)
		}
		return write(cmd.OutOrStdout(), f.output, all, showInbox)
	}}
}

func showInbox(out io.Writer, c *client.InboxContents) error {
	t := newTable(out, "NO", "AT", "REQUEST", "SIGNED BY", "ANSWERED", "BYTES")
	for _, r := range c.Requests {
		t.row(r.N, r.At.Format(time.TimeOnly), r.Method+" "+r.Path, signedBy(r), r.Status, len(r.Body))
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "It answers %d after %s.\n", c.Answer.Status, c.Answer.Delay)
	return err
}

func signedBy(r client.InboxRequest) string {
	if r.SignedBy != "" {
		return r.SignedBy
	}
	return "not verified: " + r.Refused
}

func inboxShowCommand(f *inboxFlags) *cobra.Command {
	return &cobra.Command{Use: "show NO", Short: "Show one request: its headers and its body", Args: One("number of a request"), RunE: func(cmd *cobra.Command, args []string) error {
		b, err := f.open()
		if err != nil {
			return err
		}
		all, err := b.Contents(cmd.Context())
		if err != nil {
			return explainInbox(err)
		}
		for _, r := range all.Requests {
			if strconv.Itoa(r.N) == args[0] {
				return write(cmd.OutOrStdout(), f.output, r, showInboxRequest)
			}
		}
		return fmt.Errorf("no request %s is kept; mesh inbox list shows those that are", args[0])
	}}
}

func showInboxRequest(out io.Writer, r client.InboxRequest) error {
	t := newTable(out)
	t.field("request", r.Method+" "+r.Path)
	t.field("at", r.At.Format(time.RFC3339Nano))
	t.field("signed by", signedBy(r))
	t.field("answered", strconv.Itoa(r.Status))
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		t.field(name, r.Headers[name])
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", clean(r.Body))
	return err
}

func inboxAnswerCommand(f *inboxFlags) *cobra.Command {
	var delay time.Duration
	cmd := &cobra.Command{Use: "answer STATUS", Short: "Have it answer with a status from now on, to watch retries", Example: "  mesh inbox answer 503 --delay 2s", Args: One("HTTP status")}
	cmd.Flags().DurationVar(&delay, "delay", 0, "how long it waits before it answers, up to 1m")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := f.open()
		if err != nil {
			return err
		}
		status, err := strconv.Atoi(args[0])
		if err != nil || status < 200 || status > 599 {
			return Usage("the status is %q, it must be 200 to 599", args[0])
		}
		if delay < 0 || delay > time.Minute {
			return Usage("delay is %v, it must be at most 1m", delay)
		}
		now, err := b.Answer(cmd.Context(), client.InboxAnswer{Status: status, Delay: delay.String()})
		if err != nil {
			return explainInbox(err)
		}
		return write(cmd.OutOrStdout(), f.output, now, func(out io.Writer, a *client.InboxAnswer) error {
			_, err := fmt.Fprintf(out, "It answers %d after %s.\n", a.Status, a.Delay)
			return err
		})
	}
	return cmd
}

func inboxClearCommand(f *inboxFlags) *cobra.Command {
	return &cobra.Command{Use: "clear", Short: "Forget what came", Args: NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		b, err := f.open()
		if err != nil {
			return err
		}
		return explainInbox(b.Clear(cmd.Context()))
	}}
}

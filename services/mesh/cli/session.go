package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

func sessionCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("session", "Talk with an agent, and see what was said",
		sessionChatCommand(f), sessionSayCommand(f), sessionListCommand(f), sessionShowCommand(f), sessionForkCommand(f), sessionDeleteCommand(f)))
}

func sessionListCommand(f *clientFlags) *cobra.Command {
	var agent string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List sessions, newest change first", Args: NoArgs}
	cmd.Flags().StringVar(&agent, "agent", "", "only sessions with this agent")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many; 0: all")
	completeFlag(cmd, "agent", someAgents)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		looked, query := beginSearch(f), url.Values{}
		if agent != "" {
			query.Set("agent", agent)
		}
		return call[[]client.Session]{
			doing: "list sessions", requests: get(with("/sessions", query)), show: showSessions,
			ask: func(ctx context.Context, c *client.Client) (all []client.Session, err error) {
				all, looked.scanned, err = listSessions(ctx, c, agent, limit)
				looked.tellWhere(err, agent != "", cmd.ErrOrStderr(), len(all), limit)
				return all, err
			},
		}.run(cmd, f)
	}
	return cmd
}

// listSessions reads pages until as many sessions are there as the limit says, 0: all,
// and says how many records were looked at.
func listSessions(ctx context.Context, c *client.Client, agent string, limit int) (all []client.Session, scanned int, err error) {
	all = []client.Session{}
	for page, err := range c.Sessions.Pages(ctx, agent) {
		if err != nil {
			return nil, 0, err
		}
		scanned += page.Scanned
		for _, s := range page.Sessions {
			if all = append(all, client.Session{Session: s}); len(all) == limit {
				return all, scanned, nil
			}
		}
	}
	return all, scanned, nil
}

func showSessions(out io.Writer, all []client.Session) error {
	t := newTable(out, "SESSION", "AGENT", "STATE", "TURNS", "LAST TURN", "EXPIRES")
	for _, s := range all {
		t.row(s.SessionID, s.Agent, sessionState(&s), s.Turns, age(time.Since(s.UpdatedAt))+" ago", "in "+age(time.Until(s.ExpiresAt)))
	}
	return t.flush()
}

func sessionState(s *client.Session) string {
	if s.Busy {
		return "busy"
	}
	return "open"
}

// sessionRecord is a session with what was said in it.
type sessionRecord struct {
	client.Session
	Transcript []client.Message `json:"transcript"`
}

func sessionShowCommand(f *clientFlags) *cobra.Command {
	var state bool
	cmd := completes(&cobra.Command{Use: "show ID", Short: "Show a session and what was said in it", Args: one("session id")}, someSessions)
	cmd.Flags().BoolVar(&state, "state", false, "also what the agent keeps of it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, path := args[0], at("sessions", args[0])
		if state {
			path += "?include=state"
		}
		return call[*sessionRecord]{
			doing: "show session", requests: slices.Concat(get(path), get(at("sessions", id, "messages"))), show: showConversation,
			ask: func(ctx context.Context, c *client.Client) (*sessionRecord, error) {
				read := c.Sessions.Get
				if state {
					read = c.Sessions.State
				}
				s, err := read(ctx, id)
				if err != nil {
					return nil, err
				}
				said, err := c.Sessions.Messages(ctx, id)
				return &sessionRecord{*s, said}, err
			},
		}.run(cmd, f)
	}
	return cmd
}

func sessionForkCommand(f *clientFlags) *cobra.Command {
	var after int
	var state string
	cmd := completes(&cobra.Command{Use: "fork ID", Short: "Begin a session with what was said in another one", Args: one("session id")}, someSessions)
	cmd.Flags().IntVar(&after, "after", 0, "the number of the last message to take over, the end of a turn; all when left out")
	cmd.Flags().StringVar(&state, "state", "", "the agent's state at that point, as JSON, @file, or - for standard input; the session's when left out, if all messages are taken over")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := jsonFlag("state", state, cmd.InOrStdin())
		if err != nil {
			return err
		}
		body := api.ForkSession{State: raw}
		if after > 0 {
			body.After = &after
		}
		return call[*api.SessionForked]{
			doing: "fork session", requests: post(at("sessions", args[0], "fork"), body),
			ask: func(ctx context.Context, c *client.Client) (*api.SessionForked, error) {
				return c.Sessions.Fork(ctx, args[0], after, raw, client.CreateOptions{})
			},
			show: func(out io.Writer, s *api.SessionForked) error {
				_, err := fmt.Fprintf(out, "%s goes on after message %d of %s: mesh session chat --session %s\n", s.SessionID, s.Messages, s.ForkedFrom, s.SessionID)
				return err
			},
		}.run(cmd, f)
	}
	return cmd
}

func showConversation(out io.Writer, s *sessionRecord) error {
	t := newTable(out)
	t.row("session", s.SessionID)
	t.row("agent", s.Agent)
	t.row("state", strings.TrimSpace(sessionState(&s.Session)+" "+s.OpenTurn))
	t.field("waiting", strings.Join(s.Waiting, "\n"))
	t.row("turns", s.Turns)
	t.row("created", clock(s.CreatedAt))
	t.row("expires", clock(s.ExpiresAt))
	t.field("keeps", string(s.State))
	if err := t.flush(); err != nil {
		return err
	}
	for _, m := range s.Transcript {
		mark := ""
		if m.Interrupted {
			mark = " (interrupted)"
		}
		// Indented, so that no text looks like the head of another message.
		fmt.Fprintf(out, "\n%s  %s%s\n  %s\n", clock(m.At), oneLine(m.Role, 0), mark, hanging(m.Text, 2))
	}
	return nil
}

func sessionDeleteCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete ID", Short: "Delete a session; its open turn and those that wait are canceled", Args: one("session id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[nothing]{
				doing: "delete session", requests: remove(at("sessions", args[0])),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Sessions.Delete(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someSessions)
}

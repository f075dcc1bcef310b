package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

func sessionCommand() *cobra.Command {
	f := &clientFlags{}
	return group("session", "Talk with an agent, and see what was said", f,
		sessionChatCommand(f), sessionSayCommand(f), sessionListCommand(f), sessionShowCommand(f), sessionDeleteCommand(f))
}

func sessionListCommand(f *clientFlags) *cobra.Command {
	var agent string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List sessions, newest change first", Args: NoArgs}
	cmd.Flags().StringVar(&agent, "agent", "", "only sessions with this agent")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many; 0: all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path := "/sessions"
		if agent != "" {
			path += "?agent=" + url.QueryEscape(agent)
		}
		return f.run(cmd, "list sessions", request{
			method: http.MethodGet, path: path,
			call: func(ctx context.Context, c *client.Client) (any, error) {
				all := []client.Session{}
				for s, err := range c.Sessions(ctx, agent) {
					if err != nil {
						return nil, err
					}
					if all = append(all, s); len(all) == limit {
						break
					}
				}
				return all, nil
			},
			show: func(out io.Writer, v any) {
				all, _ := v.([]client.Session)
				t := newTable(out, "SESSION", "AGENT", "STATE", "TURNS", "LAST TURN", "EXPIRES")
				for _, s := range all {
					t.row(s.SessionID, s.Agent, sessionState(&s), s.Turns, age(time.Since(s.UpdatedAt))+" ago", "in "+age(time.Until(s.ExpiresAt)))
				}
				_ = t.flush()
			},
		})
	}
	return cmd
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
	return &cobra.Command{
		Use: "show ID", Short: "Show a session and what was said in it", Args: anID("session id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/sessions/" + url.PathEscape(args[0])
			if f.curl {
				if err := f.printCurl(cmd.OutOrStdout(), http.MethodGet, path, nil); err != nil {
					return err
				}
				path += "/messages"
			}
			return f.run(cmd, "show session", request{
				method: http.MethodGet, path: path, show: showConversation,
				call: func(ctx context.Context, c *client.Client) (any, error) {
					s, err := c.Session(ctx, args[0])
					if err != nil {
						return nil, err
					}
					said, err := c.Messages(ctx, args[0])
					return &sessionRecord{*s, said}, err
				},
			})
		},
	}
}

func showConversation(out io.Writer, v any) {
	s, _ := v.(*sessionRecord)
	t := newTable(out)
	t.row("session", s.SessionID)
	t.row("agent", s.Agent)
	t.row("state", strings.TrimSpace(sessionState(&s.Session)+" "+s.OpenTurn))
	t.field("waiting", strings.Join(s.Waiting, "\n"))
	t.row("turns", s.Turns)
	t.row("created", clock(s.CreatedAt))
	t.row("expires", clock(s.ExpiresAt))
	_ = t.flush()
	for _, m := range s.Transcript {
		mark := ""
		if m.Interrupted {
			mark = " (interrupted)"
		}
		// Indented, so that no text looks like the head of another message.
		fmt.Fprintf(out, "\n%s  %s%s\n  %s\n", clock(m.At), oneLine(m.Role, 0), mark, hanging(m.Text, 2))
	}
}

func sessionDeleteCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a session; its open turn and those that wait are canceled", Args: anID("session id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, "delete session", request{
				method: http.MethodDelete, path: "/sessions/" + url.PathEscape(args[0]),
				call: func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteSession(ctx, args[0]) },
				show: func(io.Writer, any) {},
			})
		},
	}
}

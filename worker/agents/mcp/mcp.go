// Package mcp is the mesh as a client of the Model Context Protocol (2026-07-28, and
// the versions before it): the tools of a server of others, for agents that are one
// tool and for agents that choose among many.
//
// It promises that a server has one session for each [Client], which is opened when it
// is needed, dropped when it is broken and opened again; that nothing of a server is
// believed: names, schemas and contents are bounded, no redirect is followed, and what
// it asks people is shown with where it comes from; and that every call has a defined
// outcome, also the one that nobody knows. [Client.Run] keeps a call in the journal of
// its task: what was answered is not called again, a task of the server's is gone on
// with, and a question suspends the task. It knows no queue.
package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/schema"
	"agentmesh/worker/agent"
)

// Config says where a server is: at a URL, or behind a command.
type Config struct {
	URL     string
	Headers map[string]string

	Command []string          // program and arguments; it runs with the rights of the worker
	Dir     string            // its working directory
	Env     map[string]string // added to a minimal environment
}

// Options are what the worker adds.
type Options struct {
	Log     *slog.Logger
	Version string // of the mesh
}

// Bounds of what a server says.
const (
	maxMessage = agent.DefaultMaxResult // bytes of one message
	maxTools   = 1000
	maxSchema  = 64 << 10 // bytes of one schema
	maxText    = 4 << 10  // bytes of a description, a question or a note
	maxRounds  = 100      // of questions of one call
)

const (
	toolsLast  = 5 * time.Minute  // of a list that no change was told of
	idleAfter  = 10 * time.Minute // a session that nobody uses is closed
	openWithin = 30 * time.Second // a program may be fetched first
)

// Tool is one tool of a server.
type Tool struct {
	Name         string
	Title        string
	Description  string
	InputSchema  json.RawMessage // nil: none that compiles
	OutputSchema json.RawMessage
	ReadOnly     bool // it says that a call changes nothing
	Idempotent   bool // it says that a second equal call changes nothing more
}

// Repeatable says whether a call whose outcome nobody knows may be made again.
func (t Tool) Repeatable() bool { return t.ReadOnly || t.Idempotent }

// Client reaches one server. It is safe for concurrent use.
type Client struct {
	cfg   Config
	o     Options
	place string // for people: where the server is, without secrets

	opening sync.Mutex // held while a session is opened

	mu     sync.Mutex
	open   *session // nil: none
	closed bool
	tools  []Tool
	listed time.Time // zero: the list is not known
}

// NewClient makes the client of a server. It reaches nothing yet.
func NewClient(cfg Config, o Options) *Client {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, o: o, place: placeOf(cfg)}
}

// Check says what is wrong with a configuration, as far as that is seen without
// reaching the server.
func (c Config) Check() error {
	switch {
	case (c.URL == "") == (len(c.Command) == 0):
		return errors.New("it needs either url or command")
	case c.URL != "":
		if _, err := guard().CheckURL(c.URL); err != nil {
			return fmt.Errorf("url: %w", err)
		}
		return nil
	}
	return program(c).Check()
}

// placeOf names a server without what may be a secret.
func placeOf(cfg Config) string {
	if len(cfg.Command) > 0 {
		return cfg.Command[0]
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return "a malformed URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Place names the server for people: its address or program, without secrets.
func (c *Client) Place() string { return c.place }

// Close ends the session. Calls that run end with an error.
func (c *Client) Close() {
	c.mu.Lock()
	s := c.open
	c.open, c.closed = nil, true
	c.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Tools are the tools of the server, sorted by name. The list may be five minutes
// old, unless the server has told of a change. An error is an [*agent.Error].
func (c *Client) Tools(ctx context.Context) ([]Tool, error) {
	c.mu.Lock()
	tools, fresh := c.tools, !c.listed.IsZero() && time.Since(c.listed) < toolsLast
	c.mu.Unlock()
	if fresh {
		return slices.Clone(tools), nil
	}
	err := c.try(ctx, func(ctx context.Context, s *session) error {
		began := time.Now()
		var all []Tool
		for t, err := range s.client.Tools(ctx, nil) {
			if err != nil {
				return err
			}
			if len(all) == maxTools {
				c.o.Log.WarnContext(ctx, "an MCP server has more tools than are read", "server", c.place, "read", maxTools)
				break
			}
			all = append(all, toolOf(t))
		}
		slices.SortFunc(all, func(a, b Tool) int { return compare(a.Name, b.Name) })
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tools, c.listed, tools = all, began, all
		return nil
	})
	return slices.Clone(tools), unlost(err)
}

// Tool is one tool of the server. One that it does not have is an error for good.
func (c *Client) Tool(ctx context.Context, name string) (Tool, error) {
	all, err := c.Tools(ctx)
	if err != nil {
		return Tool{}, err
	}
	i := slices.IndexFunc(all, func(t Tool) bool { return t.Name == name })
	if i < 0 {
		return Tool{}, &agent.Error{Code: codeRejected, Permanent: true, Message: fmt.Sprintf("the MCP server has no tool %q", clip(name, 128))}
	}
	return all[i], nil
}

// toolOf takes what a server says of a tool, within bounds.
func toolOf(t *sdk.Tool) Tool {
	out := Tool{
		Name: clip(t.Name, 128), Title: clip(t.Title, 256), Description: clip(t.Description, maxText),
		InputSchema: schemaOf(t.InputSchema), OutputSchema: schemaOf(t.OutputSchema),
	}
	if t.Annotations != nil {
		out.ReadOnly, out.Idempotent = t.Annotations.ReadOnlyHint, t.Annotations.IdempotentHint
	}
	return out
}

// schemaOf is a schema that compiles by itself, else nil: one that leads elsewhere is
// not followed.
func schemaOf(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil || len(raw) > maxSchema {
		return nil
	}
	if _, err := schema.Compile(raw); err != nil {
		return nil
	}
	return raw
}

// changed has the tools be listed again.
func (c *Client) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = time.Time{}
}

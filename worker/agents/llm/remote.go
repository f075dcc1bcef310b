package llm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// Server is a server of tools, such as one of the Model Context Protocol.
type Server interface {
	// List is what it offers now.
	List(ctx context.Context) ([]RemoteTool, error)
	// Run calls a tool for a job, and keeps the call in the job's journal: what was
	// answered is not asked for again, and of a call that was cut off the policy
	// decides. What the tool says is a result, also that it failed. An *agent.Error is
	// kept, too: the next run gets the same.
	Run(ctx context.Context, job *agent.Job, c RemoteCall) (RemoteResult, error)
}

// RemoteCall is a call of a tool.
type RemoteCall struct {
	Tool      string
	Args      json.RawMessage
	Step      string // names it in the journal
	Timeout   time.Duration
	OnUnknown OnUnknown
	Made      func() // called when the call is made in this run; nil: nobody wants to know

	TraceParent string                   // W3C, of the call
	Shown       func(text string) string // how a question of the server's is shown to people
}

// RemoteTool is a tool of a server.
type RemoteTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Repeatable  bool            `json:"repeatable,omitempty"` // it says that it may be called again
}

// RemoteResult is what a call came to.
type RemoteResult struct {
	Text  string
	Fault bool // the tool says that it failed
}

// toolSet are the tools of a server under the rules of the file.
type toolSet struct {
	ToolSet
	name   string
	server Server
}

func newToolSet(name string, s ToolSet) *toolSet {
	s.Timeout, s.MaxResult = cmp.Or(s.Timeout, 30*time.Second), cmp.Or(s.MaxResult, 32<<10)
	return &toolSet{ToolSet: s, name: name, server: s.Server}
}

// list is what the server offers of what the file allows.
func (s *toolSet) list(ctx context.Context) ([]RemoteTool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	all, err := s.server.List(ctx)
	if err != nil {
		return nil, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the tools of " + s.name + " do not answer", Detail: err.Error(), Err: err}
	}
	return slices.DeleteFunc(all, func(t RemoteTool) bool { return len(s.Allow) > 0 && !slices.Contains(s.Allow, t.Name) }), nil
}

// approves reports whether a person is asked before a call of a tool.
func (s *toolSet) approves(tool string) bool {
	return slices.Contains(s.Approve, "*") || slices.Contains(s.Approve, tool)
}

// remote is a tool of a server as the model sees it.
type remote struct {
	set  *toolSet
	tool RemoteTool
}

// offer implements tool.
func (r *remote) offer() chat.Tool {
	parameters := r.tool.Schema
	if len(parameters) == 0 {
		parameters = json.RawMessage(`{"type":"object"}`)
	}
	return chat.Tool{Name: toolName(r.set.name + "__" + r.tool.Name), Description: r.tool.Description, Parameters: parameters}
}

// run implements tool. What goes wrong is for the model, but for a call of which nobody
// knows whether it was made: that ends the task.
func (r *remote) run(ctx context.Context, l *loop, c call) (res result, err error) {
	if r.set.approves(r.tool.Name) {
		args, fault, err := personOf(l).approve(ctx, c)
		if err != nil {
			return result{}, err
		}
		if fault != nil {
			return *fault, nil
		}
		c.args = args
	}
	if l.fresh {
		if err := l.show(ctx, c); err != nil {
			return result{}, err
		}
	}
	var made atomic.Bool
	ctx, end := toolSpan(ctx, l, c)
	defer func() {
		if made.Load() {
			end(res, err)
		}
	}()
	got, err := r.set.server.Run(ctx, l.job, RemoteCall{
		Tool: r.tool.Name, Args: c.args, Step: "tool:" + c.name + "/" + c.place, Timeout: r.set.Timeout, OnUnknown: r.onUnknown(),
		Made: func() { made.Store(true) }, TraceParent: telemetry.TraceParent(ctx), Shown: l.first.shown,
	})
	text := cutText(l.catalog.mask.text(got.Text), r.set.MaxResult)
	var e *agent.Error
	switch {
	case err == nil && got.Fault:
		return failed("%s", text), nil
	case err == nil:
		return result{Text: text}, nil
	case ctx.Err() != nil, !errors.As(err, &e), agent.Suspended(err):
		return result{}, err
	case e.Code == task.CodeToolOutcomeUnknown, e.Code == task.CodeJournalFull:
		return result{}, err
	}
	return failed("%s", l.catalog.mask.text(e.Error())), nil
}

// onUnknown is the file's policy, or what the tool says of itself.
func (r *remote) onUnknown() OnUnknown {
	switch {
	case r.set.OnUnknown != "":
		return r.set.OnUnknown
	case r.tool.Repeatable:
		return RetryOnUnknown
	}
	return AskOnUnknown
}

// show tells readers of a call that begins.
func (l *loop) show(ctx context.Context, c call) error {
	switch l.Show {
	case ShowNames:
		return l.job.Milestone(ctx, "tool", c.name, nil)
	case ShowFull:
		var args any
		if err := json.Unmarshal(c.args, &args); err != nil {
			return err
		}
		return l.job.Milestone(ctx, "tool", c.name, map[string]any{"tool": c.name, "arguments": l.shownJSON(args)})
	}
	return nil
}

package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// durableAfter is how long a client that knows tasks waits for a plain result.
const durableAfter = 250 * time.Millisecond

// calls is tools/call of agents.
type calls struct{ *endpoint }

// callAgent is tools/call of an agent.
func (e calls) callAgent(agent *mesh.Agent) sdk.ToolHandler {
	return func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return e.call(ctx, askedOf(ctx), agent, newTeller(req))
	}
}

// call calls an agent. tell, if there is one, tells how it goes.
func (e calls) call(ctx context.Context, a *asked, agent *mesh.Agent, tell *teller) (*sdk.CallToolResult, error) {
	if agent.AsTool.Tasks == task.TasksRequired && !a.knowsTasks() {
		return nil, lacking("The agent works as a task only: declare the tasks extension with the call.", tasksCapability)
	}
	release, err := e.Mesh.Tenants.Hold(a.Caller, mesh.HeldWait)
	if err != nil {
		return nil, failed(err)
	}
	defer release()
	b, err := e.begin(ctx, a, agent)
	if res := sessionGone(err); res != nil {
		return res, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	defer b.Close()
	wait := e.Hold
	if a.knowsTasks() {
		wait = durableAfter
	}
	t, err := e.held(ctx, a, b, wait, tell)
	if err == nil && a.answersToo(t) {
		if err = e.respond(context.WithoutCancel(ctx), a, t); err == nil {
			t, err = e.held(ctx, a, b, wait, tell)
		}
	}
	if err != nil {
		return nil, failed(err)
	}
	return e.answer(ctx, a, t)
}

// answersToo says whether a call that begins a task has the answers to its questions
// with it.
func (a *asked) answersToo(t *task.Task) bool {
	return a.params.RequestState == "" && slices.ContainsFunc(t.Questions(), func(w task.Wait) bool {
		_, ok := a.params.InputResponses[w.Name]
		return ok
	})
}

// begun is a call whose task is accepted; turn is set of a message in a session.
type begun struct {
	*mesh.Acceptance
	turn *task.Task
}

// Close ends the watch of an acceptance.
func (b begun) Close() {
	if b.Acceptance != nil {
		b.Acceptance.Close()
	}
}

// begin accepts what a call asks for, or goes on with the task that the client was
// asked about. A client that goes away meanwhile does not lose the task's record.
func (e calls) begin(ctx context.Context, a *asked, agent *mesh.Agent) (b begun, err error) {
	if a.params.RequestState != "" {
		id, err := e.resume(ctx, a)
		return begun{Acceptance: &mesh.Acceptance{TaskID: id}}, err
	}
	ctx = context.WithoutCancel(ctx)
	key := a.key()
	if agent.Converses() {
		return e.say(ctx, a, agent, key)
	}
	s := &mesh.Submission{Kind: task.KindTask, Agent: agent.Name, Key: key, EventDepth: a.EventDepth, Watch: true}
	if takesInput(agent) {
		if s.Input = a.params.Arguments; s.Input == nil {
			s.Input = json.RawMessage("{}")
		}
	} else if err := given(a.params.Arguments, s); err != nil {
		return b, err
	}
	b.Acceptance, err = e.Mesh.Tasks.Accept(ctx, a.Caller, s)
	return b, err
}

// given reads the arguments of an agent without a schema of its own.
func given(arguments json.RawMessage, s *mesh.Submission) error {
	var in struct {
		Instruction *string         `json:"instruction"`
		Input       json.RawMessage `json:"input"`
	}
	switch err := json.Unmarshal(arguments, &in); {
	case len(arguments) > 0 && err != nil:
		return mesh.RefuseFields(mesh.Field("must be an object with instruction, a text, and input", ""))
	case in.Instruction == nil:
		return mesh.RefuseFields(mesh.Field("is missing: say what to do", "/instruction"))
	case len(in.Input) > 0 && in.Input[0] != '{' && string(in.Input) != "null":
		return mesh.RefuseFields(mesh.Field("must be an object", "/input"))
	}
	s.Instruction = *in.Instruction
	if string(in.Input) != "null" {
		s.Input = in.Input
	}
	return nil
}

// key is the idempotency key of a call, nil when it has none. The id of a JSON-RPC
// request is none: clients count from 1 again.
func (a *asked) key() *mesh.Key {
	key := a.params.Meta.Key
	if key == "" {
		key = a.Key
	}
	if key == "" {
		return nil
	}
	return mesh.NewKey(a.Caller, key, []string{"MCP", "tools/call"}, a.params.Name, mesh.Canonical(a.params.Arguments))
}

// say says a message, in a new session where the call names none.
func (e calls) say(ctx context.Context, a *asked, agent *mesh.Agent, key *mesh.Key) (b begun, err error) {
	var in struct {
		Text      string     `json:"text"`
		SessionID session.ID `json:"session_id"`
	}
	if json.Unmarshal(a.params.Arguments, &in) != nil || in.Text == "" {
		return b, mesh.RefuseFields(mesh.Field("is missing: say something", "/text"))
	}
	if in.SessionID == "" {
		var opening *mesh.Key
		if key != nil {
			opening = mesh.NewKey(a.Caller, a.params.Meta.Key+a.Key, []string{"MCP", "session"}, a.params.Name)
		}
		o, err := e.Mesh.Sessions.Open(ctx, a.Caller, agent.Name, opening)
		if err != nil {
			return b, err
		}
		in.SessionID = o.SessionID
	}
	b.Acceptance, b.turn, err = e.Mesh.Sessions.Say(ctx, a.Caller, in.SessionID, &mesh.Message{
		Text: in.Text, Agent: agent.Name, OnBusy: mesh.Wait, Key: key, EventDepth: a.EventDepth, Until: time.Now().Add(e.Hold),
	})
	return b, err
}

// sessionGone is what a model reads of a session that it cannot go on with.
func sessionGone(err error) *sdk.CallToolResult {
	var refused *mesh.Error
	if err == nil || !errors.As(mesh.RefusalOf(err), &refused) {
		return nil
	}
	switch refused.Refusal {
	case mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrSessionFull:
		return failure(refused.Refusal.Code, refused.Detail+" Leave session_id out to begin a new session.")
	}
	return nil
}

// held waits for the outcome of a call, or a question, and tells how it goes. A client
// that goes away cancels it, where its protocol says so.
func (e calls) held(ctx context.Context, a *asked, b begun, d time.Duration, tell *teller) (*task.Task, error) {
	var t *task.Task
	var err error
	if b.turn != nil {
		wait, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(e.Closing, cancel)()
		t = e.Mesh.Sessions.WaitTurn(wait, b.Acceptance, b.turn, d)
		cancel()
	} else {
		var watch *store.Watch
		if watch, t, err = b.Follow(ctx, e.Mesh.Tasks, a.Caller); err != nil {
			return nil, err
		}
		defer watch.Close()
		t, err = e.updates(ctx, watch, t, d, func(t *task.Task) bool {
			tell.progress(ctx, t)
			return !t.Status.Terminal() && len(t.Questions()) == 0
		})
	}
	if ctx.Err() != nil && a.modern() && e.Closing.Err() == nil {
		e.abandon(ctx, a, b)
		return nil, ctx.Err()
	}
	return t, err
}

// abandon cancels the task of a call whose client has gone.
func (e calls) abandon(ctx context.Context, a *asked, b begun) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := e.cancel(ctx, a, b.TaskID); err != nil && !errors.Is(err, task.ErrFinished) {
		e.Log.WarnContext(ctx, "the task of a call that its client has left is not canceled", "task_id", b.TaskID, "error", err)
	}
}

// follow calls f with a task as it is and with each change, until f returns false or d
// is over, and returns the newest state.
func (e *endpoint) follow(ctx context.Context, a *asked, id task.ID, d time.Duration, f func(*task.Task) bool) (*task.Task, error) {
	watch, t, err := e.Mesh.Tasks.Watch(ctx, a.Caller, id)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	return e.updates(ctx, watch, t, d, f)
}

// updates is follow, with a watch that has begun.
func (e *endpoint) updates(ctx context.Context, watch *store.Watch, t *task.Task, d time.Duration, f func(*task.Task) bool) (*task.Task, error) {
	if !f(t) || d <= 0 {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(e.Closing, cancel)()
	err := watch.Updates(ctx, t.Rev, func(u store.Update) bool {
		if u.Task == nil {
			return true
		}
		t = u.Task
		return f(t)
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil // the task as last seen is the answer
	}
	return t, err
}

// answer is what a call says of its task when it was held long enough.
func (e calls) answer(ctx context.Context, a *asked, t *task.Task) (*sdk.CallToolResult, error) {
	switch {
	case t.Status.Terminal():
		return e.outcome(ctx, a, t)
	case a.knowsTasks():
		a.task = view(a, t)
		return &sdk.CallToolResult{}, nil
	case a.modern() && len(t.Questions()) > 0:
		return e.ask(a, t)
	}
	return handle(t), nil
}

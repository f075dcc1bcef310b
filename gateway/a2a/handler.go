package a2a

import (
	"context"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// messages takes what clients send.
type messages struct{ *exchange }

func sends(x *exchange) messages { return messages{x} }

// sendMessage is SendMessage: a new task, or an answer to the question of one. It
// waits for the end of the task or for a question, unless the client does not.
func (x messages) sendMessage(ctx context.Context, s *sending) (a2a.StreamResponse, error) {
	waits := s.Config == nil || !s.Config.ReturnImmediately
	a, err := x.take(ctx, s, waits, false)
	if err != nil {
		return a2a.StreamResponse{}, err
	}
	defer a.Close()
	var t *task.Task
	if waits {
		t, err = x.settle(ctx, a)
	} else {
		t, err = a.Task(ctx, x.mesh.Tasks, x.caller())
	}
	if err != nil {
		return a2a.StreamResponse{}, err
	}
	if m := a2aform.Direct(t); m != nil && waits {
		return a2a.StreamResponse{Event: m}, nil
	}
	v, err := x.view(ctx, t, history(s.Config), true)
	return a2a.StreamResponse{Event: v}, err
}

// streamMessage is SendStreamingMessage: the stream ends with the task, or when it
// asks a question.
func (x messages) streamMessage(ctx context.Context, s *sending) error {
	a, err := x.take(ctx, s, true, true)
	if err != nil {
		return err
	}
	defer a.Close()
	watch, t, err := a.Follow(ctx, x.mesh.Tasks, x.caller())
	if err != nil {
		return err
	}
	defer watch.Close()
	return x.follow(ctx, watch, t, history(s.Config), a2aform.Settled)
}

// take has the core take a message: what can be refused is refused here. waits: what
// becomes of it is waited for, live: it is streamed. Close what it returns.
func (x messages) take(ctx context.Context, s *sending, waits, live bool) (*mesh.Acceptance, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := x.ofTenant(s.Tenant, a2a.ErrInvalidParams); err != nil {
		return nil, err
	}
	push, err := pushes(x.exchange).inline(s)
	if err != nil {
		return nil, err
	}
	x.known(s.Message)
	scope := auth.TasksWrite
	if s.Message.TaskID != "" {
		scope = auth.TasksInput
	}
	if err := x.door.Permit(scope); err != nil {
		return nil, err
	}
	key, err := x.door.Key(x.sent)
	if err != nil {
		return nil, err
	}
	if waits && !live { // a stream is held already
		if err := x.door.Hold(mesh.HeldWait); err != nil {
			return nil, err
		}
	}
	if s.Message.TaskID != "" {
		return x.answer(ctx, s.Message, key, push)
	}
	return x.begin(ctx, s, begin{key, push, waits, live})
}

// begin is how a message begins a task.
type begin struct {
	key         *mesh.Key
	push        *mesh.PushSettings
	waits, live bool
}

// begin makes the task of a message.
func (x messages) begin(ctx context.Context, s *sending, how begin) (*mesh.Acceptance, error) {
	agent, err := x.mesh.Agents.Definition(ctx, x.caller(), x.agent)
	if err != nil {
		return nil, err
	}
	if agent.Converses() {
		return x.say(ctx, s, agent, how)
	}
	sub, err := s.submission(agent.Name, agent.InputSchema)
	if err != nil {
		return nil, err
	}
	sub.Key, sub.EventDepth, sub.Push, sub.PushField = how.key, x.door.Depth(), how.push, pushField
	sub.Watch, sub.Live = how.waits, how.live
	a, err := x.mesh.Tasks.Accept(ctx, x.caller(), sub)
	if err == nil {
		x.door.Release()
	}
	return a, err
}

// answer gives a task the answers that a message has.
func (x messages) answer(ctx context.Context, m *message, key *mesh.Key, push *mesh.PushSettings) (taken *mesh.Acceptance, err error) {
	t, err := x.find(ctx, m.TaskID)
	if err != nil {
		return nil, err
	}
	if m.ContextID != "" && m.ContextID != a2aform.Context(t) {
		return nil, invalid(mesh.Field("the task is in another context", "/message/contextId"))
	}
	open := t.Questions()
	switch asked := slices.ContainsFunc(t.Answers, func(a task.Answer) bool { return a.Kind == task.WaitInput }); {
	case t.Status.Terminal():
		return nil, refuse(a2a.ErrUnsupportedOperation, mesh.ErrTaskFinished.Code, "The task is "+string(t.Status)+"; send the message without taskId, with the same contextId.")
	case len(open) == 0 && asked && key == nil:
		return nil, refuse(a2a.ErrUnsupportedOperation, mesh.ErrAlreadyAnswered.Code, "The question has been answered already.")
	case len(open) == 0 && key == nil:
		return nil, refuse(a2a.ErrUnsupportedOperation, "no_question", "The task works and asks nothing; wait for TASK_STATE_INPUT_REQUIRED, or send the message without taskId.")
	case len(open) == 0: // a repeat, perhaps
		open = asking(t)
	}
	all, err := m.content().answers(open)
	if err != nil {
		return nil, err
	}
	if err := pushes(x.exchange).keep(ctx, t.ID, push); err != nil {
		return nil, err
	}
	for _, one := range all {
		r := mesh.AnswerRequest{Name: one.name, Value: one.value, Message: m.ID}
		if len(all) == 1 {
			r.Key = key
		} else { // ids differ
			r.Message += "." + one.name
		}
		a, err := x.mesh.Tasks.Answer(ctx, x.caller(), t.ID, r)
		if err != nil {
			return nil, err
		}
		taken = a.Acceptance()
	}
	return taken, nil
}

// find reads a task of the agent. Of another one there is none here.
func (x *exchange) find(ctx context.Context, id string) (*task.Task, error) {
	t, err := x.mesh.Tasks.Get(ctx, x.caller(), task.ID(id))
	if err == nil && t.Agent != x.agent {
		err = task.ErrNotFound
	}
	return t, err
}

// getTask is GetTask.
func (x *exchange) getTask(ctx context.Context, in *a2a.GetTaskRequest) (*a2a.Task, error) {
	if in.HistoryLength != nil && *in.HistoryLength < 0 {
		return nil, invalid(mesh.Field("must not be negative", "/historyLength"))
	}
	if err := x.named(string(in.ID), in.Tenant); err != nil {
		return nil, err
	}
	t, err := x.find(ctx, string(in.ID))
	if err != nil {
		return nil, err
	}
	return x.view(ctx, t, in.HistoryLength, true)
}

// named refuses params without the id of a task, and those of another tenant.
func (x *exchange) named(id, tenant string) error {
	if id == "" {
		return invalid(mesh.Field("is missing", "/id"))
	}
	return x.ofTenant(tenant, a2a.ErrTaskNotFound)
}

// cancelTask is CancelTask: the task and those that it has started.
func (x *exchange) cancelTask(ctx context.Context, in *a2a.CancelTaskRequest) (*a2a.Task, error) {
	if err := x.named(string(in.ID), in.Tenant); err != nil {
		return nil, err
	}
	t, err := x.find(ctx, string(in.ID))
	if err != nil {
		return nil, err
	}
	const over = "The task has ended; a finished task never changes."
	if t.Status.Terminal() {
		return nil, refuse(a2a.ErrTaskNotCancelable, mesh.ErrTaskFinished.Code, over)
	}
	if t, err = x.mesh.Tasks.Cancel(ctx, x.caller(), t.ID); err != nil {
		if refused, _ := x.door.Refusal(err); refused.Refusal == mesh.ErrTaskFinished {
			return nil, refuse(a2a.ErrTaskNotCancelable, mesh.ErrTaskFinished.Code, over)
		}
		return nil, err
	}
	return x.view(ctx, t, nil, true)
}

// subscribe is SubscribeToTask: the task as it is, and what happens until its end.
func (x *exchange) subscribe(ctx context.Context, in *a2a.SubscribeToTaskRequest) error {
	if err := x.named(string(in.ID), in.Tenant); err != nil {
		return err
	}
	t, err := x.find(ctx, string(in.ID))
	if err != nil {
		return err
	}
	if t.Status.Terminal() {
		return refuse(a2a.ErrUnsupportedOperation, mesh.ErrTaskFinished.Code, "The task has ended: read it with GetTask.")
	}
	watch, t, err := x.mesh.Tasks.Watch(ctx, x.caller(), t.ID)
	if err != nil {
		return err
	}
	defer watch.Close()
	return x.follow(ctx, watch, t, nil, func(t *task.Task) bool { return t.Status.Terminal() })
}

// listTasks is ListTasks: those of the agent, newest change first.
func (x *exchange) listTasks(ctx context.Context, in *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	if err := x.ofTenant(in.Tenant, a2a.ErrInvalidParams); err != nil {
		return nil, err
	}
	if in.HistoryLength != nil && *in.HistoryLength < 0 {
		return nil, invalid(mesh.Field("must not be negative", "/historyLength"))
	}
	if in.PageSize < 0 || in.PageSize > 100 {
		return nil, invalid(mesh.Field("must be 1 to 100", "/pageSize"))
	}
	if in.PageSize == 0 {
		in.PageSize = 50
	}
	f, known := filterOf(x.agent, in)
	if !known {
		return nil, invalid(mesh.Field("is no state of a task", "/status"))
	}
	l := lister{x: x, filter: f, in: in}
	found, err := l.page(ctx)
	if err != nil {
		return nil, err
	}
	out := &a2a.ListTasksResponse{Tasks: []*a2a.Task{}, TotalSize: l.total(), PageSize: in.PageSize, NextPageToken: l.next}
	for _, t := range found {
		v, err := x.view(ctx, t, in.HistoryLength, in.IncludeArtifacts)
		if err != nil {
			return nil, err
		}
		out.Tasks = append(out.Tasks, v)
	}
	return out, nil
}

// asking is what was asked last: the question of a repeat.
func asking(t *task.Task) []task.Wait {
	for i := len(t.Answers) - 1; i >= 0; i-- {
		if a := t.Answers[i]; a.Kind == task.WaitInput {
			return []task.Wait{{Name: a.Name, Kind: a.Kind}}
		}
	}
	return []task.Wait{{Kind: task.WaitInput}}
}

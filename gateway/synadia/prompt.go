package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// exchange is a prompt and its answer.
type exchange struct {
	*Bridge
	prompt *protocol.Prompt
	agent  *mesh.Agent
}

var errDraining = errors.New("the gateway is shutting down")

// run answers a prompt.
func (x *exchange) run(ctx context.Context) {
	if trace := x.prompt.Header("traceparent"); trace != "" {
		ctx = telemetry.WithTraceParent(ctx, trace, x.prompt.Header("tracestate"))
	}
	if err := x.answer(store.AskedOnce(ctx)); err != nil {
		x.prompt.Fail(failure(err))
		return
	}
	x.prompt.End()
}

// failure is the error of the protocol that an error means.
func failure(err error) *protocol.Error {
	var already *protocol.Error
	if errors.As(err, &already) {
		return already
	}
	refused := mesh.RefusalOf(err)
	e := &protocol.Error{Code: problem.Status(refused.Refusal), Name: refused.Refusal.Code, Message: refused.Detail, RetryAfter: refused.Wait()}
	if e.Message == "" {
		e.Message = refused.Refusal.Title
	}
	for _, f := range refused.Faults {
		e.Message += " " + f.Pointer + " " + f.Detail + "."
	}
	if refused.Refusal == mesh.ErrStoreFull { // nothing was accepted
		e.Code = 429
	}
	switch e.Code {
	case 401, 403, 404, 409, 429:
	case 410: // expired
		e.Code = 404
	default:
		if e.Code >= 500 {
			e.Code = 500
		} else {
			e.Code = 400
		}
	}
	if e.Code == 409 || e.Code == 429 {
		e.RetryAfter = max(e.RetryAfter, time.Second)
	}
	return e
}

// answer does what a prompt asks for. An error is the end of the answer.
func (x *exchange) answer(ctx context.Context) error {
	if _, err := x.Mesh.Tenants.Allow(x.caller); err != nil {
		return err
	}
	if err := x.unheard(ctx); err != nil {
		return err
	}
	r := x.prompt.Request
	switch {
	case r.Cancel != "":
		return x.cancel(ctx, task.ID(r.Cancel))
	case r.TaskID != "":
		t, err := x.find(ctx, task.ID(r.TaskID))
		if err != nil {
			return err
		}
		return x.stay(ctx, t.ID, nil)
	case conversational(x.agent):
		return x.say(ctx)
	}
	s, err := x.submission()
	if err != nil {
		return err
	}
	a, err := x.Mesh.Tasks.Accept(context.WithoutCancel(ctx), x.caller, s)
	if err != nil {
		return err
	}
	defer a.Close()
	return x.stay(ctx, a.TaskID, nil)
}

// unheard refuses a signature that has been shown before, at any gateway, where only
// signed prompts are taken.
func (x *exchange) unheard(ctx context.Context) error {
	who := x.prompt.Sender
	if x.entry.MinTrust != "signed" || who.Class != protocol.Verified {
		return nil
	}
	first, err := x.Mesh.Tasks.Once(ctx, x.caller, "NATS", who.AgentID, who.Nonce)
	if err == nil && !first {
		err = &protocol.Error{Code: 401, Name: "unauthorized", Message: "The signature of the sender does not hold: it has come before."}
	}
	return err
}

// commands reads the texts by which official callers say what they have no field for.
func (x *exchange) commands() {
	r := x.prompt.Request
	word, rest, _ := strings.Cut(strings.TrimSpace(r.Prompt), " ")
	id, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
	switch {
	case word == "/task" && text == "" && task.ID(id).Valid():
		r.TaskID = id
	case word == "/cancel" && text == "" && task.ID(id).Valid():
		r.Cancel = id
	case word == "/session" && session.ID(id).Valid() && text != "":
		r.SessionID, r.Prompt = id, text
	}
}

func conversational(a *mesh.Agent) bool { return a.Converses() }

// find reads a task of this agent. Any other is not there.
func (x *exchange) find(ctx context.Context, id task.ID) (*task.Task, error) {
	t, err := x.Mesh.Tasks.Get(ctx, x.caller, id)
	if err == nil && t.Agent != x.agent.Name {
		err = mesh.Refuse(mesh.ErrTaskNotFound, "There is no task %s of the agent %s.", mesh.Clip(id, 64), x.agent.Name)
	}
	return t, err
}

func (x *exchange) cancel(ctx context.Context, id task.ID) error {
	t, err := x.find(ctx, id)
	if err != nil {
		return err
	}
	if t.Kind == task.KindTurn {
		_, err = x.Mesh.Sessions.Cancel(ctx, x.caller, t)
	} else {
		_, err = x.Mesh.Tasks.Cancel(ctx, x.caller, id)
	}
	if err != nil {
		return err
	}
	_ = x.prompt.Ack()
	return x.prompt.Response("The task " + string(id) + " is canceled.")
}

// key is what makes a repeated prompt the same one, nil where nothing does: core NATS
// delivers once at most.
func (x *exchange) key() *mesh.Key {
	key := x.prompt.IdempotencyKey
	for _, name := range []string{"Idempotency-Key", "Nats-Msg-Id"} {
		if key == "" {
			key = x.prompt.Header(name)
		}
	}
	if key == "" {
		return nil
	}
	request := []string{x.agent.Name, x.prompt.SessionID, x.prompt.Prompt}
	for _, a := range x.prompt.Attachments {
		request = append(request, a.Filename, string(a.Content))
	}
	return mesh.NewKey(x.caller, key, []string{"NATS", "prompt"}, request...)
}

// maxInstruction is the longest prompt in bytes that is an instruction.
const maxInstruction = 64 << 10

// file is an attachment as the agent gets it, and gives it.
type file struct {
	Filename string `json:"filename"`
	Bytes    []byte `json:"bytes"`
}

// submission is the task that a prompt asks for.
func (x *exchange) submission() (*mesh.Submission, error) {
	r := x.prompt.Request
	meta, err := task.Marshal(map[string]any{"mesh/sender": x.prompt.Sender})
	if err != nil {
		return nil, err
	}
	s := &mesh.Submission{Kind: task.KindTask, Agent: x.agent.Name, Key: x.key(), Metadata: meta}
	switch {
	case takesObject(x.agent) && len(r.Attachments) == 0:
		text := strings.TrimSpace(r.Prompt)
		if !strings.HasPrefix(text, "{") || !json.Valid([]byte(text)) {
			return nil, &protocol.Error{Code: 400, Name: mesh.ErrInputInvalid.Code, Message: "This agent takes an object: send {\"prompt\":\"{…}\"} with its JSON."}
		}
		s.Input = json.RawMessage(text)
	case len(r.Attachments) == 0 && len(r.Prompt) <= maxInstruction:
		s.Instruction = r.Prompt
	default:
		files := make([]file, 0, len(r.Attachments))
		for _, a := range r.Attachments {
			files = append(files, file{a.Filename, a.Content})
		}
		s.Input, err = task.Marshal(struct {
			Text  string `json:"text"`
			Files []file `json:"files,omitempty"`
		}{r.Prompt, files})
	}
	return s, err
}

// takesObject reports whether the input of an agent is an object by its schema.
func takesObject(a *mesh.Agent) bool {
	var s struct {
		Type any `json:"type"`
	}
	return json.Unmarshal(a.InputSchema, &s) == nil && s.Type == "object"
}

// say says a message in the session that is named, the one that a verified sender has
// with the agent, or a new one.
func (x *exchange) say(ctx context.Context) error {
	if len(x.prompt.Attachments) > 0 {
		return &protocol.Error{Code: 400, Name: "bad_request", Message: "A conversation takes no attachments."}
	}
	id, key := session.ID(x.prompt.SessionID), x.key()
	opened := id == ""
	if opened {
		o, err := x.open(ctx, key)
		if err != nil {
			return err
		}
		id = o.SessionID
	}
	a, turn, err := x.Mesh.Sessions.Say(context.WithoutCancel(ctx), x.caller, id, &mesh.Message{
		Text: x.prompt.Prompt, Agent: x.agent.Name, OnBusy: mesh.Wait, Key: key, Until: time.Now().Add(x.Hold),
	})
	if opened && x.prompt.Sender.Class == protocol.Verified && gone(err) {
		o, other := x.Mesh.Sessions.Open(context.WithoutCancel(ctx), x.caller, x.agent.Name, nil)
		if other != nil {
			return other
		}
		id = o.SessionID
		a, turn, err = x.Mesh.Sessions.Say(context.WithoutCancel(ctx), x.caller, id, &mesh.Message{
			Text: x.prompt.Prompt, Agent: x.agent.Name, OnBusy: mesh.Wait, Key: key, Until: time.Now().Add(x.Hold),
		})
	}
	if err != nil {
		return err
	}
	defer a.Close()
	return x.stay(ctx, a.TaskID, turn)
}

// open opens a session. A verified sender keeps one: a repeat of the same opening finds it.
func (x *exchange) open(ctx context.Context, key *mesh.Key) (*mesh.Opened, error) {
	var opening *mesh.Key
	switch {
	case x.prompt.Sender.Class == protocol.Verified:
		opening = mesh.NewKey(x.caller, x.prompt.Sender.AgentID, []string{"NATS", "session of"}, x.agent.Name)
	case key != nil:
		opening = mesh.NewKey(x.caller, x.prompt.IdempotencyKey+x.prompt.Header("Idempotency-Key")+x.prompt.Header("Nats-Msg-Id"), []string{"NATS", "session"}, x.agent.Name)
	}
	return x.Mesh.Sessions.Open(context.WithoutCancel(ctx), x.caller, x.agent.Name, opening)
}

// gone says whether a session cannot be gone on with.
func gone(err error) bool {
	return err != nil && (errors.Is(err, mesh.ErrSessionNotFound) || errors.Is(err, mesh.ErrSessionExpired) || errors.Is(err, mesh.ErrSessionFull) ||
		errors.Is(err, session.ErrNotFound))
}

// stay tells the handle of a task, and follows it.
func (x *exchange) stay(ctx context.Context, id task.ID, turn *task.Task) error {
	release, err := x.Mesh.Tenants.Hold(x.caller, mesh.HeldStream)
	if err != nil {
		_ = x.prompt.Ack() // it is accepted: the handle says how to go on
		x.handle(id, turn)
		return x.prompt.Response(later(id))
	}
	defer release()
	var watch *store.Watch
	t := turn
	if turn != nil {
		watch, t, err = x.Mesh.Sessions.WatchTurn(ctx, turn)
	} else {
		watch, t, err = x.Mesh.Tasks.Watch(ctx, x.caller, id)
	}
	if err != nil {
		return err
	}
	defer watch.Close()
	_ = x.prompt.Ack()
	x.handle(id, t)
	return (&follower{exchange: x, watch: watch, t: t}).run(ctx)
}

// handle tells how to go on with the task from anywhere.
func (x *exchange) handle(id task.ID, t *task.Task) {
	_ = x.prompt.Status("task:" + string(id))
	data := map[string]any{"task_id": id}
	if t != nil && t.SessionID != "" {
		_ = x.prompt.Status("session:" + string(t.SessionID))
		data["session_id"] = t.SessionID
	}
	if t != nil {
		if trace := telemetry.TraceIDOf(t.TraceParent); trace != "" {
			data["trace_id"] = trace
		}
	}
	_ = x.prompt.Chunk("mesh", data)
}

func later(id task.ID) string {
	return "Still running. Prompt `/task " + string(id) + "` to go on."
}

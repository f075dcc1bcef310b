package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// turns are the operations on the turns of sessions.
type turns struct {
	mesh *mesh.Mesh
	show views
}

func (h turns) routes() []route {
	const one, turn = "/sessions/{id}", "/sessions/{id}/turns/{turn_id}"
	return []route{
		operation("POST", one+"/messages", auth.SessionsWrite, "postMessage", "Say something, and get the reply", h.postMessage, mesh.ErrSessionNotFound, mesh.ErrSessionExpired,
			mesh.ErrSessionBusy, mesh.ErrSessionQueueFull, mesh.ErrSessionFull, mesh.ErrPreconditionFailed, mesh.ErrStoreFull),
		operation("GET", turn, auth.SessionsRead, "getTurn", "Read a turn", h.getTurn, mesh.ErrTurnNotFound),
		operation("POST", turn+"/cancel", auth.SessionsWrite, "cancelTurn", "Cancel a turn; its message stays in the transcript, marked as interrupted", h.cancelTurn, mesh.ErrTurnNotFound, mesh.ErrTaskFinished),
	}
}

// waitDefault is how long a message is answered at the latest, unless the client
// prefers otherwise.
const waitDefault = 30 * time.Second

// said is a message to a session.
type said struct {
	request
	ID session.ID `path:"id"`
	_  struct{}   `header:"Idempotency-Key" doc:"The same message with the same key is said once, and its repeat has the same answer, for 24 hours."`
	_  struct{}   `header:"Prefer" doc:"wait=N waits up to N seconds for the reply (default 30, at most 60); respond-async does not wait."`
	ifUnchanged
	caused
	Body api.PostMessage `body:"required"`
}

// replied is its answer: what the turn came to, or that it goes on.
type replied struct {
	Reply *api.TurnReply    `status:"200"`
	Turn  *api.AcceptedTurn `status:"202"`
	acceptance
}

// postMessage is POST /sessions/{id}/messages.
func (h turns) postMessage(ctx context.Context, in said) (out replied, err error) {
	m, err := readMessage(in.Body)
	if err != nil {
		return out, err
	}
	if m.Key, err = in.key(); err != nil {
		return out, err
	}
	m.EventDepth, m.Expect, m.Until = in.depth, in.expect(), time.Now().Add(waitDefault)
	if in.prefs.wait > 0 {
		m.Until = time.Now().Add(in.prefs.wait)
	}
	if in.prefs.wait > 0 || !in.prefs.async {
		if err := in.hold(mesh.HeldWait); err != nil {
			return out, err
		}
	}
	a, t, err := h.mesh.Sessions.Say(ctx, in.caller(), in.ID, m)
	if err != nil {
		return out, err
	}
	defer a.Close()
	return h.answerTurn(ctx, in.call, a, t, m.Until)
}

func readMessage(req api.PostMessage) (*mesh.Message, error) {
	var faults []mesh.Invalid
	pointer := "/text"
	switch {
	case req.Text == "" && req.Message != "":
		req.Text, pointer = req.Message, "/message"
	case req.Message != "" && req.Message != req.Text: // one of them would not be said
		faults = append(faults, mesh.Field("send text or message, not both", "/message"))
	}
	answers := len(req.Answer) > 0
	if answers && req.Text != "" {
		faults = append(faults, mesh.Field("send text or answer, not both", "/answer"))
	} else if answers {
		req.Text, pointer = string(req.Answer), "/answer"
	}
	if wrong := session.CheckText(req.Text); wrong != "" {
		faults = append(faults, mesh.Field(wrong, pointer))
	}
	m := &mesh.Message{Text: req.Text, IsAnswer: answers, Agent: req.Agent, OnBusy: mesh.Reject}
	switch b := mesh.OnBusy(req.OnBusy); b {
	case "":
	case mesh.Reject, mesh.Wait, mesh.Interrupt:
		m.OnBusy = b
	default:
		faults = append(faults, mesh.Field("it must be reject, wait or interrupt", "/on_busy"))
	}
	if len(faults) > 0 {
		return nil, mesh.RefuseFields(faults...)
	}
	return m, nil
}

// answerTurn holds the answer until the turn has ended or the time is over.
func (h turns) answerTurn(ctx context.Context, c *call, a *mesh.Acceptance, t *task.Task, until time.Time) (out replied, err error) {
	out.acceptance = acceptance{Location: statusURL(t), Applied: c.prefs.honoured(), Replayed: replayed(a.Replayed)}
	if wait := time.Until(until); wait > 0 && (c.prefs.wait > 0 || !c.prefs.async) && !t.Status.Terminal() {
		t = h.mesh.Sessions.WaitTurn(ctx, a, t, wait)
	}
	if t.Status.Terminal() {
		reply, err := h.replyOf(ctx, t)
		out.Reply = &reply
		return out, err
	}
	out.RetryAfter = "1"
	out.Turn = &api.AcceptedTurn{
		SessionID: t.SessionID, TurnID: string(t.ID), Status: string(task.Pending), StatusURL: c.links().status(t), Agent: t.Agent,
		CreatedAt: t.CreatedAt, TraceID: telemetry.TraceIDOf(t.TraceParent), Warning: a.Warning,
	}
	return out, nil
}

// replyOf is what a finished turn came to.
func (h turns) replyOf(ctx context.Context, t *task.Task) (api.TurnReply, error) {
	v := api.TurnReply{SessionID: t.SessionID, TurnID: string(t.ID), Status: string(t.Status), Error: plainError(t.Error), TraceID: telemetry.TraceIDOf(t.TraceParent)}
	if t.Status != task.Completed {
		return v, nil
	}
	message, awaiting, err := h.mesh.Sessions.Replied(ctx, t)
	v.Message, v.Awaiting = &message, awaiting
	return v, err
}

// ofTurn is the turn of a path.
type ofTurn struct {
	Session session.ID `path:"id"`
	Turn    task.ID    `path:"turn_id"`
}

// turnPoll asks for a turn.
type turnPoll struct {
	request
	ofTurn
	known
	held
}

// getTurn is GET /sessions/{id}/turns/{turn_id}.
func (h turns) getTurn(ctx context.Context, in turnPoll) (out polled[api.Turn], err error) {
	t, err := h.mesh.Sessions.Turn(ctx, in.caller(), in.Session, in.Turn)
	if err != nil {
		return out, err
	}
	return poll(ctx, h.mesh, in.call, t, in.Known, func(t *task.Task) (api.Turn, error) { return h.turnView(ctx, in.links(), t) })
}

// onTurn is a request about a turn that takes nothing else.
type onTurn struct {
	request
	ofTurn
}

// cancelTurn is POST /sessions/{id}/turns/{turn_id}/cancel.
func (h turns) cancelTurn(ctx context.Context, in onTurn) (out tagged[api.Turn], err error) {
	t, err := h.mesh.Sessions.Turn(ctx, in.caller(), in.Session, in.Turn)
	if err == nil {
		t, err = h.mesh.Sessions.Cancel(ctx, in.caller(), t)
	}
	if err != nil {
		return out, err
	}
	v, err := h.turnView(ctx, in.links(), t)
	return tagged[api.Turn]{Body: &v, ETag: etag(t)}, err
}

// turnView is a turn as the client of its session sees it.
func (h turns) turnView(ctx context.Context, l links, t *task.Task) (api.Turn, error) {
	v, err := h.show.familyOf(ctx, l, t)
	if err != nil {
		return api.Turn{}, err
	}
	turn := api.Turn{Task: v, Text: session.Said(t), Message: t.Message, Continues: string(t.Continues)}
	if t.Status == task.Completed {
		reply, err := h.replyOf(ctx, t)
		if err != nil {
			return turn, err
		}
		turn.Message, turn.Awaiting = *reply.Message, reply.Awaiting
	}
	return turn, nil
}

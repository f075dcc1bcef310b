package gateway

import (
	"context"
	"net/http"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// waitDefault is how long a message is answered at the latest, unless the client
// prefers otherwise.
const waitDefault = 30 * time.Second

// postMessage is POST /sessions/{id}/messages.
func (g *Gateway) postMessage(w http.ResponseWriter, r *http.Request) error {
	body, err := g.readJSON(w, r)
	if err != nil {
		return err
	}
	m, err := readMessage(body, lenient(r))
	if err != nil {
		return err
	}
	if m.Key, err = keyOf(r, body); err != nil {
		return err
	}
	if m.EventDepth, err = eventDepth(r); err != nil {
		return err
	}
	prefs := preferred(r)
	m.Until = time.Now().Add(waitDefault)
	if prefs.wait > 0 {
		m.Until = time.Now().Add(prefs.wait)
	}
	if known := r.Header.Get("If-Match"); known != "" {
		m.Expect = func(rev uint64) error { return ifMatch(known, rev) }
	}
	a, t, err := g.mesh.Sessions.Say(r.Context(), callerOf(r), r.PathValue("id"), m)
	if err != nil {
		return err
	}
	defer a.Close()
	return g.answerTurn(w, r, a, t, m.Until)
}

func readMessage(body []byte, lenient bool) (*mesh.Message, error) {
	var req api.PostMessage
	if err := decodeObject(body, &req, lenient); err != nil {
		return nil, err
	}
	var faults []mesh.Invalid
	pointer := "/text"
	if req.Text == "" && req.Message != "" {
		req.Text, pointer = req.Message, "/message"
	}
	if wrong := session.CheckText(req.Text); wrong != "" {
		faults = append(faults, mesh.Field(wrong, pointer))
	}
	m := &mesh.Message{Text: req.Text, Agent: req.Agent, OnBusy: mesh.Reject}
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
func (g *Gateway) answerTurn(w http.ResponseWriter, r *http.Request, a *mesh.Acceptance, t *task.Task, until time.Time) error {
	prefs, h := preferred(r), w.Header()
	if a.Replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Vary", "Prefer")
	h.Set("Location", statusURL(t))
	prefs.applied(h)
	if wait := time.Until(until); wait > 0 && (prefs.wait > 0 || !prefs.async) && !t.Status.Terminal() {
		t = g.mesh.Sessions.WaitTurn(r.Context(), a, t, wait)
	}
	if t.Status.Terminal() {
		reply, err := g.replyOf(r.Context(), t)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, reply)
	}
	h.Set("Retry-After", "1")
	return writeJSON(w, http.StatusAccepted, api.AcceptedTurn{
		SessionID: t.SessionID, TurnID: t.ID, Status: string(task.Pending), StatusURL: linksOf(w).status(t), Agent: t.Agent,
		CreatedAt: t.CreatedAt, TraceID: telemetry.TraceIDOf(t.TraceParent), Warning: a.Warning,
	})
}

// replyOf is what a finished turn came to.
func (g *Gateway) replyOf(ctx context.Context, t *task.Task) (api.TurnReply, error) {
	v := api.TurnReply{SessionID: t.SessionID, TurnID: t.ID, Status: string(t.Status), Error: plainError(t.Error), TraceID: telemetry.TraceIDOf(t.TraceParent)}
	if t.Status != task.Completed {
		return v, nil
	}
	message, err := g.mesh.Sessions.Reply(ctx, t)
	v.Message = &message
	return v, err
}

// turnOf reads the turn of a path.
func (g *Gateway) turnOf(r *http.Request) (*task.Task, error) {
	return g.mesh.Sessions.Turn(r.Context(), callerOf(r), r.PathValue("id"), r.PathValue("turn_id"))
}

// getTurn is GET /sessions/{id}/turns/{turn_id}.
func (g *Gateway) getTurn(w http.ResponseWriter, r *http.Request) error {
	t, err := g.turnOf(r)
	if err != nil {
		return err
	}
	return g.answerTask(w, r, t, g.writeTurn)
}

// cancelTurn is POST /sessions/{id}/turns/{turn_id}/cancel.
func (g *Gateway) cancelTurn(w http.ResponseWriter, r *http.Request) error {
	t, err := g.turnOf(r)
	if err == nil {
		t, err = g.mesh.Sessions.Cancel(r.Context(), t)
	}
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(t))
	return g.writeTurn(w, r, t)
}

// writeTurn answers with a turn as the client of its session sees it.
func (g *Gateway) writeTurn(w http.ResponseWriter, r *http.Request, t *task.Task) error {
	v, err := g.familyOf(r.Context(), linksOf(w), t)
	if err != nil {
		return err
	}
	turn := api.Turn{Task: v, Text: t.Instruction, Message: t.Message}
	if t.Status == task.Completed {
		reply, err := g.replyOf(r.Context(), t)
		if err != nil {
			return err
		}
		turn.Message = *reply.Message
	}
	return writeJSON(w, http.StatusOK, turn)
}

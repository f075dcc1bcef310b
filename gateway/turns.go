package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// PostMessage is the body of POST /sessions/{id}/messages.
type PostMessage struct {
	Text    string `json:"text,omitempty" maxLength:"65536" doc:"What the user says."`
	Message string `json:"message,omitempty" maxLength:"65536" doc:"The same as text."`
	OnBusy  string `json:"on_busy,omitempty" enum:"reject,wait,interrupt" doc:"While another turn is open: refuse with 409 (default), wait behind it and all that wait already (at most 32), or cancel them all."`
	Agent   string `json:"agent,omitempty" doc:"If sent, it must be the session's agent."`
}

// What a message asks for while another turn is open.
const (
	busyReject    = "reject"
	busyWait      = "wait"
	busyInterrupt = "interrupt"
)

// TurnReply is what a turn came to.
type TurnReply struct {
	SessionID string      `json:"session_id"`
	Message   *string     `json:"message" doc:"The agent's reply; null unless the turn is completed."`
	TurnID    string      `json:"turn_id"`
	Status    task.State  `json:"status" enum:"completed,failed,canceled"`
	Error     *task.Error `json:"error,omitempty"`
	TraceID   string      `json:"trace_id,omitempty"`
}

// AcceptedTurn is the body of a 202: the turn goes on.
type AcceptedTurn struct {
	SessionID string     `json:"session_id"`
	TurnID    string     `json:"turn_id"`
	Status    task.State `json:"status" enum:"pending"`
	StatusURL string     `json:"status_url"`
	Agent     string     `json:"agent"`
	CreatedAt time.Time  `json:"created_at"`
	TraceID   string     `json:"trace_id,omitempty"`
}

// Turn is a turn as clients see it: a task, whose message is the reply once it
// is completed.
type Turn struct {
	Task
	Text    string `json:"text" doc:"What the user said."`
	Message string `json:"message,omitempty" doc:"The agent's reply of a completed turn, else its latest progress message."`
}

// waitDefault is how long a message is answered at the latest, unless the client
// prefers otherwise.
const waitDefault = 30 * time.Second

// postMessage is POST /sessions/{id}/messages.
func (g *Gateway) postMessage(w http.ResponseWriter, r *http.Request) error {
	body, err := g.readJSON(w, r)
	if err != nil {
		return err
	}
	key, err := newKey(r, body)
	if err != nil {
		return err
	}
	req, err := readMessage(body, lenient(r))
	if err != nil {
		return err
	}
	m := message{req, r.Header.Get("If-Match")}
	s, err := g.sessionOf(r)
	if err == nil {
		err = g.admit(r.Context(), s, m)
	}
	if err != nil {
		// A repeat gets its first answer, even if the session takes no more.
		if answered, again := g.turnAgain(w, r, key); answered {
			return again
		}
		return err
	}
	t := &task.Task{
		ID: task.NewID(task.PrefixTurn, uuid.Must(uuid.NewV7())), Tenant: tenant, Kind: task.KindTurn, Agent: s.Agent, SessionID: s.ID,
		Status: task.Pending, Instruction: req.Text, CreatedAt: task.Stamp(time.Now()),
		TraceParent: telemetry.TraceParent(r.Context()), TraceState: telemetry.TraceState(r.Context()),
	}
	if err := deepen(t, r); err != nil {
		return err
	}
	return g.acceptTurn(w, r, s, m, t, key)
}

func readMessage(body []byte, lenient bool) (req PostMessage, err error) {
	if err := decodeObject(body, &req, lenient); err != nil {
		return req, err
	}
	var faults []mesh.Invalid
	pointer := "/text"
	if req.Text == "" && req.Message != "" {
		req.Text, pointer = req.Message, "/message"
	}
	if wrong := session.CheckText(req.Text); wrong != "" {
		faults = append(faults, mesh.Field(wrong, pointer))
	}
	switch req.OnBusy {
	case "":
		req.OnBusy = busyReject
	case busyReject, busyWait, busyInterrupt:
	default:
		faults = append(faults, mesh.Field("it must be reject, wait or interrupt", "/on_busy"))
	}
	if len(faults) > 0 {
		return req, mesh.RefuseFields(faults...)
	}
	return req, nil
}

// message is what a client sends, and the version of the session that it knows.
type message struct {
	req     PostMessage
	ifMatch string
}

// admit says whether a session takes a message.
func (g *Gateway) admit(ctx context.Context, s *session.Session, m message) error {
	if m.req.Agent != "" && m.req.Agent != s.Agent {
		return mesh.RefuseFields(mesh.Field("the session is with agent "+s.Agent+"; leave it out, or start another session", "/agent"))
	}
	if err := ifMatch(m.ifMatch, s); err != nil {
		return err
	}
	a, err := g.agents.resolve(ctx, s.Agent)
	if err != nil {
		return err
	}
	return s.RoomBehind(m.req.Text, a.Definition.Definition)
}

// turnAgain answers the repeat of a message that was accepted.
func (g *Gateway) turnAgain(w http.ResponseWriter, r *http.Request, key *requestKey) (answered bool, err error) {
	stored, ok, err := g.recall(r.Context(), key)
	if err != nil || !ok || key.matches(stored) != nil {
		return false, nil
	}
	var answer Accepted
	if json.Unmarshal(stored.Answer, &answer) != nil {
		return false, nil
	}
	t, err := g.find(r.Context(), answer.TaskID, place{answer.Agent, r.PathValue("id")})
	if err != nil {
		return false, nil // it was never accepted
	}
	w.Header().Set("Idempotent-Replayed", "true")
	return true, g.answerTurn(w, r, g.tend(r.Context(), t), preferred(r), time.Now().Add(waitDefault), nil)
}

// acceptTurn opens the turn and answers with the reply when it comes in time.
func (g *Gateway) acceptTurn(w http.ResponseWriter, r *http.Request, s *session.Session, m message, t *task.Task, key *requestKey) error {
	prefs := preferred(r)
	until := time.Now().Add(waitDefault)
	if prefs.wait > 0 {
		until = time.Now().Add(prefs.wait)
	}
	telemetry.Annotate(r.Context(), append(telemetry.Session(t.SessionID), telemetry.TaskID(t.ID), telemetry.Agent(t.Agent))...)
	ctx, span := telemetry.StartPublish(r.Context(), topology.TurnsTemplate, append(telemetry.Session(t.SessionID), telemetry.TaskID(t.ID), telemetry.MessageID(t.ID))...)
	answer := Accepted{TaskID: t.ID, Status: task.Pending, StatusURL: turnURL(t.SessionID, t.ID), Agent: t.Agent, CreatedAt: t.CreatedAt, TraceID: telemetry.TraceID(ctx), TraceURL: g.traceURL(telemetry.TraceID(ctx))}
	var watch *store.Watch
	replayed, err := g.claim(context.WithoutCancel(ctx), key, &answer, placeOf(t))
	if t.ID = answer.TaskID; err == nil && !replayed {
		// Subscribed before the turn exists, so that no outcome is missed.
		if watch, err = g.store.Watch(tenant, t.ID, false); err == nil {
			defer watch.Close()
			if err = g.openTurn(ctx, s, m, t, until); err == nil {
				telemetry.TasksAccepted.Add(1, t.Agent, string(t.Kind))
			}
		}
	}
	telemetry.End(span, err)
	if err != nil {
		return err
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
		if t, err = g.find(r.Context(), t.ID, placeOf(t)); err != nil {
			return err
		}
		t = g.tend(r.Context(), t)
	}
	return g.answerTurn(w, r, t, prefs, until, watch)
}

// answerTurn holds the answer until the turn has ended or the time is over.
func (g *Gateway) answerTurn(w http.ResponseWriter, r *http.Request, t *task.Task, prefs preferences, until time.Time, watch *store.Watch) error {
	h := w.Header()
	h.Set("Vary", "Prefer")
	h.Set("Location", turnURL(t.SessionID, t.ID))
	prefs.applied(h)
	if wait := time.Until(until); wait > 0 && (prefs.wait > 0 || !prefs.async) && !t.Status.Terminal() {
		defer g.tending(r.Context(), t)()
		done, err := t, error(nil)
		if watch != nil {
			done, err = g.await(r.Context(), t.ID, wait, watch)
		} else {
			done, err = g.awaitChange(r.Context(), t, false, wait)
		}
		if err == nil && done != nil {
			t = done
		}
	}
	if t.Status.Terminal() {
		reply, err := g.replyOf(r.Context(), t)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, reply)
	}
	h.Set("Retry-After", "1")
	return writeJSON(w, http.StatusAccepted, AcceptedTurn{
		SessionID: t.SessionID, TurnID: t.ID, Status: task.Pending, StatusURL: turnURL(t.SessionID, t.ID), Agent: t.Agent,
		CreatedAt: t.CreatedAt, TraceID: telemetry.TraceIDOf(t.TraceParent),
	})
}

// replyOf is what a finished turn came to.
func (g *Gateway) replyOf(ctx context.Context, t *task.Task) (TurnReply, error) {
	v := TurnReply{SessionID: t.SessionID, TurnID: t.ID, Status: t.Status, Error: t.Error, TraceID: telemetry.TraceIDOf(t.TraceParent)}
	if t.Status != task.Completed {
		return v, nil
	}
	raw, err := g.store.Value(ctx, t.Result)
	if err != nil {
		return v, err
	}
	var result struct {
		Message string `json:"message"`
	}
	err = json.Unmarshal(raw, &result)
	v.Message = &result.Message
	return v, err
}

// turnOf reads the turn of a path.
func (g *Gateway) turnOf(r *http.Request) (*task.Task, error) {
	id, turn := r.PathValue("id"), r.PathValue("turn_id")
	if !session.ValidID(id) || !task.ValidID(turn) || !task.IsTurn(turn) {
		return nil, mesh.Refuse(mesh.ErrTurnNotFound, "%q is not the id of a turn of session %q.", mesh.Clip(turn, 64), mesh.Clip(id, 64))
	}
	t, err := g.store.Get(r.Context(), tenant, turn)
	if errors.Is(err, task.ErrNotFound) {
		if s, gone := g.store.Session(r.Context(), tenant, id); gone == nil {
			t, err = g.store.FindTurn(r.Context(), tenant, s.Agent, id, turn)
		}
	}
	if err == nil && t.SessionID != id || errors.Is(err, task.ErrNotFound) {
		return nil, mesh.Refuse(mesh.ErrTurnNotFound, "The session has no such turn, or it is past its retention of 7 days.")
	}
	return t, err
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
		t, err = g.cancelTree(context.WithoutCancel(r.Context()), t.ID, placeOf(t))
	}
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(t))
	return g.writeTurn(w, r, t)
}

// writeTurn answers with a turn as the client of its session sees it.
func (g *Gateway) writeTurn(w http.ResponseWriter, r *http.Request, t *task.Task) error {
	v, err := g.familyOf(r.Context(), t)
	if err != nil {
		return err
	}
	turn := Turn{Task: v, Text: t.Instruction, Message: t.Message}
	if t.Status == task.Completed {
		reply, err := g.replyOf(r.Context(), t)
		if err != nil {
			return err
		}
		turn.Message = *reply.Message
	}
	return writeJSON(w, http.StatusOK, turn)
}

package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// parentHeader names the task that a new one is a child of, for agents that are
// not written in Go.
const parentHeader = "Mesh-Parent-Task"

// createTask is POST /tasks.
func (g *Gateway) createTask(w http.ResponseWriter, r *http.Request) error {
	return g.create(w, r, task.KindTask)
}

func (g *Gateway) create(w http.ResponseWriter, r *http.Request, kind task.Kind) error {
	body, err := g.readJSON(w, r)
	if err != nil {
		return err
	}
	if kind == task.KindAction && r.Header.Get(parentHeader) != "" {
		return mesh.Refuse(mesh.ErrValidationFailed, "An action has no parent: leave %s out, or start the child with POST /tasks, which takes a callback_url too.", parentHeader)
	}
	var req api.CreateTask
	if err := decodeObject(body, &req, lenient(r)); err != nil {
		return err
	}
	s := submission(&req, kind, time.Now())
	if s.Key, err = keyOf(r, body); err != nil {
		return err
	}
	if s.EventDepth, err = eventDepth(r); err != nil {
		return err
	}
	s.Parent, s.Request = r.Header.Get(parentHeader), []byte(mesh.Canonical(body))
	s.Watch = preferred(r).wait > 0
	a, err := g.mesh.Tasks.Accept(r.Context(), callerOf(r), s)
	if err != nil {
		return err
	}
	return g.answerAccepted(w, r, a)
}

// null treats an explicit null as left out.
func null(v json.RawMessage) json.RawMessage {
	if string(v) == "null" {
		return nil
	}
	return v
}

// submission reads the fields with a form of their own. A field that cannot be
// read is among its faults.
func submission(req *api.CreateTask, kind task.Kind, now time.Time) *mesh.Submission {
	s := &mesh.Submission{
		Kind: kind, Agent: req.Agent, Instruction: req.Instruction, Input: null(req.Input), Labels: req.Labels, Metadata: null(req.Metadata),
		CallbackURL: req.CallbackURL, CallbackEvents: req.CallbackEvents, CallbackSecret: req.CallbackSecretRef,
	}
	fault := func(pointer, detail string) { s.Faults = append(s.Faults, mesh.Field(detail, pointer)) }
	if n := req.MaxAttempts; n != nil {
		if s.MaxAttempts = *n; *n < 1 || *n > task.MaxAttempts {
			fault("/max_attempts", "it must be 1 to "+strconv.Itoa(task.MaxAttempts)+"; leave it out for the agent's own")
		}
	}
	if req.Timeout != "" {
		d, err := time.ParseDuration(req.Timeout)
		if err != nil || d < time.Millisecond || d > task.MaxTimeout {
			fault("/timeout", `it must be a duration such as "90s" or "5m", 1ms to 24h`)
		}
		s.Timeout = d
	}
	times(req, s, now, fault)
	return s
}

func times(req *api.CreateTask, s *mesh.Submission, now time.Time, fault func(pointer, detail string)) {
	switch {
	case req.Delay != "" && req.RunAt != "":
		fault("/delay", "send delay or run_at, not both")
	case req.Delay != "":
		d, err := time.ParseDuration(req.Delay)
		if err != nil || d < 0 || d > mesh.MaxAhead {
			fault("/delay", `it must be a duration such as "90s" or "24h", at most a year`)
		} else if d > 0 {
			s.NotBefore = now.Add(d)
		}
	case req.RunAt != "":
		at, err := time.Parse(time.RFC3339, req.RunAt)
		switch {
		case err != nil:
			fault("/run_at", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case at.Before(now):
			fault("/run_at", "it is in the past; leave it out to run at once")
		case at.After(now.Add(mesh.MaxAhead)):
			fault("/run_at", "it is more than a year ahead")
		default:
			s.NotBefore = at
		}
	}
	if req.Deadline != "" {
		at, err := time.Parse(time.RFC3339, req.Deadline)
		switch {
		case err != nil:
			fault("/deadline", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case !at.After(now) || !at.After(s.NotBefore):
			fault("/deadline", "it must lie ahead, and after the time at which the task may run")
		default:
			s.Deadline = at
		}
	}
}

// answerAccepted holds the answer for as long as the client prefers and then
// says 200 with the outcome or 202.
func (g *Gateway) answerAccepted(w http.ResponseWriter, r *http.Request, a *mesh.Acceptance) error {
	defer a.Close()
	releaseBody(r)
	prefs, h, answer := preferred(r), w.Header(), g.acceptedOf(linksOf(w), a)
	if a.Replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Vary", "Prefer")
	h.Set("Location", acceptedPath(a))
	prefs.applied(h)
	if prefs.wait > 0 {
		t, err := g.mesh.Tasks.Wait(r.Context(), callerOf(r), a, prefs.wait)
		if err == nil && t != nil && t.Status.Terminal() {
			h.Set("ETag", etag(t))
			return writeJSON(w, http.StatusOK, g.view(linksOf(w), t))
		}
	}
	h.Set("Retry-After", "1")
	return writeJSON(w, http.StatusAccepted, wire(answer))
}

// acceptedOf is the body of the 202 of a task.
func (g *Gateway) acceptedOf(l links, a *mesh.Acceptance) api.Accepted {
	return api.Accepted{
		TaskID: a.TaskID, Status: string(task.Pending), StatusURL: string(l) + acceptedPath(a), Agent: a.Agent, CreatedAt: a.CreatedAt,
		RetriedFrom: a.RetriedFrom, TraceID: a.TraceID, TraceURL: g.traceURL(a.TraceID), Warning: a.Warning,
	}
}

func acceptedPath(a *mesh.Acceptance) string {
	if strings.HasPrefix(a.TaskID, task.PrefixAction) {
		return "/actions/" + a.TaskID
	}
	return taskURL(a.TaskID)
}

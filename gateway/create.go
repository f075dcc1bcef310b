package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// CreateTask is the body of POST /tasks.
type CreateTask struct {
	Agent       string            `json:"agent,omitempty" pattern:"^[a-z0-9-]{1,40}$" doc:"Which agent runs it; the mesh's default agent when left out."`
	Instruction string            `json:"instruction,omitempty" maxLength:"65536" doc:"What to do, in words."`
	Input       json.RawMessage   `json:"input,omitempty" doc:"Any JSON value; checked against the agent's input_schema."`
	Labels      map[string]string `json:"labels,omitempty" doc:"Up to 32, to find the task by."`
	Metadata    json.RawMessage   `json:"metadata,omitempty" doc:"Any JSON value up to 16 KiB, kept and returned."`
	Delay       string            `json:"delay,omitempty" example:"90s" doc:"Run this much later. Not with run_at."`
	RunAt       string            `json:"run_at,omitempty" format:"date-time" doc:"Run at this time, up to a year ahead."`
	Timeout     string            `json:"timeout,omitempty" example:"5m" doc:"Of one attempt, up to 24h; the agent's when left out."`
	Deadline    string            `json:"deadline,omitempty" format:"date-time" doc:"Past it the task fails."`
	MaxAttempts *int              `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"The agent's when left out."`

	CallbackURL       string   `json:"callback_url,omitempty" format:"uri" doc:"Where the outcome is POSTed, signed."`
	CallbackEvents    []string `json:"callback_events,omitempty" doc:"The events to send; milestones and the outcome when left out. With or without the kind before the dot."`
	CallbackSecretRef string   `json:"callback_secret_ref,omitempty" doc:"The webhook whose keys sign the callback; the mesh's own when left out."`
}

// CreateAction is the body of POST /actions: that of a task with a callback_url.
type CreateAction struct {
	CreateTask
	CallbackURL string `json:"callback_url" format:"uri" doc:"Where the outcome is POSTed, signed."`
}

// Accepted is the body of a 202.
type Accepted struct {
	TaskID      string     `json:"task_id"`
	Status      task.State `json:"status" enum:"pending"`
	StatusURL   string     `json:"status_url"`
	Agent       string     `json:"agent"`
	CreatedAt   time.Time  `json:"created_at"`
	RetriedFrom string     `json:"retried_from,omitempty"`
	TraceID     string     `json:"trace_id,omitempty"`
	TraceURL    string     `json:"trace_url,omitempty"`
	Warning     string     `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}

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
	var req CreateTask
	if err := decodeObject(body, &req, lenient(r)); err != nil {
		return err
	}
	s := req.submission(kind, time.Now())
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
func (req *CreateTask) submission(kind task.Kind, now time.Time) *mesh.Submission {
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
	req.times(s, now, fault)
	return s
}

func (req *CreateTask) times(s *mesh.Submission, now time.Time, fault func(pointer, detail string)) {
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
	prefs, h, answer := preferred(r), w.Header(), g.acceptedOf(a)
	if a.Replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	h.Set("Vary", "Prefer")
	h.Set("Location", answer.StatusURL)
	prefs.applied(h)
	if prefs.wait > 0 {
		t, err := g.mesh.Tasks.Wait(r.Context(), callerOf(r), a, prefs.wait)
		if err == nil && t != nil && t.Status.Terminal() {
			h.Set("ETag", etag(t))
			return writeJSON(w, http.StatusOK, g.view(t))
		}
	}
	h.Set("Retry-After", "1")
	return writeJSON(w, http.StatusAccepted, answer.wire())
}

// acceptedOf is the body of the 202 of a task.
func (g *Gateway) acceptedOf(a *mesh.Acceptance) Accepted {
	path := taskURL(a.TaskID)
	if strings.HasPrefix(a.TaskID, task.PrefixAction) {
		path = "/actions/" + a.TaskID
	}
	return Accepted{
		TaskID: a.TaskID, Status: task.Pending, StatusURL: path, Agent: a.Agent, CreatedAt: a.CreatedAt,
		RetriedFrom: a.RetriedFrom, TraceID: a.TraceID, TraceURL: g.traceURL(a.TraceID), Warning: a.Warning,
	}
}

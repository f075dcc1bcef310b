package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
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

// Limits of a task's fields.
const (
	maxInstruction = 64 << 10
	maxMetadata    = 16 << 10
	maxLabels      = 32
	maxLabelValue  = 256
	maxAhead       = 366 * 24 * time.Hour
)

var labelKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// createTask is POST /tasks.
func (g *Gateway) createTask(w http.ResponseWriter, r *http.Request) error {
	return g.create(w, r, task.KindTask)
}

func (g *Gateway) create(w http.ResponseWriter, r *http.Request, kind task.Kind) error {
	body, err := g.readJSON(w, r)
	if err != nil {
		return err
	}
	key, err := newKey(r, body)
	if err != nil {
		return err
	}
	if kind == task.KindAction && r.Header.Get(parentHeader) != "" {
		return mesh.Refuse(mesh.ErrValidationFailed, "An action has no parent: leave %s out, or start the child with POST /tasks, which takes a callback_url too.", parentHeader)
	}
	parent, err := g.parentOf(r)
	if err != nil {
		return err
	}
	if key != nil && parent != nil {
		key.under(parent.ID)
	}
	t, input, err := g.taskOf(r, kind, body, parent)
	if err != nil {
		// A repeat gets its first answer even if the agent has changed since.
		if stored, ok, _ := g.recall(r.Context(), key); ok {
			return g.answerAgain(w, r, stored, key)
		}
		return err
	}
	if parent != nil {
		if key, err = g.adopt(r.Context(), t, parent, key, body); err != nil {
			return err
		}
	}
	return g.accept(w, r, t, input, key)
}

// taskOf reads a task from a request body. All faults of its fields are
// reported together.
func (g *Gateway) taskOf(r *http.Request, kind task.Kind, body []byte, parent *task.Task) (t *task.Task, input json.RawMessage, err error) {
	var req CreateTask
	if err := decodeObject(body, &req, lenient(r)); err != nil {
		return nil, nil, err
	}
	ctx, now := r.Context(), time.Now()
	t = &task.Task{
		ID: newID(kind), Tenant: tenant, Kind: kind, Status: task.Pending,
		Instruction: req.Instruction, Labels: req.Labels, Metadata: null(req.Metadata),
		CreatedAt: task.Stamp(now),
	}
	faults := req.check(t, now)
	callback, blocked, err := g.callbackOf(ctx, &req, kind, &faults)
	switch {
	case err != nil:
		return nil, nil, err
	case len(faults) > 0:
		return nil, nil, mesh.RefuseFields(faults...)
	case blocked != nil:
		return nil, nil, blocked
	}
	t.Callback = callback
	a, err := g.agents.resolve(ctx, req.Agent)
	if err != nil {
		return nil, nil, err
	}
	t.Agent = a.Name
	if parent != nil {
		if err := putUnder(t, parent, a); err != nil {
			return nil, nil, err
		}
	}
	input = null(req.Input)
	if input == nil && req.Instruction == "" {
		return nil, nil, mesh.RefuseFields(mesh.Field("a task needs an input or an instruction", "/input"))
	}
	if input != nil {
		if err := a.checkInput(ctx, input); err != nil {
			return nil, nil, err
		}
	}
	return t, input, nil
}

func newID(kind task.Kind) string {
	prefix := task.PrefixTask
	if kind == task.KindAction {
		prefix = task.PrefixAction
	}
	return task.NewID(prefix, uuid.Must(uuid.NewV7()))
}

// null treats an explicit null as left out.
func null(v json.RawMessage) json.RawMessage {
	if string(v) == "null" {
		return nil
	}
	return v
}

// check reads the fields with a form of their own into t and returns what is
// wrong with any field.
func (req *CreateTask) check(t *task.Task, now time.Time) (faults []mesh.Invalid) {
	fault := func(pointer, detail string) { faults = append(faults, mesh.Field(detail, pointer)) }
	if req.Agent != "" && !task.ValidAgent(req.Agent) {
		fault("/agent", "agent names match [a-z0-9-]{1,40}")
	}
	if len(req.Instruction) > maxInstruction {
		fault("/instruction", "it has "+strconv.Itoa(len(req.Instruction))+" bytes, allowed are "+strconv.Itoa(maxInstruction)+"; put long text into input")
	}
	if len(req.Metadata) > maxMetadata {
		fault("/metadata", "it has "+strconv.Itoa(len(req.Metadata))+" bytes, allowed are "+strconv.Itoa(maxMetadata))
	}
	if len(req.Labels) > maxLabels {
		fault("/labels", "there are "+strconv.Itoa(len(req.Labels))+" labels, allowed are "+strconv.Itoa(maxLabels))
	}
	for _, k := range slices.Sorted(maps.Keys(req.Labels)) {
		if v := req.Labels[k]; !labelKey.MatchString(k) || len(v) > maxLabelValue {
			fault("/labels/"+mesh.Pointer(k), "keys match "+labelKey.String()+", values have at most "+strconv.Itoa(maxLabelValue)+" bytes")
		}
	}
	if n := req.MaxAttempts; n != nil {
		if t.MaxAttempts = *n; *n < 1 || *n > task.MaxAttempts {
			fault("/max_attempts", "it must be 1 to "+strconv.Itoa(task.MaxAttempts)+"; leave it out for the agent's own")
		}
	}
	if req.Timeout != "" {
		d, err := time.ParseDuration(req.Timeout)
		if err != nil || d < time.Millisecond || d > task.MaxTimeout {
			fault("/timeout", `it must be a duration such as "90s" or "5m", 1ms to 24h`)
		}
		t.Timeout = task.Duration(d)
	}
	req.checkTimes(t, now, fault)
	return faults
}

func (req *CreateTask) checkTimes(t *task.Task, now time.Time, fault func(pointer, detail string)) {
	switch {
	case req.Delay != "" && req.RunAt != "":
		fault("/delay", "send delay or run_at, not both")
	case req.Delay != "":
		d, err := time.ParseDuration(req.Delay)
		if err != nil || d < 0 || d > maxAhead {
			fault("/delay", `it must be a duration such as "90s" or "24h", at most a year`)
		} else if d > 0 {
			t.NotBefore = task.Stamp(now.Add(d))
		}
	case req.RunAt != "":
		at, err := time.Parse(time.RFC3339, req.RunAt)
		switch {
		case err != nil:
			fault("/run_at", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case at.Before(now):
			fault("/run_at", "it is in the past; leave it out to run at once")
		case at.After(now.Add(maxAhead)):
			fault("/run_at", "it is more than a year ahead")
		default:
			t.NotBefore = task.Stamp(at)
		}
	}
	if req.Deadline != "" {
		at, err := time.Parse(time.RFC3339, req.Deadline)
		switch {
		case err != nil:
			fault("/deadline", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case !at.After(now) || !at.After(t.NotBefore):
			fault("/deadline", "it must lie ahead, and after the time at which the task may run")
		default:
			t.Deadline = task.Stamp(at)
		}
	}
}

// accept queues t and answers 202, or 200 with the outcome when the client
// prefers to wait and it comes in time.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request, t *task.Task, input json.RawMessage, key *requestKey) error {
	if err := deepen(t, r); err != nil {
		return err
	}
	// A client that goes away must not leave an accept half done.
	ctx := context.WithoutCancel(r.Context())
	telemetry.Annotate(ctx, telemetry.TaskID(t.ID))
	ctx, span := telemetry.StartPublish(ctx, topology.ReadyTemplate, telemetry.TaskID(t.ID), telemetry.MessageID(t.ID))
	answer := Accepted{
		TaskID: t.ID, Status: task.Pending, StatusURL: statusURL(t), Agent: t.Agent,
		CreatedAt: t.CreatedAt, RetriedFrom: t.RetriedFrom, TraceID: telemetry.TraceID(ctx),
	}
	if t.TraceParent != "" { // a child is in the trace of its parent
		answer.TraceID = telemetry.TraceIDOf(t.TraceParent)
	}
	answer.TraceURL, answer.Warning = g.traceURL(answer.TraceID), g.warning(ctx, t.Agent)
	var watch *store.Watch
	prefs := preferred(r)
	replayed, err := g.claim(ctx, key, &answer, place{})
	if err == nil && !replayed {
		t.ID, t.CreatedAt = answer.TaskID, answer.CreatedAt
		if watch, err = g.watchFor(prefs, t.ID); err == nil {
			// The creation context is the request's span, not the publish's: it
			// outlives the queue.
			if t.TraceParent == "" {
				t.TraceParent, t.TraceState = telemetry.TraceParent(r.Context()), telemetry.TraceState(r.Context())
			}
			err = g.enqueue(ctx, t, input)
		}
	}
	telemetry.End(span, err)
	releaseBody(r)
	if err == nil && !replayed {
		telemetry.TasksAccepted.Add(1, t.Agent, string(t.Kind))
	}
	if watch != nil {
		defer watch.Close()
	}
	if err != nil {
		return err
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	return g.answerAccepted(w, r, answer, prefs, watch)
}

// enqueue stores a large input and publishes the task. Each request stores its
// own copy of a large input, so that a repeat in flight cannot tear one that a
// worker reads.
func (g *Gateway) enqueue(ctx context.Context, t *task.Task, input json.RawMessage) error {
	var stored bool
	if input != nil {
		var err error
		t.Input, err = g.store.PutValue(ctx, t.Tenant, t.ID, "input-"+nats.NewInbox()[len("_INBOX."):], input)
		if err != nil {
			return err
		}
		stored = t.Input.Object != ""
	}
	hdr := nats.Header{}
	telemetry.Inject(ctx, hdr)
	duplicate, err := g.store.Enqueue(ctx, t, hdr)
	if stored && (duplicate || errors.Is(err, task.ErrFull)) {
		if drop := g.store.DropValue(ctx, t.Input); drop != nil {
			g.log.Debug("spare input not dropped, it expires by itself", "task", t.ID, "error", drop)
		}
	}
	return err
}

// watchFor subscribes before the task exists, so that no outcome is missed.
func (g *Gateway) watchFor(prefs preferences, id string) (*store.Watch, error) {
	if prefs.wait == 0 {
		return nil, nil
	}
	return g.store.Watch(tenant, id, false)
}

// answerAccepted holds the answer for as long as the client prefers and then
// says 200 with the outcome or 202.
func (g *Gateway) answerAccepted(w http.ResponseWriter, r *http.Request, a Accepted, prefs preferences, watch *store.Watch) error {
	h := w.Header()
	h.Set("Vary", "Prefer")
	h.Set("Location", a.StatusURL)
	prefs.applied(h)
	if prefs.wait > 0 {
		t, err := g.await(r.Context(), a.TaskID, prefs.wait, watch)
		if err == nil && t != nil && t.Status.Terminal() {
			h.Set("ETag", etag(t))
			return writeJSON(w, http.StatusOK, g.view(t))
		}
	}
	h.Set("Retry-After", "1")
	return writeJSON(w, http.StatusAccepted, a.wire())
}

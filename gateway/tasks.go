package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// getTask is GET /tasks/{id}: the task, or with Prefer: wait=N the task as soon
// as it has changed (If-None-Match) or finished.
func (g *Gateway) getTask(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := included(r); err != nil { // before the wait
		return err
	}
	t, err := g.store.Find(r.Context(), tenant, id)
	if err != nil {
		return err
	}
	return g.answerTask(w, r, t, g.writeTask)
}

// place is where a turn waits; zero for any other task, and where it is not
// known.
type place struct{ agent, session string }

// find reads a task wherever it is.
func (g *Gateway) find(ctx context.Context, id string, p place) (*task.Task, error) {
	if p.session != "" {
		return g.store.FindTurn(ctx, tenant, p.agent, p.session, id)
	}
	return g.store.Find(ctx, tenant, id)
}

func placeOf(t *task.Task) place {
	if t.Kind != task.KindTurn {
		return place{}
	}
	return place{t.Agent, t.SessionID}
}

// answerTask answers with a task by write, at once or when it has changed.
func (g *Gateway) answerTask(w http.ResponseWriter, r *http.Request, t *task.Task, write func(http.ResponseWriter, *http.Request, *task.Task) error) (err error) {
	prefs, known := preferred(r), r.Header.Get("If-None-Match")
	t = g.tend(r.Context(), t)
	if prefs.wait > 0 && !t.Status.Terminal() && (known == "" || matches(known, etag(t))) {
		prefs.applied(w.Header())
		defer g.tending(r.Context(), t)()
		if t, err = g.awaitChange(r.Context(), t, known != "", prefs.wait); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Vary", "Prefer")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", etag(t))
	if known != "" && matches(known, etag(t)) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if !t.Status.Terminal() {
		h.Set("Retry-After", "1")
	}
	return write(w, r, t)
}

// writeTask answers with a task and the tasks that it has started.
func (g *Gateway) writeTask(w http.ResponseWriter, r *http.Request, t *task.Task) error {
	v, err := g.familyOf(r.Context(), t)
	if err != nil {
		return err
	}
	include, _ := included(r)
	if v.Error != nil && (g.cfg.trusting() || slices.Contains(include, includeErrorDetail)) {
		v.Error.Detail = t.ErrorDetail
	}
	if slices.Contains(include, includeInput) {
		if v.Input = t.Input.Inline; t.Input.Object != "" {
			v.InputURL = partURL(t, "input")
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

// Values of ?include=.
const (
	includeInput       = "input"
	includeErrorDetail = "error_detail"
)

// included reads ?include=: the parts that are left out otherwise.
func included(r *http.Request) ([]string, error) {
	parts := listed(r.URL.Query(), "include")
	for _, part := range parts {
		if part != includeInput && part != includeErrorDetail {
			return nil, mesh.Refuse(api.ErrBadQuery, "include is %q, allowed are %s and %s.", mesh.Clip(part, 64), includeInput, includeErrorDetail)
		}
	}
	return parts, nil
}

func (g *Gateway) familyOf(ctx context.Context, t *task.Task) (Task, error) {
	v := g.view(t)
	if t.Status == task.Pending {
		v.Waiting = g.waiting(ctx, t)
	}
	if t.HasChildren {
		// Thousands may have waited for the same task.
		children, err, _ := g.children.Do(t.ID, func() (any, error) {
			return g.store.Children(context.WithoutCancel(ctx), t.Tenant, t.ID)
		})
		if err != nil {
			return v, err
		}
		v.Children, _ = children.([]string)
	}
	return v, nil
}

// matches compares entity tags as If-None-Match does (RFC 9110, 13.1.2).
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		if c := strings.TrimPrefix(strings.TrimSpace(candidate), "W/"); c == tag || c == "*" {
			return true
		}
	}
	return false
}

// await waits until a task has finished, at most d. It returns the newest state
// seen, nil if none, also when the time or the gateway's is over.
func (g *Gateway) await(ctx context.Context, id string, d time.Duration, watch *store.Watch) (*task.Task, error) {
	if watch == nil {
		var err error
		if watch, err = g.store.Watch(tenant, id, false); err != nil {
			return nil, err
		}
		defer watch.Close()
		t, err := g.store.Find(ctx, tenant, id)
		if err != nil || t.Status.Terminal() {
			return t, err
		}
	}
	return g.follow(ctx, watch, nil, d, func(t *task.Task) bool { return t.Status.Terminal() })
}

// awaitChange waits until t has changed, or finished, at most d.
func (g *Gateway) awaitChange(ctx context.Context, t *task.Task, any bool, d time.Duration) (*task.Task, error) {
	watch, err := g.store.Watch(t.Tenant, t.ID, false)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	now, err := g.find(ctx, t.ID, placeOf(t)) // what changed before the subscription
	if err != nil {
		return nil, err
	}
	if now.Status.Terminal() || any && now.Rev != t.Rev {
		return now, nil
	}
	return g.follow(ctx, watch, now, d, func(t *task.Task) bool { return any || t.Status.Terminal() })
}

// follow reads a watch until enough says so, and returns the newest state.
func (g *Gateway) follow(ctx context.Context, watch *store.Watch, t *task.Task, d time.Duration, enough func(*task.Task) bool) (*task.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	defer context.AfterFunc(g.closing, cancel)()
	var rev uint64
	if t != nil {
		rev = t.Rev
	}
	err := watch.Updates(ctx, rev, func(u store.Update) bool {
		t = u.Task
		return !enough(t)
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil // the time is over: what we have is the answer
	}
	return t, err
}

// getResult is GET /tasks/{id}/result: the result itself.
func (g *Gateway) getResult(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	t, err := g.store.Find(r.Context(), tenant, id)
	if err != nil {
		return err
	}
	if t.Status != task.Completed {
		return mesh.Refuse(mesh.ErrResultNotReady, "The task is %s. GET %s tells more; with Prefer: wait=60 it waits for the end.", t.Status, statusURL(t))
	}
	w.Header().Set("ETag", etag(t))
	return g.writeValue(w, r, t.Result, mesh.ErrResultExpired)
}

// getInput is GET /tasks/{id}/input: the input as it was sent.
func (g *Gateway) getInput(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	t, err := g.store.Find(r.Context(), tenant, id)
	if err != nil {
		return err
	}
	if t.Input.Object == "" && len(t.Input.Inline) == 0 {
		return mesh.Refuse(mesh.ErrNoInput, "The task was given its instruction only; GET %s shows the task.", statusURL(t))
	}
	return g.writeValue(w, r, t.Input, mesh.ErrInputExpired)
}

// writeValue answers with a value itself, streamed where it is large. expired is
// the refusal of one that is gone.
func (g *Gateway) writeValue(w http.ResponseWriter, r *http.Request, v task.Value, expired *mesh.Refusal) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if v.Object == "" {
		h.Set("Content-Length", strconv.Itoa(len(v.Inline)))
		_, _ = w.Write(v.Inline)
		return nil
	}
	object, err := g.store.OpenObject(r.Context(), v)
	if errors.Is(err, task.ErrNotFound) {
		return mesh.Refuse(expired, "The task's record is still there, this part of it is not.")
	}
	if err != nil {
		return err
	}
	h.Set("Content-Length", strconv.FormatInt(v.Size, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, object); err != nil {
		// The headers are out: a broken connection tells the client that it is not whole.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// cancelTask is POST /tasks/{id}/cancel. Exactly one of cancel and the worker
// wins the compare-and-set.
func (g *Gateway) cancelTask(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	t, err := g.cancelTree(context.WithoutCancel(r.Context()), id, place{})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(t))
	return g.writeTask(w, r, t)
}

// cancelTree cancels a task and the tasks that it has started. A repeat goes on
// where an error stopped it.
func (g *Gateway) cancelTree(ctx context.Context, id string, p place) (*task.Task, error) {
	t, err := g.cancel(ctx, id, p)
	if err != nil {
		return nil, err
	}
	return t, g.cancelChildren(ctx, id)
}

// cancelChildren cancels the tasks that a canceled one has started, and theirs.
// One that is being started in this moment ends when a worker claims it.
func (g *Gateway) cancelChildren(ctx context.Context, id string) error {
	children, err := g.store.Children(ctx, tenant, id)
	if err != nil {
		return err
	}
	for _, child := range children {
		_, err := g.cancel(ctx, child, place{})
		if err == nil || errors.Is(err, task.ErrFinished) {
			err = g.cancelChildren(ctx, child)
		}
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (g *Gateway) cancel(ctx context.Context, id string, p place) (*task.Task, error) {
	for {
		t, err := g.find(ctx, id, p)
		if err != nil {
			return nil, err
		}
		if t.Status == task.Canceled {
			return t, nil // a repeat
		}
		if t.Status.Terminal() {
			return nil, task.ErrFinished
		}
		if t.Kind == task.KindTurn { // its session decides
			if err := g.interrupt(ctx, t); err != nil {
				return nil, err
			}
		}
		waited := t.Status == task.Pending
		t.Error = nil
		if err := t.To(task.Canceled, time.Now()); err != nil {
			return nil, err
		}
		err = g.store.Save(ctx, t)
		if errors.Is(err, task.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Both are courtesies; a worker that misses them reads the record.
		if err := g.store.SignalCancel(id); err != nil {
			g.log.Debug("cancel not signaled", "task", id, "error", err)
		}
		telemetry.TasksFinished.Add(1, t.Agent, string(t.Status))
		telemetry.TaskDuration.Record(max(t.FinishedAt.Sub(t.CreatedAt), 0), t.Agent, string(t.Status))
		if waited {
			withdraw := g.store.Withdraw
			if t.Kind == task.KindTurn {
				withdraw = g.store.WithdrawTurn
			}
			if err := withdraw(ctx, t); err != nil {
				g.log.Debug("canceled task not withdrawn", "task", id, "error", err)
			}
		}
		if t.Kind == task.KindTurn {
			if _, err := g.store.PublishNextTurn(ctx, t.Tenant, t.SessionID); err != nil {
				g.log.Warn("next turn of the session not published, it waits until somebody looks for it", "session", t.SessionID, "error", err)
			}
		}
		return t, nil
	}
}

// retryTask is POST /tasks/{id}/retry: a new task from a failed or canceled one.
func (g *Gateway) retryTask(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	key, err := newKey(r, nil)
	if err != nil {
		return err
	}
	old, err := g.store.Find(r.Context(), tenant, id)
	if err != nil {
		return err
	}
	if old.Kind == task.KindTurn {
		return mesh.Refuse(mesh.ErrTaskNotRetryable, "It is a turn of session %s: send its message there again.", old.SessionID)
	}
	if old.Status != task.Failed && old.Status != task.Canceled {
		return mesh.Refuse(mesh.ErrTaskNotRetryable, "The task is %s.", old.Status)
	}
	if _, err := g.agents.resolve(r.Context(), old.Agent); err != nil {
		if stored, ok, _ := g.recall(r.Context(), key); ok {
			return g.answerAgain(w, r, stored, key)
		}
		return err
	}
	t := &task.Task{
		ID: newID(old.Kind), Tenant: tenant, Kind: old.Kind, Agent: old.Agent, Status: task.Pending, Callback: old.Callback,
		Instruction: old.Instruction, Input: old.Input, Labels: old.Labels, Metadata: old.Metadata,
		MaxAttempts: old.MaxAttempts, Timeout: old.Timeout, CreatedAt: task.Stamp(time.Now()), RetriedFrom: old.ID, EventDepth: old.EventDepth,
	}
	if key, err = g.readopt(r, t, old, key); err != nil {
		return err
	}
	return g.accept(w, r, t, nil, key)
}

package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
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
	t, err := g.mesh.Tasks.Get(r.Context(), callerOf(r), id)
	if err != nil {
		return err
	}
	return g.answerTask(w, r, t, g.writeTask)
}

// answerTask answers with a task by write, at once or when it has changed.
func (g *Gateway) answerTask(w http.ResponseWriter, r *http.Request, t *task.Task, write func(http.ResponseWriter, *http.Request, *task.Task) error) (err error) {
	prefs, known := preferred(r), r.Header.Get("If-None-Match")
	if prefs.wait > 0 && !t.Status.Terminal() && (known == "" || matches(known, etag(t))) {
		prefs.applied(w.Header())
		if t, err = g.mesh.Tasks.WaitChange(r.Context(), t, known == "", prefs.wait); err != nil {
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
	v, err := g.familyOf(r.Context(), linksOf(w), t)
	if err != nil {
		return err
	}
	include, _ := included(r)
	if v.Error != nil && (g.cfg.servesOperatorOnly() || slices.Contains(include, includeErrorDetail)) {
		v.Error.Detail = t.ErrorDetail
	}
	if slices.Contains(include, includeInput) {
		if v.Input = t.Input.Inline; t.Input.Object != "" {
			v.InputURL = linksOf(w).part(t, "input")
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
			return nil, mesh.Refuse(problem.ErrBadQuery, "include is %q, allowed are %s and %s.", mesh.Clip(part, 64), includeInput, includeErrorDetail)
		}
	}
	return parts, nil
}

func (g *Gateway) familyOf(ctx context.Context, l links, t *task.Task) (api.Task, error) {
	v := g.view(l, t)
	if t.Status == task.Pending {
		v.Waiting = waitingOf(g.mesh.Tasks.Waiting(ctx, t))
	}
	if t.HasChildren {
		var err error
		if v.Children, err = g.mesh.Tasks.Children(ctx, t); err != nil {
			return v, err
		}
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

// getResult is GET /tasks/{id}/result: the result itself.
func (g *Gateway) getResult(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	t, err := g.mesh.Tasks.Get(r.Context(), callerOf(r), id)
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
	t, err := g.mesh.Tasks.Get(r.Context(), callerOf(r), id)
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
	object, err := g.mesh.Tasks.OpenValue(r.Context(), v)
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
		// The headers are out: a broken connection tells the client that it is
		// not whole.
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
	t, err := g.mesh.Tasks.Cancel(r.Context(), callerOf(r), id)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(t))
	return g.writeTask(w, r, t)
}

// retryTask is POST /tasks/{id}/retry: a new task from a failed or canceled one.
func (g *Gateway) retryTask(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	s := &mesh.Submission{Parent: r.Header.Get(parentHeader), Watch: preferred(r).wait > 0}
	if s.Key, err = keyOf(r, nil); err != nil {
		return err
	}
	if s.EventDepth, err = eventDepth(r); err != nil {
		return err
	}
	a, err := g.mesh.Tasks.Retry(r.Context(), callerOf(r), id, s)
	if err != nil {
		return err
	}
	return g.answerAccepted(w, r, a)
}

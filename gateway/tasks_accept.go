package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// accept has the core accept what the body of a request asks for.
func (h tasks) accept(ctx context.Context, c *call, kind task.Kind, req *api.CreateTask, parent task.ID) (*mesh.Acceptance, error) {
	s := submission(req, kind, time.Now())
	var err error
	if s.Key, err = c.key(); err != nil {
		return nil, err
	}
	s.EventDepth, s.Parent = c.depth, parent
	if parent != "" {
		s.Request = []byte(mesh.Canonical(c.body))
	}
	if s.Watch = c.prefs.wait > 0; s.Watch {
		if err := c.hold(mesh.HeldWait); err != nil {
			return nil, err
		}
	}
	return h.mesh.Tasks.Accept(ctx, c.caller(), s)
}

// retry has the core run a finished task again.
func (h tasks) retry(ctx context.Context, c *call, id taskID, parent task.ID, body api.RetryTask) (*mesh.Acceptance, error) {
	s := &mesh.Submission{Parent: parent, From: body.From, EventDepth: c.depth, Watch: c.prefs.wait > 0}
	var err error
	if s.Key, err = c.key(); err != nil {
		return nil, err
	}
	if s.Watch {
		if err := c.hold(mesh.HeldWait); err != nil {
			return nil, err
		}
	}
	return h.mesh.Tasks.Retry(ctx, c.caller(), task.ID(id), s)
}

// answerAccepted holds the answer for as long as the client prefers and then says
// 200 with the outcome or 202 with what body makes of the acceptance.
func answerAccepted[A any](ctx context.Context, h tasks, c *call, a *mesh.Acceptance, body func(links, *mesh.Acceptance) A) (out accepted[A]) {
	defer a.Close()
	releaseBody(c.r)
	c.body = nil
	out.acceptance = acceptance{Location: acceptedPath(a), Applied: c.prefs.honoured(), Replayed: replayed(a.Replayed)}
	if c.prefs.wait > 0 {
		t, err := h.mesh.Tasks.Wait(ctx, c.caller(), a, c.prefs.wait)
		if err == nil && t != nil && t.Status.Terminal() {
			out.Task, out.ETag = new(h.show.view(c.links(), t)), etag(t)
			return out
		}
	}
	out.Body, out.RetryAfter = new(body(c.links(), a)), "1"
	return out
}

func acceptedPath(a *mesh.Acceptance) string {
	if a.TaskID.Kind() == task.KindAction {
		return "/actions/" + string(a.TaskID)
	}
	return taskURL(a.TaskID)
}

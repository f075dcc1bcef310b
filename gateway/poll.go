package gateway

import (
	"context"
	"strings"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// poll answers with what view makes of a task, at once or when it has changed.
func poll[T any](ctx context.Context, m *mesh.Mesh, c *call, t *task.Task, known string, view func(*task.Task) (T, error)) (out polled[T], err error) {
	if c.prefs.wait > 0 && !t.Status.Terminal() && (known == "" || matches(known, etag(t))) {
		if err := c.hold(mesh.HeldWait); err != nil {
			return out, err
		}
		out.Applied = c.prefs.honoured()
		if t, err = m.Tasks.WaitChange(ctx, t, known == "", c.prefs.wait); err != nil {
			return out, err
		}
	}
	out.ETag = etag(t)
	if known != "" && matches(known, etag(t)) {
		out.Same = true
		return out, nil
	}
	if !t.Status.Terminal() {
		out.RetryAfter = "1"
	}
	v, err := view(t)
	out.Body = &v
	return out, err
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

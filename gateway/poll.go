package gateway

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

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
		out.RetryAfter = strconv.Itoa(askIn(t))
	}
	v, err := view(t)
	out.Body = &v
	return out, err
}

// askIn is in how many seconds it is of use to ask for a task that has not
// finished.
func askIn(t *task.Task) int {
	const soon, rarely, most = 1, 10, 3600
	switch until := t.Waits.Until(); {
	case !t.Suspended || t.NotBefore.IsZero():
		return soon
	case t.Waits.For(task.WaitChild) || t.Waits.For(task.WaitInput) || t.Waits.For(task.WaitEvent):
		return rarely // it may go on at any moment
	default:
		return min(max(soon, int(math.Ceil(time.Until(until).Seconds()))), most)
	}
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

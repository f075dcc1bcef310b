package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// valueOf answers with a value itself, streamed where it is large. expired is the
// refusal of one that is gone.
func (h tasks) valueOf(ctx context.Context, v task.Value, expired *mesh.Refusal) (value, error) {
	if v.Object == "" {
		return func(w http.ResponseWriter, _ *http.Request) {
			describe(w.Header(), int64(len(v.Inline)))
			_, _ = w.Write(v.Inline)
		}, nil
	}
	object, err := h.mesh.Tasks.OpenValue(ctx, v)
	if errors.Is(err, task.ErrNotFound) {
		return nil, mesh.Refuse(expired, "The task's record is still there, this part of it is not.")
	}
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		describe(w.Header(), v.Size)
		if r.Method == http.MethodHead {
			return
		}
		if _, err := io.Copy(w, object); err != nil {
			// The headers are out: a broken connection tells the client that it is not whole.
			panic(http.ErrAbortHandler)
		}
	}, nil
}

func describe(h http.Header, size int64) {
	h.Set("Content-Type", mediaJSON)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
}

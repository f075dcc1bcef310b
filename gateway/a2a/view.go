package a2a

import (
	"context"
	"io"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// history is how much of it a client wants; nil: all.
func history(c *a2a.SendMessageConfig) *int {
	if c == nil {
		return nil
	}
	return c.HistoryLength
}

// view is a task as the protocol shows it.
func (x *exchange) view(ctx context.Context, t *task.Task, newest *int, artifacts bool) (*a2a.Task, error) {
	v := &a2a.Task{ID: a2a.TaskID(t.ID), ContextID: a2aform.Context(t), Status: a2aform.Status(t), Metadata: a2aform.Metadata(t)}
	v.History = a2aform.History(t)
	if newest != nil && *newest < len(v.History) {
		v.History = v.History[len(v.History)-*newest:]
	}
	if artifacts {
		var err error
		if v.Artifacts, err = x.artifacts(ctx, t); err != nil {
			return nil, err
		}
		if a := a2aform.Output(t); a != nil {
			v.Artifacts = append([]*a2a.Artifact{a}, v.Artifacts...)
		}
	}
	return v, nil
}

// maxArtifact is the largest result that is sent whole.
const maxArtifact = 1 << 20

// artifacts are those of the result of a task.
func (x *exchange) artifacts(ctx context.Context, t *task.Task) ([]*a2a.Artifact, error) {
	if t.Status != task.Completed || t.Result.IsZero() {
		return nil, nil
	}
	raw := t.Result.Inline
	if t.Result.Object != "" {
		if t.Result.Size > maxArtifact {
			return a2aform.Linked(x.cfg.Base() + "/tasks/" + string(t.ID) + "/result"), nil
		}
		r, err := x.mesh.Tasks.OpenValue(ctx, t.Result)
		if err == nil {
			raw, err = io.ReadAll(r)
		}
		if x.gone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return a2aform.Artifacts(raw), nil
}

// gone reports whether a value is past its retention.
func (x *exchange) gone(err error) bool {
	if err == nil {
		return false
	}
	refused, _ := x.door.Refusal(err)
	return refused.Refusal == mesh.ErrTaskNotFound
}

package gateway

import (
	"context"
	"encoding/json"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/shared/task"
)

// taskLine is what the agent of a task tells.
type taskLine struct {
	request
	ofTask
	Body api.Line `body:"required"`
}

// lineKept says that a line is durable.
type lineKept struct {
	Body *api.LineKept `status:"201"`
}

// tellStep is POST /tasks/{id}/steps. Whoever calls shows the lease of the attempt:
// no scope of a caller is enough.
func (h tasks) tellStep(ctx context.Context, in taskLine) (out lineKept, err error) {
	line, err := json.Marshal(in.Body)
	if err != nil {
		return out, err
	}
	lease, _ := strings.CutPrefix(in.r.Header.Get("Authorization"), "Bearer ")
	answer, err := h.mesh.Journals.Tell(ctx, in.caller(), task.ID(in.ID), lease, line)
	if err != nil {
		return out, err
	}
	out.Body = &api.LineKept{}
	return out, json.Unmarshal(answer, out.Body)
}

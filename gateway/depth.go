package gateway

import (
	"net/http"
	"strconv"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// eventDepth reads how many events lie behind a request: deliveries say it, and
// whoever makes a request because of one passes it on.
func eventDepth(r *http.Request) (depth int, err error) {
	for _, text := range r.Header.Values(webhook.DepthHeader) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > task.MaxEventDepth {
			return 0, mesh.Refuse(mesh.ErrEventChainTooDeep, "%s is %q, allowed is 0 to %d: events of this mesh cause one another. Break the circle, or leave the header out where it is none.",
				webhook.DepthHeader, mesh.Clip(text, 32), task.MaxEventDepth)
		}
		depth = max(depth, n)
	}
	return depth, nil
}

package problem_test

import (
	"net/http"
	"testing"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
)

func TestEveryRefusalHasAStatus(t *testing.T) {
	for _, r := range mesh.Refusals() {
		if status := problem.Status(r); http.StatusText(status) == "" || status < 400 || status == 500 && r != mesh.ErrInternal {
			t.Errorf("%s has the status %d", r.Code, status)
		}
		if retry := problem.Status(r) == http.StatusServiceUnavailable; retry && r.RetryAfter == 0 {
			t.Errorf("%s may succeed later and does not say when", r.Code)
		}
	}
}

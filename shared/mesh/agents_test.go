package mesh_test

import (
	"encoding/json"
	"errors"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// An agent whose worker has just come is known to the next request, also when the
// registry was listed a moment before, or from a replica that lagged behind.
func TestAnAgentIsKnownAtTheFirstRequestAfterItsRegistration(t *testing.T) {
	h := newHouse(t)
	core := mesh.New(h.st, mesh.Options{Log: quiet()})
	accept := func() error {
		_, err := core.Tasks.Accept(t.Context(), auth.Caller{Tenant: "default"}, &mesh.Submission{Kind: task.KindTask, Agent: "late", Input: json.RawMessage(`1`)})
		return err
	}
	if err := accept(); !errors.Is(err, mesh.ErrAgentNotFound) {
		t.Fatalf("before it is there: %v", err)
	}
	if _, err := h.st.Registry.Register(t.Context(), (task.Definition{Name: "late"}).WithDefaults(), "wrk_1"); err != nil {
		t.Fatal(err)
	}
	if err := accept(); err != nil {
		t.Errorf("once it is there: %v", err)
	}
}

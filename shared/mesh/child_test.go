package mesh_test

import (
	"encoding/json"
	"errors"
	"testing"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// A retry of the parent finds the call that the attempt before it made, also when
// the schema of the called agent would refuse it by now.
func TestACallThatWasAcceptedIsFoundThoughTheSchemaHasChanged(t *testing.T) {
	h := newHouse(t)
	tasks := mesh.New(h.st, mesh.Options{Log: quiet(), Blind: true}).Tasks
	serve := func(version, schema string) {
		t.Helper()
		d := task.Definition{Name: "echo", Version: version, InputSchema: json.RawMessage(schema)}
		if _, err := h.st.Registry.Register(t.Context(), d.WithDefaults(), "wrk_1"); err != nil {
			t.Fatal(err)
		}
	}
	parent := newTask(task.KindTask, 0)
	parent.Attempt, parent.Lease = 1, &task.Lease{Worker: "wrk_1"}
	input := json.RawMessage(`{"old":1}`)
	serve("1.0.0", `{"required":["old"]}`)
	first, err := tasks.Adopt(t.Context(), parent, "echo", input)
	if err != nil {
		t.Fatal(err)
	}
	serve("2.0.0", `{"required":["new"]}`)
	if _, err := tasks.Adopt(t.Context(), parent, "echo", input); !errors.Is(err, mesh.ErrInputInvalid) {
		t.Errorf("another equal call: %v", err)
	}
	again := parent.Clone()
	again.Attempt = 2
	found, err := tasks.Adopt(t.Context(), again, "echo", input)
	if err != nil || found.Task.ID != first.Task.ID {
		t.Errorf("the next attempt: %+v, %v, want %s", found, err, first.Task.ID)
	}
	if _, err := tasks.Adopt(t.Context(), again, "echo", input); !errors.Is(err, mesh.ErrInputInvalid) {
		t.Errorf("one call more than the attempt before made: %v", err)
	}
	if ids, err := h.st.Children.Of(t.Context(), "default", parent.ID); err != nil || len(ids) != 1 {
		t.Errorf("linked are %v, %v", ids, err)
	}
}

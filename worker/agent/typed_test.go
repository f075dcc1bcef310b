package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

type item struct {
	Name string `json:"name" minLength:"1"`
}

type order struct {
	Items []item            `json:"items" minItems:"1"`
	Rush  bool              `json:"rush,omitempty" doc:"Ship today."`
	Notes map[string]string `json:"notes,omitempty"`
}

type receipt struct {
	Count int `json:"count"`
}

func TestTyped(t *testing.T) {
	a := agent.Typed(func(_ context.Context, _ *agent.Job, in order) (receipt, error) { return receipt{len(in.Items)}, nil })
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.InputSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("s")
	if err != nil {
		t.Fatalf("%s: %v", a.InputSchema, err)
	}
	for input, valid := range map[string]bool{
		`{"items":[{"name":"x"}]}`: true, `{"items":[{"name":"x","more":1}],"rush":true,"notes":{"a":"b"},"unknown":1}`: true,
		`{}`: false, `{"items":[]}`: false, `{"items":[{"name":""}]}`: false, `{"items":[{"name":"x"}],"rush":"yes"}`: false,
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(input))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != valid {
			t.Errorf("%s: %v\n%s", input, err, a.InputSchema)
		}
	}
	v, err := a.Handler(t.Context(), agent.NewJob(&task.Task{}, json.RawMessage(`{"items":[{"name":"x"},{"name":"y"}]}`), "", nil))
	if v != (receipt{2}) || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	var e *agent.Error
	if _, err := a.Handler(t.Context(), agent.NewJob(&task.Task{Instruction: "x"}, nil, "", nil)); !errors.As(err, &e) || e.Code != task.CodeBadInput || !e.Permanent {
		t.Errorf("no input: %v", err)
	}
}

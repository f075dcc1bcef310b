package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/store"
)

// Agent is an agent with its compiled schema, or the memory of one that was
// removed.
type Agent struct {
	store.Definition
	removed bool
	input   *Shape
}

func NewAgent(d store.Definition) *Agent {
	return &Agent{Definition: d, input: NewShape(d.InputSchema)}
}

// CheckInput validates an input, if there is one, against the agent's schema, for
// checkWithin and while ctx lasts.
func (d *Agent) CheckInput(ctx context.Context, input json.RawMessage) error {
	if input == nil {
		return nil
	}
	if d.input.err != nil {
		return Refuse(ErrInputInvalid, "The agent %s was registered with an input schema that does not compile; its operator must mend it.", d.Name)
	}
	if len(d.InputSchema) == 0 {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	if err != nil {
		return Refuse(ErrMalformedJSON, "The input is not JSON.")
	}
	err = d.input.check(ctx, v)
	if errors.Is(err, errOver) {
		return Refuse(ErrInputTooComplex, "Checking it against the schema of agent %s took longer than %v. Send a smaller input, or have the agent's operator simplify the schema.", d.Name, checkWithin)
	}
	var broken *jsonschema.ValidationError
	if errors.As(err, &broken) {
		p := Refuse(ErrInputInvalid, "The input breaks the schema of agent %s; see GET /agents/%s.", d.Name, d.Name)
		p.Faults = schemaFaults(broken, "/input", nil)
		return p
	}
	return err
}

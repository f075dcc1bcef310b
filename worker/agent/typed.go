package agent

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Typed makes an agent of a function from a Go type to another. The input
// schema is derived from In: required are the fields without omitempty, and the
// tags doc, minimum, maximum, minLength, pattern, enum and their like are those
// of huma. The gateway refuses other input before the function sees it; unknown
// fields are ignored. Set the name and whatever else the definition needs.
//
//	a := agent.Typed(func(ctx context.Context, job *agent.Job, in Order) (Receipt, error) { ... })
//	a.Name = "order"
func Typed[In, Out any](f func(ctx context.Context, job *Job, in In) (Out, error)) Agent {
	return Agent{
		Definition: Definition{InputSchema: schemaOf(reflect.TypeFor[In]())},
		Handler: func(ctx context.Context, job *Job) (any, error) {
			var in In
			if err := job.Bind(&in); err != nil {
				return nil, err
			}
			return f(ctx, job, in)
		},
	}
}

// schemaOf derives the JSON Schema of a type, with its named types as $defs.
func schemaOf(t reflect.Type) json.RawMessage {
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	top := registry.Schema(t, false, "")
	defs := registry.Map()
	for _, s := range defs {
		s.AdditionalProperties = nil
	}
	top.AdditionalProperties = nil
	raw, err := json.Marshal(top)
	if err != nil {
		panic("agent: no schema of " + t.String() + ": " + err.Error()) // a type that JSON does not know
	}
	schema := map[string]any{}
	if err := json.Unmarshal(raw, &schema); err != nil {
		panic("agent: no schema of " + t.String() + ": " + err.Error())
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	if len(defs) > 0 {
		schema["$defs"] = defs
	}
	raw, err = json.Marshal(schema)
	if err != nil {
		panic("agent: no schema of " + t.String() + ": " + err.Error())
	}
	return raw
}

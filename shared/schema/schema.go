// Package schema compiles the input schemas of agents (JSON Schema 2020-12). A
// schema is what a user wrote: it may refer to itself, never to a file or an
// address, and a reference to anything else is an error, not a way to mean the
// schema itself. It does not know agents.
package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Compile compiles a schema. The error says what is wrong with it.
func Compile(raw []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	// A relative reference is resolved against this name, and so must not come to
	// the same again: its last part is one that nobody writes.
	sum := sha256.Sum256(raw)
	name := "mesh://input-schema/" + hex.EncodeToString(sum[:])
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a schema may refer to itself only, as in \"#/$defs/name\"", url)
}

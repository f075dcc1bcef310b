package schema_test

import (
	"strings"
	"testing"

	"agentmesh/shared/schema"
)

func TestASchemaRefersToItselfOnly(t *testing.T) {
	for _, ref := range []string{
		"other.json", "other.json#/$defs/a", "./other.json", "../other.json", "/other.json", "//host/other.json", "?x=1", "input_schema", ".",
		"file:///etc/passwd", "http://127.0.0.1/x", "urn:other", "mesh:input_schema",
	} {
		for _, text := range []string{
			`{"$ref":"` + ref + `"}`, `{"properties":{"a":{"$ref":"` + ref + `"}}}`, `{"$dynamicRef":"` + ref + `"}`,
			`{"$id":"https://example.com/mine","items":{"$ref":"` + ref + `"}}`,
		} {
			if _, err := schema.Compile([]byte(text)); err == nil || !strings.Contains(err.Error(), "refer to itself only") {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, text := range []string{
		`{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`, `{"$defs":{"a":{"$anchor":"x"}},"$ref":"#x"}`,
		`{"$id":"https://example.com/mine","items":{"$ref":"mine#/$defs/a"},"$defs":{"a":{}}}`, `true`,
	} {
		if _, err := schema.Compile([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

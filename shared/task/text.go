package task

import (
	"encoding/json"
	"slices"
	"strings"
)

// TextValue is a text as the value that a schema asks for: of a person who has nothing
// but text to answer with.
func TextValue(text string, schema json.RawMessage) json.RawMessage {
	quoted, err := Marshal(text)
	if err != nil {
		return json.RawMessage(`""`)
	}
	var s struct{ Type any }
	if json.Unmarshal(schema, &s) != nil || s.Type == nil || s.Type == "string" {
		return quoted
	}
	if many, ok := s.Type.([]any); ok && slices.Contains(many, any("string")) {
		return quoted
	}
	word := strings.TrimSpace(text)
	if s.Type == "boolean" {
		switch strings.ToLower(word) {
		case "yes":
			return json.RawMessage("true")
		case "no":
			return json.RawMessage("false")
		}
	}
	if json.Valid([]byte(word)) {
		return json.RawMessage(word)
	}
	return quoted
}

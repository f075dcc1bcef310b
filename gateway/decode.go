package gateway

import (
	"agentmesh/shared/mesh"
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decodeObject decodes a JSON object into v, a struct. Names are exact, also by
// case. A member that v does not have is refused with its pointer and the name
// that was meant, since a misspelled one would run as something else; lenient
// ignores it. A member of the wrong type is refused with its pointer.
func decodeObject(body []byte, v any, lenient bool) error {
	if err := json.Unmarshal(body, v); err != nil {
		var wrong *json.SemanticError
		if errors.As(err, &wrong) && wrong.JSONPointer != "" && wrong.GoType != nil {
			return mesh.RefuseFields(mesh.Field("it is a "+jsonKind(wrong.JSONKind)+", it must be a "+jsonType(wrong.GoType), string(wrong.JSONPointer)))
		}
		return mesh.Refuse(mesh.ErrMalformedJSON, "The body must be a JSON object.")
	}
	if jsontext.Value(body).Kind() != jsontext.KindBeginObject {
		return mesh.Refuse(mesh.ErrMalformedJSON, "The body must be a JSON object.")
	}
	if lenient {
		return nil
	}
	if faults := unknownMembers(body, members(reflect.TypeOf(v).Elem())); len(faults) > 0 {
		return mesh.RefuseFields(faults...)
	}
	return nil
}

// unknownMembers finds the members of an object that are not known. body is well-formed.
func unknownMembers(body []byte, known []string) (faults []mesh.Invalid) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	_, _ = d.ReadToken()
	for d.PeekKind() == jsontext.KindString {
		token, err := d.ReadToken()
		if err != nil {
			return faults
		}
		if name := token.String(); !slices.Contains(known, name) {
			detail := "there is no such member"
			if len(faults) < mesh.MaxFaults { // more are only counted
				detail += strings.TrimSuffix(instead(name, known), ".")
			}
			faults = append(faults, mesh.Field(detail, "/"+mesh.Pointer(name)))
		}
		if d.SkipValue() != nil {
			return faults
		}
	}
	return faults
}

var membersOf sync.Map // of types

// members names the members of a request object.
func members(t reflect.Type) (names []string) {
	if known, ok := membersOf.Load(t); ok {
		return known.([]string)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			names = append(names, members(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	membersOf.Store(t, names)
	return names
}

func jsonKind(k jsontext.Kind) string {
	switch k {
	case jsontext.KindTrue, jsontext.KindFalse:
		return "bool"
	case jsontext.KindBeginObject:
		return "object"
	case jsontext.KindBeginArray:
		return "array"
	}
	return k.String()
}

func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch kind := t.Kind().String(); kind {
	case "map", "struct":
		return "object"
	case "slice":
		return "array"
	case "int", "int64":
		return "whole number"
	default:
		return kind
	}
}

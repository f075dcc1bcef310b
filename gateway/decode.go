package gateway

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
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
			return invalid(Invalid{"it is a " + jsonKind(wrong.JSONKind) + ", it must be a " + jsonType(wrong.GoType), string(wrong.JSONPointer)})
		}
		return refuse("malformed_json", "The body must be a JSON object.")
	}
	if jsontext.Value(body).Kind() != jsontext.KindBeginObject {
		return refuse("malformed_json", "The body must be a JSON object.")
	}
	if lenient {
		return nil
	}
	if faults := unknownMembers(body, members(reflect.TypeOf(v).Elem())); len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// unknownMembers finds the members of an object that are not known. body is well-formed.
func unknownMembers(body []byte, known []string) (faults []Invalid) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	_, _ = d.ReadToken()
	for d.PeekKind() == jsontext.KindString {
		token, err := d.ReadToken()
		if err != nil {
			return faults
		}
		if name := token.String(); !slices.Contains(known, name) {
			detail := "there is no such member"
			if len(faults) < maxFaults { // more are only counted
				detail += strings.TrimSuffix(instead(name, known), ".")
			}
			faults = append(faults, Invalid{detail, "/" + escapePointer(name)})
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

// invalid refuses a request for its faults. The first ones are told, the others
// counted: who sends a hundred thousand learns nothing from the last.
func invalid(faults ...Invalid) *Problem {
	p := refuse("validation_failed", "%s: %s.", clip(strings.TrimPrefix(faults[0].Pointer, "/"), maxPointer), clip(faults[0].Detail, maxFaultDetail))
	if n := len(faults); n > maxFaults {
		p.Detail = strconv.Itoa(n) + " fields are invalid; the first " + strconv.Itoa(maxFaults) + " are in errors."
		faults = faults[:maxFaults]
	} else if n > 1 {
		p.Detail = strconv.Itoa(n) + " fields are invalid; see errors."
	}
	for _, f := range faults {
		p.Errors = append(p.Errors, Invalid{clip(f.Detail, maxFaultDetail), clip(f.Pointer, maxPointer)})
	}
	return p
}

// Bounds of a refusal.
const (
	maxFaults      = 20
	maxPointer     = 256
	maxFaultDetail = 1 << 10
)

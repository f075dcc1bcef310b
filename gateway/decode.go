package gateway

import (
	"agentmesh/shared/mesh"
	"bytes"
	"errors"
	"maps"
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
	err := json.Unmarshal(body, v, json.RejectUnknownMembers(!lenient))
	unknown := errors.Is(err, json.ErrUnknownName)
	if unknown { // rare, so that only then all of them are looked for
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		var wrong *json.SemanticError
		if errors.As(err, &wrong) && wrong.JSONPointer != "" && wrong.GoType != nil {
			return mesh.RefuseFields(mesh.Field(misfit(jsonKind(wrong.JSONKind), jsonType(wrong.GoType)), string(wrong.JSONPointer)))
		}
		return mesh.Refuse(mesh.ErrMalformedJSON, "The body must be a JSON object.")
	}
	if jsontext.Value(body).Kind() != jsontext.KindBeginObject {
		return mesh.Refuse(mesh.ErrMalformedJSON, "The body must be a JSON object.")
	}
	if !unknown {
		return nil
	}
	if faults := unknownMembers(jsontext.NewDecoder(bytes.NewReader(body)), reflect.TypeOf(v).Elem(), nil); len(faults) > 0 {
		return mesh.RefuseFields(faults...)
	}
	return nil
}

// maxUnknown ends the search for members that are not known.
const maxUnknown = 1000

// unknownMembers adds to faults the members of an object, and of those in it, that
// their types do not have. The text is well-formed, and fits the type.
func unknownMembers(d *jsontext.Decoder, t reflect.Type, faults []mesh.Invalid) []mesh.Invalid {
	_, _ = d.ReadToken()
	known := membersOf(t)
	for d.PeekKind() == jsontext.KindString && len(faults) < maxUnknown {
		token, err := d.ReadToken()
		if err != nil {
			return faults
		}
		name := token.String()
		of := known.types[name]
		if !slices.Contains(known.names, name) {
			detail := "there is no such member"
			if len(faults) < mesh.MaxFaults { // more are only counted
				detail += strings.TrimSuffix(instead(name, known.names), ".")
			}
			faults = append(faults, mesh.Field(detail, string(d.StackPointer())))
		}
		if of != nil && d.PeekKind() == jsontext.KindBeginObject {
			faults = unknownMembers(d, of, faults)
		} else if of != nil && d.PeekKind() == jsontext.KindBeginArray {
			faults = unknownItems(d, of, faults)
		} else if d.SkipValue() != nil {
			return faults
		}
	}
	_, _ = d.ReadToken()
	return faults
}

// unknownItems is unknownMembers for each object of a list.
func unknownItems(d *jsontext.Decoder, t reflect.Type, faults []mesh.Invalid) []mesh.Invalid {
	_, _ = d.ReadToken()
	for d.PeekKind() != jsontext.KindEndArray && d.PeekKind() != jsontext.KindInvalid && len(faults) < maxUnknown {
		if d.PeekKind() == jsontext.KindBeginObject {
			faults = unknownMembers(d, t, faults)
		} else if d.SkipValue() != nil {
			return faults
		}
	}
	_, _ = d.ReadToken()
	return faults
}

// objectsOf is the type of the objects that a value is, points to or lists.
func objectsOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// memberSet is the members of an object: their names in order, and the types of
// those that are objects of members themselves.
type memberSet struct {
	names []string
	types map[string]reflect.Type
}

var memberSets sync.Map // by type

func membersOf(t reflect.Type) memberSet {
	if known, ok := memberSets.Load(t); ok {
		return known.(memberSet)
	}
	m := memberSet{types: map[string]reflect.Type{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			in := membersOf(f.Type)
			m.names = append(m.names, in.names...)
			maps.Copy(m.types, in.types)
		case name != "" && name != "-":
			m.names = slices.DeleteFunc(m.names, func(n string) bool { return n == name }) // it takes the place of an embedded one
			m.names = append(m.names, name)
			if of := objectsOf(f.Type); of.Kind() == reflect.Struct && len(membersOf(of).names) > 0 {
				m.types[name] = of
			}
		}
	}
	memberSets.Store(t, m)
	return m
}

// misfit says that a member of one kind must be of another.
func misfit(is, must string) string {
	if is == "number" && strings.HasSuffix(must, "number") {
		return "it must be a " + must + ", of a size that fits"
	}
	return "it is " + one(is) + ", it must be " + one(must)
}

// one is a noun with its article.
func one(noun string) string {
	switch {
	case noun == "null":
		return noun
	case strings.ContainsRune("aeiou", rune(noun[0])):
		return "an " + noun
	}
	return "a " + noun
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
	case "float64":
		return "number"
	default:
		return kind
	}
}

package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errForm is that of a form with a field that is no value.
var errForm = errors.New("the form has a field that is no value")

// collect is the JSON value of a form. Numbers stay the text that they are.
func (f *field) collect() (json.RawMessage, error) {
	value, _, err := f.value()
	if err == nil && value == nil {
		value = json.RawMessage("null")
		if f.Kind == "object" {
			value = json.RawMessage("{}")
		}
	}
	return value, err
}

// value is that of one field; there is false where an optional one was left empty.
func (f *field) value() (v json.RawMessage, there bool, err error) {
	switch f.Kind {
	case "text", "long":
		return quoted(f.Value), f.Required || f.Value != "", nil
	case "number":
		return f.number()
	case "check":
		return json.RawMessage(strconv.FormatBool(f.Checked)), true, nil
	case "yesno", "enum":
		return json.RawMessage(f.Value), json.Valid([]byte(f.Value)), nil
	case "const":
		return json.RawMessage(f.Value), true, nil
	case "choice":
		return f.Fields[0].value()
	case "object":
		return f.object()
	case "array":
		return f.array()
	}
	if strings.TrimSpace(f.Value) == "" {
		return nil, false, nil
	}
	if !json.Valid([]byte(f.Value)) {
		return nil, false, f.wrong("it is no JSON; a text needs quotes")
	}
	return json.RawMessage(f.Value), true, nil
}

func quoted(s string) json.RawMessage {
	raw, _ := json.Marshal(s) // a string
	return raw
}

func (f *field) wrong(why string) error {
	f.Fault = why
	return fmt.Errorf("%w: %s: %s", errForm, firstOf(f.Label, "the value"), why)
}

func (f *field) number() (json.RawMessage, bool, error) {
	if f.Value == "" {
		if f.Required {
			return nil, false, f.wrong("a number is missing")
		}
		return nil, false, nil
	}
	if f.Value[0] != '-' && (f.Value[0] < '0' || f.Value[0] > '9') || !json.Valid([]byte(f.Value)) || f.whole && strings.ContainsAny(f.Value, ".eE") {
		return nil, false, f.wrong("it is no number of this kind")
	}
	return json.RawMessage(f.Value), true, nil
}

func (f *field) object() (json.RawMessage, bool, error) {
	var b bytes.Buffer
	var fault error
	for _, child := range f.Fields {
		v, there, err := child.value()
		if err != nil {
			fault = err
		}
		if !there || err != nil {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.Write(quoted(child.key))
		b.WriteByte(':')
		b.Write(v)
	}
	return json.RawMessage("{" + b.String() + "}"), f.Required || b.Len() > 0, fault
}

func (f *field) array() (json.RawMessage, bool, error) {
	all := []json.RawMessage{}
	var fault error
	for _, child := range f.Fields {
		v, there, err := child.value()
		if err != nil {
			fault = err
		} else if there {
			all = append(all, v)
		}
	}
	if fault != nil {
		return nil, false, fault
	}
	raw, err := json.Marshal(all)
	return raw, f.Required || len(all) > 0, err
}

package console

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// field is one part of a form that is made of a JSON Schema, with what it has. What a
// form cannot show is a field of JSON text, so that every schema has a form.
type field struct {
	Name     string // of the input; a JSON pointer behind "f"
	ID       string
	Label    string
	Help     string
	Kind     string // text, long, number, yesno, check, enum, object, array, choice, const, json
	Required bool
	Value    string
	Checked  bool
	Options  []option
	Fields   []*field
	Keys     string // of an array: the keys of its items, separated by commas
	Fault    string

	Min, Max, Pattern string
	MaxLength         string
	whole             bool // a number without a fraction
	key               string
}

// option is one value to choose; its value is JSON.
type option struct {
	Value, Text string
	Here        bool
}

// schema is what a form knows of JSON Schema (2020-12).
type schema struct {
	Title, Description string
	Type               json.RawMessage
	Enum               []json.RawMessage
	Const              json.RawMessage
	Default            json.RawMessage
	Examples           []json.RawMessage
	Required           []string
	Properties         json.RawMessage
	Items              json.RawMessage
	OneOf              []json.RawMessage `json:"oneOf"`
	AnyOf              []json.RawMessage `json:"anyOf"`
	AllOf              []json.RawMessage `json:"allOf"`
	Ref                string            `json:"$ref"`
	Pattern            string
	Format             string
	Minimum, Maximum   json.Number
	MinItems           int             `json:"minItems"`
	MaxLength          int             `json:"maxLength"`
	Not                json.RawMessage `json:"not"`
}

// maker makes the fields of one form.
type maker struct {
	root json.RawMessage
	form url.Values // what was sent; nil: nothing was
	ids  string     // what they begin with: several forms may be on a page
	n    int
}

// Bounds of a form: what is deeper or longer is JSON text.
const (
	formDepth  = 6
	formFields = 200
)

// formOf makes the form of a schema, with what was sent, or a value, or what the schema
// suggests.
func formOf(raw, value json.RawMessage, form url.Values) *field {
	m := &maker{root: raw, form: form}
	f := m.field(raw, "f", "", value, true, 0)
	return f
}

// formNamed makes the form of a schema, with ids that begin with a word.
func formNamed(ids string, raw json.RawMessage) *field {
	return (&maker{root: raw, ids: ids}).field(raw, "f", "", nil, true, 0)
}

func (m *maker) field(raw json.RawMessage, name, label string, value json.RawMessage, required bool, depth int) *field {
	m.n++
	f := &field{Name: name, ID: m.ids + "i" + strconv.Itoa(m.n), Label: label, Required: required, Kind: "json"}
	s, ok := m.read(raw, 0)
	if s.Title != "" && label == "" {
		f.Label = s.Title
	}
	f.Help = s.Description
	if value == nil {
		value = suggested(s)
	}
	switch {
	case !ok || depth > formDepth || m.n > formFields || len(s.AllOf) > 0 || len(s.AnyOf) > 0 || len(s.Not) > 0:
		m.asJSON(f, value)
	case len(s.OneOf) > 0:
		m.asChoice(f, s, value, depth)
	case s.Const != nil:
		f.Kind, f.Value = "const", string(s.Const)
	case len(s.Enum) > 0:
		m.asEnum(f, s, value)
	default:
		m.typed(f, s, value, depth)
	}
	return f
}

// read reads a schema and follows references within it.
func (m *maker) read(raw json.RawMessage, hops int) (s schema, ok bool) {
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || hops > 8 {
		return schema{}, false
	}
	if s.Ref == "" {
		return s, true
	}
	at := m.root
	path, local := strings.CutPrefix(s.Ref, "#/")
	if !local {
		return s, false
	}
	for part := range strings.SplitSeq(path, "/") {
		var members map[string]json.RawMessage
		if json.Unmarshal(at, &members) != nil {
			return s, false
		}
		at = members[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	to, ok := m.read(at, hops+1)
	to.Description = firstOf(s.Description, to.Description)
	return to, ok
}

// suggested is a value that a schema names.
func suggested(s schema) json.RawMessage {
	if s.Default != nil {
		return s.Default
	}
	if len(s.Examples) > 0 {
		return s.Examples[0]
	}
	return nil
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// sent is what was sent of a field.
func (m *maker) sent(name string) (string, bool) {
	if m.form == nil {
		return "", false
	}
	all, ok := m.form[name]
	if !ok || len(all) == 0 {
		return "", false
	}
	return all[len(all)-1], true
}

// typed makes the field of a plain type.
func (m *maker) typed(f *field, s schema, value json.RawMessage, depth int) {
	var kind string
	if json.Unmarshal(s.Type, &kind) != nil && s.Properties != nil {
		kind = "object"
	}
	switch kind {
	case "string":
		m.asText(f, s, value)
	case "number", "integer":
		f.Kind, f.whole, f.Min, f.Max = "number", kind == "integer", s.Minimum.String(), s.Maximum.String()
		f.Value = string(value)
		if sent, ok := m.sent(f.Name); ok {
			f.Value = strings.TrimSpace(sent)
		}
	case "boolean":
		m.asBoolean(f, value)
	case "object":
		m.asObject(f, s, value, depth)
	case "array":
		m.asArray(f, s, value, depth)
	case "null":
		f.Kind, f.Value = "const", "null"
	default:
		m.asJSON(f, value)
	}
}

func (m *maker) asText(f *field, s schema, value json.RawMessage) {
	f.Kind, f.Pattern = "text", s.Pattern
	if s.MaxLength > 0 {
		f.MaxLength = strconv.Itoa(s.MaxLength)
	}
	var text string
	_ = json.Unmarshal(value, &text) // another value is none
	if sent, ok := m.sent(f.Name); ok {
		text = strings.ReplaceAll(sent, "\r\n", "\n")
	}
	f.Value = text
	if strings.Contains(text, "\n") || len(text) > 70 || s.MaxLength > 200 || s.MaxLength == 0 && s.Format == "" && s.Pattern == "" && longName(f.Label) {
		f.Kind = "long"
	}
}

// longName reports whether what has this name is more than a line, as a rule.
func longName(label string) bool {
	return slices.Contains([]string{"text", "prompt", "message", "body", "content", "description", "instruction", "question", "query", "notes"}, strings.ToLower(label))
}

func (m *maker) asBoolean(f *field, value json.RawMessage) {
	f.Kind, f.Value = "yesno", string(value)
	if f.Required {
		f.Kind = "check"
	}
	if m.form != nil {
		f.Value, _ = m.sent(f.Name)
	}
	f.Checked = f.Value == "true"
}

func (m *maker) asEnum(f *field, s schema, value json.RawMessage) {
	f.Kind, f.Value = "enum", string(compact(value))
	if sent, ok := m.sent(f.Name); ok {
		f.Value = sent
	} else if f.Value == "" && f.Required {
		f.Value = string(compact(s.Enum[0]))
	}
	for _, raw := range s.Enum {
		one := string(compact(raw))
		text := one
		var plain string
		if json.Unmarshal(raw, &plain) == nil {
			text = plain
		}
		f.Options = append(f.Options, option{one, text, one == f.Value})
	}
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

func (m *maker) asJSON(f *field, value json.RawMessage) {
	f.Kind, f.Value = "json", indented(value)
	if sent, ok := m.sent(f.Name); ok {
		f.Value = sent
	}
}

// indented is JSON as people read it.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

func (m *maker) asObject(f *field, s schema, value json.RawMessage, depth int) {
	names, properties := members(s.Properties)
	if len(names) == 0 {
		m.asJSON(f, value)
		return
	}
	f.Kind = "object"
	var has map[string]json.RawMessage
	_ = json.Unmarshal(value, &has) // another value has none
	for _, name := range names {
		child := m.field(properties[name], f.Name+"/"+escapePointer(name), name, has[name], slices.Contains(s.Required, name), depth+1)
		child.key = name
		f.Fields = append(f.Fields, child)
	}
}

func escapePointer(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

// members are those of a JSON object, in the order in which they were written.
func members(raw json.RawMessage) (names []string, all map[string]json.RawMessage) {
	all = map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, all
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return names, all
		}
		if _, twice := all[name]; !twice {
			names = append(names, name)
		}
		all[name] = value
	}
	return names, all
}

// asArray makes a list; its buttons send op=add:<name> and op=remove:<name>:<key>.
func (m *maker) asArray(f *field, s schema, value json.RawMessage, depth int) {
	if len(s.Items) == 0 {
		m.asJSON(f, value)
		return
	}
	f.Kind = "array"
	var items []json.RawMessage
	_ = json.Unmarshal(value, &items) // another value has none
	keys := []string{}
	if sent, ok := m.sent(f.Name + "#"); ok {
		keys = strings.FieldsFunc(sent, func(r rune) bool { return r == ',' })
		items = nil
	} else {
		for i := range max(len(items), s.MinItems) {
			keys = append(keys, strconv.Itoa(i))
		}
	}
	op := ""
	if m.form != nil {
		op = m.form.Get("op")
	}
	if op == "add:"+f.Name {
		keys = append(keys, nextKey(keys))
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return op == "remove:"+f.Name+":"+k })
	keys = keys[:min(len(keys), formFields)]
	for i, key := range keys {
		var has json.RawMessage
		if i < len(items) {
			has = items[i]
		}
		child := m.field(s.Items, f.Name+"/"+key, strconv.Itoa(i+1), has, true, depth+1)
		child.key = key
		f.Fields = append(f.Fields, child)
	}
	f.Keys = strings.Join(keys, ",")
}

func nextKey(keys []string) string {
	most := -1
	for _, k := range keys {
		if n, err := strconv.Atoi(k); err == nil {
			most = max(most, n)
		}
	}
	return strconv.Itoa(most + 1)
}

// asChoice makes a field of which one of several forms holds.
func (m *maker) asChoice(f *field, s schema, value json.RawMessage, depth int) {
	f.Kind = "choice"
	at := 0
	if sent, ok := m.sent(f.Name + "?"); ok {
		at, _ = strconv.Atoi(sent)
	}
	if at < 0 || at >= len(s.OneOf) {
		at = 0
	}
	for i, raw := range s.OneOf {
		one, _ := m.read(raw, 0)
		text := firstOf(one.Title, one.Description, "Form "+strconv.Itoa(i+1))
		f.Options = append(f.Options, option{strconv.Itoa(i), clip(text, 60), i == at})
	}
	f.Value = strconv.Itoa(at)
	f.Fields = []*field{m.field(s.OneOf[at], f.Name+"/"+f.Value, "", value, f.Required, depth+1)}
}

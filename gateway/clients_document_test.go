package gateway

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// What the clients in TypeScript and Python are generated from: the document of this
// gateway. Every operation of it is a method of them.
type sdkDocument struct {
	Paths      map[string]map[string]sdkEntry
	Components struct{ Schemas map[string]sdkSchema }
}

type sdkEntry struct {
	OperationID string
	Summary     string
	Parameters  []struct {
		Name, In, Description string
		Schema                sdkSchema
	}
	RequestBody *struct{ Content map[string]sdkContent }
	Responses   map[string]struct{ Content map[string]sdkContent }
}

type sdkContent struct{ Schema *sdkSchema }

type sdkSchema struct {
	Type                 sdkTypes
	Ref                  string `json:"$ref"`
	Description          string
	Enum                 []string
	Items                *sdkSchema
	Properties           map[string]sdkSchema
	Required             []string
	AdditionalProperties json.RawMessage
}

// sdkTypes is "string" or ["string", "null"].
type sdkTypes []string

func (t *sdkTypes) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = sdkTypes{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

func (t sdkTypes) nullable() bool { return slices.Contains(t, "null") }

func (t sdkTypes) name() string {
	for _, one := range t {
		if one != "null" {
			return one
		}
	}
	return ""
}

func (s sdkSchema) ref() string { return strings.TrimPrefix(s.Ref, "#/components/schemas/") }

// sdkOperation is one of the document, as the clients see it.
type sdkOperation struct {
	ID, Noun, Name, Method, Path, Summary string
	Params, Query, Answers                []string
	queries                               map[string]sdkSchema
	Body                                  string // schema; empty: none
	Key, Wait, Stream                     bool   // it takes Idempotency-Key, Prefer; it answers events
	Items                                 string // the member of a list
	item                                  sdkSchema
	Next, From                            string // the member that says where the next page begins, and the parameter for it
}

// sdkOperations are all of them, by path and method.
func sdkOperations(t *testing.T) ([]sdkOperation, map[string]sdkSchema) {
	t.Helper()
	var doc sdkDocument
	if err := json.Unmarshal(document(t), &doc); err != nil {
		t.Fatal(err)
	}
	nouns := map[string]bool{}
	for path := range doc.Paths {
		if first := strings.Split(path, "/")[1]; strings.HasPrefix(path, "/"+first+"/{") {
			nouns[first] = true
		}
	}
	var all []sdkOperation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			o := doc.Paths[path][method].operation(method, path, doc.Components.Schemas)
			if first := strings.Split(path, "/")[1]; nouns[first] {
				o.Noun = first
			}
			o.Name = sdkName(o.ID, o.Noun)
			all = append(all, o)
		}
	}
	return all, doc.Components.Schemas
}

func (e sdkEntry) operation(method, path string, schemas map[string]sdkSchema) sdkOperation {
	o := sdkOperation{ID: e.OperationID, Method: strings.ToUpper(method), Path: path, Summary: e.Summary, queries: map[string]sdkSchema{}}
	for _, p := range e.Parameters {
		switch {
		case p.In == "path":
			o.Params = append(o.Params, p.Name)
		case p.In == "query":
			o.Query = append(o.Query, p.Name)
			p.Schema.Description = p.Description
			o.queries[p.Name] = p.Schema
		case p.Name == "Idempotency-Key":
			o.Key = true
		case p.Name == "Prefer":
			o.Wait = true
		}
	}
	if e.RequestBody != nil {
		if c := e.RequestBody.Content["application/json"]; c.Schema != nil {
			o.Body = c.Schema.ref()
		}
	}
	for _, status := range slices.Sorted(maps.Keys(e.Responses)) {
		r := e.Responses[status]
		if status[0] != '2' {
			continue
		}
		if _, ok := r.Content["text/event-stream"]; ok {
			o.Stream = true
		}
		if c, ok := r.Content["application/json"]; ok && c.Schema != nil && c.Schema.Ref != "" && !slices.Contains(o.Answers, c.Schema.ref()) {
			o.Answers = append(o.Answers, c.Schema.ref())
		}
	}
	if len(o.Answers) == 1 && method == "get" && !o.Stream {
		o.list(schemas[o.Answers[0]])
	}
	return o
}

// list tells whether an answer is a list, and how it goes on.
func (o *sdkOperation) list(answer sdkSchema) {
	var lists []string
	for name, p := range answer.Properties {
		if p.Type.name() == "array" {
			lists = append(lists, name)
		}
	}
	if len(lists) != 1 {
		return
	}
	for _, way := range [][2]string{{"next_cursor", "cursor"}, {"next_after", "after"}} {
		if _, ok := answer.Properties[way[0]]; ok && slices.Contains(o.Query, way[1]) {
			o.Next, o.From = way[0], way[1]
			o.Items, o.item = lists[0], *answer.Properties[lists[0]].Items
		}
	}
}

// words are those of a name such as getTaskResult.
func words(name string) (all []string) {
	for i, r := range name {
		if i == 0 || unicode.IsUpper(r) {
			all = append(all, "")
		}
		all[len(all)-1] += string(unicode.ToLower(r))
	}
	return all
}

// sdkName is the name of an operation's method: without its noun.
func sdkName(id, noun string) string {
	one := strings.TrimSuffix(noun, "s")
	if stem, ok := strings.CutSuffix(noun, "ies"); ok {
		one = stem + "y"
	}
	var rest []string
	for _, w := range words(id) {
		if w != noun && w != one || noun == "" {
			rest = append(rest, w)
		}
	}
	name := ""
	for i, w := range rest {
		if i > 0 {
			w = strings.ToUpper(w[:1]) + w[1:]
		}
		name += w
	}
	if name == "" {
		return id
	}
	return name
}

// snake is a name as Python writes it.
func snake(name string) string { return strings.Join(words(name), "_") }

func pascal(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// byNoun groups operations; those of none come first.
func byNoun(all []sdkOperation) (nouns []string, of map[string][]sdkOperation) {
	of = map[string][]sdkOperation{}
	for _, o := range all {
		of[o.Noun] = append(of[o.Noun], o)
	}
	return slices.Sorted(maps.Keys(of)), of
}

// No two operations are one method, or one would hide the other.
func TestEveryOperationIsAMethodOfItsOwn(t *testing.T) {
	all, _ := sdkOperations(t)
	seen := map[string]string{}
	for _, o := range all {
		name := o.Noun + "." + o.Name
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s are both %s: give one another operationId", o.ID, other, name)
		}
		seen[name] = o.ID
		if slices.Contains([]string{"close", "request", "send", "from", "import", "class", "def"}, o.Name) {
			t.Errorf("%s is %s, which is a word of a language or of a client", o.ID, name)
		}
	}
	for name, want := range map[[2]string]string{
		{"createTask", "tasks"}: "create", {"getTaskResult", "tasks"}: "getResult", {"listDeliveries", "deliveries"}: "list", {"rotateHookSecret", "hooks"}: "rotateSecret", {"whoAmI", ""}: "whoAmI", {"redeliver", "deliveries"}: "redeliver",
	} {
		if got := sdkName(name[0], name[1]); got != want {
			t.Errorf("%v is %s, want %s", name, got, want)
		}
	}
}

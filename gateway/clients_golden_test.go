package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/manualtest"
)

const generated = "Written by make golden from the gateway's own document. Do not edit it."

// The clients in other languages have the types and the operations of the gateway.
func TestGoldenClients(t *testing.T) {
	all, schemas := sdkOperations(t)
	manualtest.File(t, "client/typescript/operations.js", javaScriptOperations(all))
	manualtest.File(t, "client/typescript/types.d.ts", typeScriptTypes(all, schemas))
	manualtest.File(t, "client/python/agentmesh/operations.py", pythonOperations(all))
	manualtest.File(t, "client/python/agentmesh/types.py", pythonTypes(schemas))
}

// fact is an operation as the code of a client reads it.
func (o sdkOperation) fact() string {
	f := struct {
		Noun   string   `json:"noun,omitempty"`
		Name   string   `json:"name"`
		Method string   `json:"method"`
		Path   string   `json:"path"`
		Params []string `json:"params,omitempty"`
		Query  []string `json:"query,omitempty"`
		Body   bool     `json:"body,omitempty"`
		Key    bool     `json:"key,omitempty"`
		Wait   bool     `json:"wait,omitempty"`
		Stream bool     `json:"stream,omitempty"`
		Items  string   `json:"items,omitempty"`
		Next   string   `json:"next,omitempty"`
		From   string   `json:"from,omitempty"`
	}{o.Noun, o.Name, o.Method, o.Path, o.Params, o.Query, o.Body != "", o.Key, o.Wait, o.Stream, o.Items, o.Next, o.From}
	raw, _ := json.Marshal(f)
	return string(raw)
}

func javaScriptOperations(all []sdkOperation) string {
	var b strings.Builder
	b.WriteString("// " + generated + "\n\n/** The operations of the gateway, by their ids. @type {Record<string, any>} */\nexport const operations = {\n")
	for _, o := range all {
		fmt.Fprintf(&b, "  %s: %s,\n", o.ID, o.fact())
	}
	return b.String() + "};\n"
}

func typeScriptTypes(all []sdkOperation, schemas map[string]sdkSchema) string {
	var b strings.Builder
	b.WriteString("// " + generated + "\nimport type { Options, Pages, StreamEvent } from \"./index.js\";\n")
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		fmt.Fprintf(&b, "\nexport interface %s {\n", name)
		s := schemas[name]
		for _, member := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[member]
			doc(&b, "  ", p.Description)
			fmt.Fprintf(&b, "  %q%s: %s;\n", member, optional(s, member), typeScript(p))
		}
		b.WriteString("}\n")
	}
	nouns, of := byNoun(all)
	for _, noun := range nouns {
		if noun == "" {
			b.WriteString("\n/** What is of no noun. */\nexport interface RootCalls {\n")
		} else {
			fmt.Fprintf(&b, "\nexport interface %sCalls {\n", pascal(noun))
		}
		for _, o := range of[noun] {
			doc(&b, "  ", o.Method+" "+o.Path+": "+o.Summary)
			fmt.Fprintf(&b, "  %s(%s): %s;\n", o.Name, typeScriptParams(o), typeScriptAnswer(o))
		}
		b.WriteString("}\n")
	}
	b.WriteString("\n/** The nouns that have no more than their operations. */\nexport interface Nouns {\n")
	for _, noun := range nouns {
		if noun != "" && !slices.Contains([]string{"tasks", "actions", "sessions"}, noun) {
			fmt.Fprintf(&b, "  readonly %s: %sCalls;\n", noun, pascal(noun))
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func doc(b *strings.Builder, indent, text string) {
	if text != "" {
		fmt.Fprintf(b, "%s/** %s */\n", indent, strings.ReplaceAll(text, "*/", "* /"))
	}
}

func optional(s sdkSchema, member string) string {
	if slices.Contains(s.Required, member) {
		return ""
	}
	return "?"
}

func typeScript(s sdkSchema) string {
	text := "unknown"
	switch {
	case s.Ref != "":
		text = s.ref()
	case len(s.Enum) > 0:
		quoted := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			quoted[i] = fmt.Sprintf("%q", e)
		}
		text = strings.Join(quoted, " | ")
	case s.Type.name() == "array":
		text = "Array<" + typeScript(*s.Items) + ">"
	case s.Type.name() == "object":
		text = "Record<string, " + typeScript(s.values()) + ">"
	case s.Type.name() == "integer", s.Type.name() == "number":
		text = "number"
	case s.Type.name() != "":
		text = s.Type.name()
	}
	if s.Type.nullable() {
		text += " | null"
	}
	return text
}

// values is the schema of an object's members.
func (s sdkSchema) values() (of sdkSchema) {
	_ = json.Unmarshal(s.AdditionalProperties, &of) // true and nothing are any
	return of
}

func typeScriptParams(o sdkOperation) string {
	var all []string
	for _, p := range o.Params {
		all = append(all, p+": string")
	}
	switch {
	case o.Body != "":
		all = append(all, "body?: "+o.Body)
	case len(o.Query) > 0:
		var members []string
		for _, q := range o.Query {
			if q == "label.{key}" {
				members = append(members, "labels?: Record<string, string>")
				continue
			}
			kind := typeScript(o.queries[q])
			if kind == "string" {
				kind = "string | number | string[]"
			}
			members = append(members, fmt.Sprintf("%q?: %s", q, kind))
		}
		all = append(all, "query?: { "+strings.Join(members, "; ")+" }")
	}
	return strings.Join(append(all, "options?: Options"), ", ")
}

func typeScriptAnswer(o sdkOperation) string {
	answer := strings.Join(o.Answers, " | ")
	switch {
	case o.Stream:
		return "AsyncIterableIterator<StreamEvent>"
	case o.Items != "":
		return fmt.Sprintf("Pages<%s, %s>", typeScript(o.item), answer)
	case answer == "":
		answer = "any"
	}
	return "Promise<" + answer + ">"
}

func pythonOperations(all []sdkOperation) string {
	var b strings.Builder
	b.WriteString("\"\"\"" + generated + "\"\"\"\n\nfrom __future__ import annotations\n\nfrom typing import Any\n\nfrom . import types\nfrom ._calls import Noun, Pages, Stream\n\nOPERATIONS: dict[str, dict] = {\n")
	for _, o := range all {
		fmt.Fprintf(&b, "    %q: %s,\n", o.ID, strings.ReplaceAll(o.fact(), ":true", ":True"))
	}
	b.WriteString("}\n")
	nouns, of := byNoun(all)
	for _, noun := range nouns {
		fmt.Fprintf(&b, "\n\nclass %sCalls(Noun):\n", pascal(cmp.Or(noun, "root")))
		if noun == "" {
			for _, n := range nouns[1:] {
				fmt.Fprintf(&b, "    %s: %sCalls\n", n, pascal(n))
			}
			b.WriteString("\n")
		}
		for i, o := range of[noun] {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "    def %s(self%s, **more: Any) -> %s:\n        \"\"\"%s\"\"\"\n        return self._call(OPERATIONS[%q], [%s], more)\n",
				snake(o.Name), pythonParams(o), pythonAnswer(o), o.Method+" "+o.Path+": "+o.Summary, o.ID, strings.Join(pythonArguments(o), ", "))
		}
	}
	return b.String()
}

func pythonArguments(o sdkOperation) (all []string) {
	all = slices.Clone(o.Params)
	if o.Body != "" {
		all = append(all, "body")
	}
	return all
}

func pythonParams(o sdkOperation) (text string) {
	for _, p := range o.Params {
		text += ", " + p + ": str"
	}
	if o.Body != "" {
		text += ", body: types." + o.Body + " | None = None"
	}
	return text
}

func pythonAnswer(o sdkOperation) string {
	switch {
	case o.Stream:
		return "Stream"
	case o.Items != "":
		return "Pages"
	case len(o.Answers) == 0:
		return "Any"
	}
	return "types." + strings.Join(o.Answers, " | types.")
}

// pythonWords cannot name a member of a class.
var pythonWords = []string{"as", "class", "continue", "except", "for", "from", "global", "if", "import", "in", "is", "lambda", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield"}

func pythonTypes(schemas map[string]sdkSchema) string {
	var b strings.Builder
	b.WriteString("\"\"\"" + generated + "\"\"\"\n\nfrom __future__ import annotations\n\nfrom typing import Any, Dict, List, Literal, Optional, TypedDict\n")
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		s := schemas[name]
		if slices.ContainsFunc(slices.Collect(maps.Keys(s.Properties)), func(m string) bool { return slices.Contains(pythonWords, m) }) {
			b.WriteString("\n" + pythonByName(name, s)) // a member has the name of a word of the language
			continue
		}
		pythonClass(&b, name, s)
	}
	return b.String()
}

func pythonClass(b *strings.Builder, name string, s sdkSchema) {
	var needed, other []string
	for _, member := range slices.Sorted(maps.Keys(s.Properties)) {
		line := fmt.Sprintf("    %s: %s\n", member, python(s.Properties[member]))
		if optional(s, member) == "" {
			needed = append(needed, line)
		} else {
			other = append(other, line)
		}
	}
	if len(needed) > 0 && len(other) > 0 {
		fmt.Fprintf(b, "\n\nclass _%s(TypedDict):\n%s\n\nclass %s(_%s, total=False):\n%s", name, strings.Join(needed, ""), name, name, strings.Join(other, ""))
		return
	}
	total := ""
	if len(needed) == 0 {
		total = ", total=False"
	}
	fmt.Fprintf(b, "\n\nclass %s(TypedDict%s):\n%s", name, total, strings.Join(append(needed, other...), ""))
}

func pythonByName(name string, s sdkSchema) string {
	var members []string
	for _, member := range slices.Sorted(maps.Keys(s.Properties)) {
		members = append(members, fmt.Sprintf("%q: %q", member, python(s.Properties[member])))
	}
	return fmt.Sprintf("\n%s = TypedDict(%q, {%s}, total=False)\n", name, name, strings.Join(members, ", "))
}

func python(s sdkSchema) string {
	text := "Any"
	switch {
	case s.Ref != "":
		text = s.ref()
	case len(s.Enum) > 0:
		quoted := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			quoted[i] = "'" + e + "'"
		}
		text = "Literal[" + strings.Join(quoted, ", ") + "]"
	case s.Type.name() == "array":
		text = "List[" + python(*s.Items) + "]"
	case s.Type.name() == "object":
		text = "Dict[str, " + python(s.values()) + "]"
	case s.Type.name() == "integer":
		text = "int"
	case s.Type.name() == "number":
		text = "float"
	case s.Type.name() == "boolean":
		text = "bool"
	case s.Type.name() == "string":
		text = "str"
	}
	if s.Type.nullable() {
		text = "Optional[" + text + "]"
	}
	return text
}

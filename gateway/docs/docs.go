// Package docs renders the API's own page from its OpenAPI document: one page for
// people, without a script and without anything from elsewhere. It promises to show
// every operation and every type of the document, and to know nothing that is not in it.
package docs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

//go:embed style.css
var styleText string

var page = template.Must(template.New("page").Parse(pageText))

// document is the OpenAPI document as far as it is shown.
type document struct {
	Info       struct{ Title, Version, Description string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	ID          string `json:"operationId"`
	Summary     string
	Security    []map[string][]string
	Parameters  []parameter
	RequestBody *struct {
		Required bool
		Content  map[string]media
	}
	Responses map[string]response
}

type parameter struct{ Name, In, Description string }

type media struct{ Schema schema }

type response struct {
	Description string
	Headers     map[string]struct{ Description string }
	Content     map[string]media
}

type schema struct {
	Ref         string `json:"$ref"`
	Type        any
	Format      string
	Description string
	Enum        []any
	Required    []string
	Properties  map[string]schema
	Items       *schema
	Additional  any `json:"additionalProperties"`
}

// Operation is one entry of the page.
type Operation struct {
	ID, Method, Path, Summary, Scope string
	Parameters                       []parameter
	Body                             *Type
	BodyRequired                     bool
	Responses                        []Response
}

// Response is an answer of an operation.
type Response struct {
	Status, Description string
	Type                *Type
	Headers             []string
}

// Type is what a value is: a word, and the type of the document that it names.
type Type struct{ Text, Ref string }

// Group is the operations of one noun.
type Group struct {
	Name       string
	Operations []Operation
}

// Schema is a type of the document.
type Schema struct {
	Name, Description string
	Members           []Member
}

// Member is one of its members.
type Member struct {
	Name, Description string
	Type              Type
	Required          bool
	Values            []string
}

// Page is a handler of the page of an OpenAPI document. order are the ids of the
// operations in the order in which they are shown.
func Page(openAPI []byte, order []string) (http.Handler, error) {
	var doc document
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return nil, fmt.Errorf("render the page of the API: %w", err)
	}
	var html bytes.Buffer
	err := page.Execute(&html, map[string]any{
		"Title": doc.Info.Title, "Version": doc.Info.Version, "Description": doc.Info.Description,
		"Style": template.CSS(styleText), "Groups": doc.groups(order), "Schemas": doc.schemas(), // #nosec G203 -- the style is ours
	})
	if err != nil {
		return nil, fmt.Errorf("render the page of the API: %w", err)
	}
	sum := sha256.Sum256([]byte(styleText))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		_, _ = w.Write(html.Bytes())
	}), nil
}

// groups puts the operations of each noun together, which is the first word of their
// paths.
func (d document) groups(order []string) (groups []Group) {
	by := map[string]Operation{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			by[op.ID] = op.shown(strings.ToUpper(method), path)
		}
	}
	for _, id := range order {
		op, ok := by[id]
		if !ok {
			continue
		}
		noun, _, _ := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
		noun = cmp.Or(noun, "index")
		at := slices.IndexFunc(groups, func(g Group) bool { return g.Name == noun })
		if at < 0 {
			at, groups = len(groups), append(groups, Group{Name: noun})
		}
		groups[at].Operations = append(groups[at].Operations, op)
	}
	return groups
}

func (o operation) shown(method, path string) Operation {
	v := Operation{ID: o.ID, Method: method, Path: path, Summary: o.Summary, Parameters: o.Parameters, Scope: "public"}
	for _, one := range o.Security {
		for _, scopes := range one {
			v.Scope = cmp.Or(strings.Join(scopes, " "), "known")
		}
	}
	if o.RequestBody != nil {
		v.BodyRequired = o.RequestBody.Required
		for _, m := range o.RequestBody.Content {
			v.Body = new(m.Schema.shown())
		}
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		r := o.Responses[status]
		shown := Response{Status: status, Description: r.Description, Headers: slices.Sorted(maps.Keys(r.Headers))}
		for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
			if shown.Type == nil || kind == "application/json" {
				shown.Type = new(r.Content[kind].Schema.shown())
			}
		}
		v.Responses = append(v.Responses, shown)
	}
	return v
}

func (d document) schemas() (all []Schema) {
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		shown := Schema{Name: name, Description: s.Description}
		for _, member := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[member]
			m := Member{Name: member, Description: p.Description, Type: p.shown(), Required: slices.Contains(s.Required, member)}
			for _, v := range p.Enum {
				m.Values = append(m.Values, fmt.Sprint(v))
			}
			shown.Members = append(shown.Members, m)
		}
		all = append(all, shown)
	}
	return all
}

// shown is a schema in a word.
func (s schema) shown() Type {
	name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	word := s.word()
	switch more, object := s.Additional.(map[string]any); {
	case name != "":
		return Type{name, name}
	case word == "array" && s.Items != nil:
		of := s.Items.shown()
		return Type{"list of " + of.Text, of.Ref}
	case object && word == "object":
		return Type{"object of " + cmp.Or(fmt.Sprint(more["type"]), "any"), ""}
	case s.Format != "" && word == "string":
		return Type{s.Format, ""}
	}
	return Type{cmp.Or(word, "any JSON"), ""}
}

// word is the type by which a schema says what it is; null beside it goes without
// saying.
func (s schema) word() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if one != "null" {
				return fmt.Sprint(one)
			}
		}
	}
	return ""
}

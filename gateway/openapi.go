package gateway

import (
	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// openAPI renders the operations as an OpenAPI 3.1 document. Schemas come from
// the Go types.
func openAPI(operations []route, version string) ([]byte, error) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "agentmesh", Version: version,
			Description: "Initiate tasks of agents and follow them. Every path also exists under /v1. " +
				"Members and query parameters that are not known are refused; Prefer: handling=lenient ignores them. " +
				"Errors are application/problem+json (RFC 9457); switch on their code.",
		},
		Components: &huma.Components{Schemas: registry},
	}
	refusal := schemaOf(registry, api.Problem{})
	for _, op := range operations {
		doc.AddOperation(&huma.Operation{
			Method: op.method, Path: op.path, OperationID: op.id, Summary: op.summary,
			Parameters: parameters(op), RequestBody: requestBody(registry, op), Responses: responses(registry, op, refusal),
		})
	}
	for _, schema := range registry.Map() {
		schema.AdditionalProperties = nil // fields are only ever added
	}
	return json.MarshalIndent(doc, "", "  ")
}

func schemaOf(registry huma.Registry, example any) *huma.Schema {
	if _, ok := example.(anyJSON); ok {
		return &huma.Schema{}
	}
	return registry.Schema(reflect.TypeOf(example), true, "")
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func parameters(op route) []*huma.Param {
	text := &huma.Schema{Type: huma.TypeString}
	var params []*huma.Param
	for _, m := range pathParam.FindAllStringSubmatch(op.path, -1) {
		params = append(params, &huma.Param{Name: m[1], In: "path", Required: true, Schema: text})
	}
	for _, h := range op.headers {
		params = append(params, &huma.Param{Name: h.name, In: "header", Description: h.doc, Schema: text})
	}
	for _, q := range append(slices.Clone(op.lists), op.query...) {
		params = append(params, &huma.Param{Name: q.name, In: "query", Description: q.doc, Schema: text})
	}
	return params
}

func requestBody(registry huma.Registry, op route) *huma.RequestBody {
	if op.body == nil {
		return nil
	}
	return &huma.RequestBody{Required: !op.optional, Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf(registry, op.body)}}}
}

func responses(registry huma.Registry, op route, refusal *huma.Schema) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	for status, example := range op.answers {
		r := &huma.Response{Description: http.StatusText(status)}
		if example != nil {
			r.Content = map[string]*huma.MediaType{"application/json": {Schema: schemaOf(registry, example)}}
		}
		if op.id == "taskEvents" && status == http.StatusOK {
			r.Description = "The events, as a stream that closes after the terminal status or as a list."
			r.Content["text/event-stream"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
		all[strconv.Itoa(status)] = r
	}
	codes := map[int][]string{}
	for _, r := range op.problems {
		codes[problem.Status(r)] = append(codes[problem.Status(r)], r.Code)
	}
	if op.body != nil {
		codes[408], codes[503] = append(codes[408], problem.ErrBodyStalled.Code), append(codes[503], problem.ErrTooManyBodies.Code)
	}
	if !op.probe {
		codes[503] = append(codes[503], mesh.ErrStoreUnavailable.Code)
		if !slices.Contains(op.problems, problem.ErrBadQuery) {
			codes[400] = append(codes[400], problem.ErrBadQuery.Code)
		}
	}
	for status, names := range codes {
		slices.Sort(names)
		key := strconv.Itoa(status)
		if all[key] == nil {
			all[key] = &huma.Response{Description: http.StatusText(status) + ": " + strings.Join(names, ", "), Content: map[string]*huma.MediaType{}}
		}
		all[key].Content["application/problem+json"] = &huma.MediaType{Schema: refusal}
	}
	return all
}

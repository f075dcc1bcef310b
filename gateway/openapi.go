package gateway

import (
	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
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
// the Go types. public is where clients reach the gateway, empty where nobody has
// said: then the paths are those of the document's own address.
func openAPI(operations []route, version, public string) ([]byte, error) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "agentmesh", Version: version,
			Description: "Initiate tasks of agents and follow them. Every path also exists under /v1. " +
				"Members and query parameters that are not known are refused; Prefer: handling=lenient ignores them. " +
				"Errors are application/problem+json (RFC 9457); switch on their code.",
		},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{schemeBearer: {
			Type: "http", Scheme: "bearer", Description: "An API key (amk_...) or a JWT. A mesh without authentication asks for none.",
		}}},
	}
	if public != "" {
		doc.Servers = []*huma.Server{{URL: public}}
	}
	refusal := schemaOf(registry, reflect.TypeFor[api.Problem]())
	for _, op := range operations {
		doc.AddOperation(&huma.Operation{
			Method: op.method, Path: op.path, OperationID: op.id, Summary: op.summary, Security: op.security(),
			Parameters: parameters(op), RequestBody: requestBody(registry, op), Responses: responses(registry, op, refusal),
		})
	}
	for _, schema := range registry.Map() {
		schema.AdditionalProperties = nil // fields are only ever added
	}
	return json.MarshalIndent(doc, "", "  ")
}

// schemeBearer names the credentials in the document.
const schemeBearer = "bearer"

// security is the scope that the caller of an operation must have.
func (op route) security() []map[string][]string {
	switch op.scope {
	case auth.Public:
		return nil
	case auth.Known:
		return []map[string][]string{{schemeBearer: {}}}
	}
	return []map[string][]string{{schemeBearer: {string(op.scope)}}}
}

func schemaOf(registry huma.Registry, t reflect.Type) *huma.Schema {
	if t == reflect.TypeFor[anyJSON]() {
		return &huma.Schema{}
	}
	return registry.Schema(t, true, "")
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func parameters(op route) []*huma.Param {
	text := &huma.Schema{Type: huma.TypeString}
	var params []*huma.Param
	for _, m := range pathParam.FindAllStringSubmatch(op.path, -1) {
		params = append(params, &huma.Param{Name: m[1], In: "path", Required: true, Schema: text})
	}
	for _, h := range op.takes.headers {
		params = append(params, &huma.Param{Name: h.name, In: "header", Description: h.doc, Schema: text})
	}
	for _, q := range append(slices.Clone(op.takes.lists), op.takes.query...) {
		params = append(params, &huma.Param{Name: q.name, In: "query", Description: q.doc, Schema: text})
	}
	return params
}

func requestBody(registry huma.Registry, op route) *huma.RequestBody {
	if op.takes.body == nil {
		return nil
	}
	return &huma.RequestBody{Required: !op.takes.optional, Content: map[string]*huma.MediaType{mediaJSON: {Schema: schemaOf(registry, op.takes.body)}}}
}

func responses(registry huma.Registry, op route, refusal *huma.Schema) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	for _, a := range op.gives.answers {
		key := strconv.Itoa(a.status)
		if all[key] == nil {
			all[key] = &huma.Response{Description: http.StatusText(a.status), Headers: op.gives.documented(a.status)}
		}
		if a.doc != "" {
			all[key].Description = a.doc
		}
		if a.body != nil {
			if all[key].Content == nil {
				all[key].Content = map[string]*huma.MediaType{}
			}
			all[key].Content[a.media] = &huma.MediaType{Schema: schemaOf(registry, a.body)}
		}
	}
	for status, names := range op.refusals() {
		slices.Sort(names)
		key := strconv.Itoa(status)
		if all[key] == nil {
			all[key] = &huma.Response{Description: http.StatusText(status) + ": " + strings.Join(slices.Compact(names), ", "), Content: map[string]*huma.MediaType{}}
		}
		all[key].Content["application/problem+json"] = &huma.MediaType{Schema: refusal}
	}
	return all
}

// documented is the headers of the answers with a status.
func (k *given) documented(status int) map[string]*huma.Param {
	all := map[string]*huma.Param{}
	for _, h := range k.headers {
		if h.doc != "" && (h.on == 0 || h.on == status) {
			all[h.name] = &huma.Param{Description: h.doc, Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
	return all
}

// refusals is the codes of an operation by their statuses: its own, and those
// that come with what it takes.
func (op route) refusals() map[int][]string {
	all := slices.Clone(op.problems)
	if !op.probe {
		all = append(all, mesh.ErrStoreUnavailable, problem.ErrBadQuery)
	}
	if op.method == http.MethodPost {
		all = append(all, mesh.ErrEventChainTooDeep)
	}
	if op.takes.keyed {
		all = append(all, problem.ErrBadIdempotencyKey, mesh.ErrIdempotencyKeyReused)
	}
	if op.takes.body != nil {
		all = append(all, problem.ErrBodyStalled, problem.ErrTooManyBodies, mesh.ErrTooLarge, problem.ErrUnsupportedMediaType,
			mesh.ErrMalformedJSON, mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange)
	}
	if op.scope != auth.Public {
		all = append(all, mesh.ErrUnauthenticated, mesh.ErrTooManyAttempts, mesh.ErrIssuerUnavailable, mesh.ErrForbidden, problem.ErrBadTenant)
	}
	if op.scope != auth.Public && op.scope != auth.Admin {
		all = append(all, mesh.ErrRateLimited)
	}
	if op.takes.header("Prefer") || slices.ContainsFunc(op.gives.answers, func(a givenAnswer) bool { return a.media == mediaEvents }) {
		all = append(all, mesh.ErrTooManyWaits)
	}
	codes := map[int][]string{}
	for _, r := range all {
		codes[problem.Status(r)] = append(codes[problem.Status(r)], r.Code)
	}
	return codes
}

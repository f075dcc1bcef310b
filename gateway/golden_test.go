package gateway

import (
	"agentmesh/gateway/problem"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"agentmesh/shared/manualtest"

	"github.com/go-chi/chi/v5"
)

func document(t *testing.T) []byte {
	t.Helper()
	b, err := openAPI(bareGateway().operations(), "golden", "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenOpenAPI(t *testing.T) {
	manualtest.File(t, "testdata/openapi.json", string(document(t))+"\n")
}

func TestGoldenProblems(t *testing.T) {
	b, err := json.MarshalIndent(problem.Pages(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	manualtest.File(t, "testdata/problems.json", string(b)+"\n")
}

// The document says what is served, and nothing else.
func TestDocumentMatchesTheRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document(t), &doc); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{"GET /openapi.json": true, "GET /docs": true} // the document itself
	for path, methods := range doc.Paths {
		for method := range methods {
			documented[strings.ToUpper(method)+" "+path] = true
		}
	}
	served := map[string]bool{}
	router, ok := bareGateway().routes().(chi.Routes)
	if !ok {
		t.Fatal("the handler is no router")
	}
	if err := chi.Walk(router, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served[method+" "+unversioned(path)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range bareGateway().faces() { // of protocols with descriptions of their own
		delete(served, f.method+" "+f.path)
	}
	for _, m := range append(bareGateway().a2aRoutes(), bareGateway().tokenRoutes()...) {
		delete(served, m.method+" "+m.path)
	}
	for op := range served {
		if !documented[op] {
			t.Errorf("%s is served and not documented", op)
		}
	}
	for op := range documented {
		if !served[op] {
			t.Errorf("%s is documented and not served", op)
		}
	}
}

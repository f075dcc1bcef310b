package gateway

import (
	"agentmesh/gateway/api"
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares what the code makes with what was agreed.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	got = append(bytes.TrimRight(got, "\n"), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed: clients are written against it. Run make golden and read the diff.", file)
	}
}

func document(t *testing.T) []byte {
	t.Helper()
	b, err := openAPI((&Gateway{}).operations(), "golden")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenOpenAPI(t *testing.T) { golden(t, "openapi.json", document(t)) }

func TestGoldenProblems(t *testing.T) {
	b, err := json.MarshalIndent(api.ProblemPages(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "problems.json", b)
}

// The document says what is served, and nothing else.
func TestDocumentMatchesTheRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document(t), &doc); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{"GET /openapi.json": true}
	for path, methods := range doc.Paths {
		for method := range methods {
			documented[strings.ToUpper(method)+" "+path] = true
		}
	}
	served := map[string]bool{}
	router, ok := (&Gateway{}).routes().(chi.Routes)
	if !ok {
		t.Fatal("the handler is no router")
	}
	if err := chi.Walk(router, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served[method+" "+unversioned(path)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
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

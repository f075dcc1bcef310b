package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/docs"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/telemetry"
)

func (g *Gateway) routes() http.Handler {
	operations := g.operations()
	document := sync.OnceValue(func() []byte { return g.document(operations) })
	page := sync.OnceValue(func() http.Handler { return documentPage(document(), operations) })
	faces := g.faces()
	mount := func(r chi.Router) {
		traced := r.With(telemetry.HTTPMiddleware, g.front.recoverPanics) // within the trace, which the answer names
		for _, op := range operations {
			to := traced
			switch {
			case op.probe:
				to = r
			case op.outside:
				to = r.With(fromOutside, telemetry.HTTPMiddleware, g.front.recoverPanics)
			}
			to.MethodFunc(op.method, op.path, g.front.serve(&op))
		}
		for _, f := range faces {
			traced.MethodFunc(f.method, f.path, g.front.serve(&f))
		}
		r.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
			_, _ = w.Write(document())
		})
		r.Get("/docs", func(w http.ResponseWriter, r *http.Request) { page().ServeHTTP(w, r) })
	}
	root := chi.NewRouter()
	origins, _ := parseOrigins(g.cfg.CORSOrigins) // New has checked them
	proxies, _ := parseProxies(g.cfg.TrustedProxies)
	root.Use(g.front.answering, g.front.recoverPanics, clients(proxies), origins.cors)
	missing := g.front.handle(func(_ http.ResponseWriter, r *http.Request) error {
		return mesh.Refuse(problem.ErrNotFound, "There is no %s; GET /openapi.json lists what there is.", mesh.Clip(r.URL.Path, 128))
	})
	wrongMethod := g.front.handle(func(w http.ResponseWriter, r *http.Request) error {
		allowed := methods(root, cmp.Or(r.URL.RawPath, r.URL.Path))
		if len(allowed) == 0 { // also a method that nobody knows comes here
			missing(w, r)
			return nil
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return mesh.Refuse(problem.ErrMethodNotAllowed, "%s does not take %s; see Allow for what it takes.", mesh.Clip(r.URL.Path, 128), mesh.Clip(r.Method, 32))
	})
	root.NotFound(missing)
	root.MethodNotAllowed(wrongMethod)
	mount(root)
	g.mountA2A(root)
	root.Route(prefixV1, mount)
	return root
}

// document is the OpenAPI document. It takes tens of milliseconds, so it is made when
// it is first asked for.
func (g *Gateway) document(operations []route) []byte {
	document, err := openAPI(operations, g.cfg.Version, strings.TrimSuffix(g.cfg.PublicURL, "/"))
	if err != nil {
		panic(fmt.Sprintf("the OpenAPI document does not encode: %v", err)) // the types are ours
	}
	return document
}

// documentPage is the document as a page to read, in the order of the operations.
func documentPage(document []byte, operations []route) http.Handler {
	var order []string
	for _, op := range operations {
		order = append(order, op.id)
	}
	page, err := docs.Page(document, order)
	if err != nil {
		panic(err.Error()) // the document is ours
	}
	return page
}

// methods are those that a path takes.
func methods(routes chi.Routes, path string) (all []string) {
	if path == prefixV1 || path == prefixV1+"/" {
		path = "/" // the router says of a place where others are mounted that it takes all
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			if all = append(all, m); m == http.MethodGet {
				all = append(all, http.MethodHead)
			}
		}
	}
	return all
}

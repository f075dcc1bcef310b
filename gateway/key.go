package gateway

import (
	"mime"
	"net/http"

	"github.com/go-chi/chi/v5"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// keyOf reads the Idempotency-Key of a request (draft-ietf-httpapi-idempotency-
// key-header-06); nil when it has none. A key belongs to its method and route; a
// request is the same when its canonical body and its media type are.
func keyOf(who auth.Caller, r *http.Request, body []byte) (*mesh.Key, error) {
	key, err := idempotencyKey(r.Header)
	if err != nil || key == "" {
		return nil, err
	}
	route := unversioned(chi.RouteContext(r.Context()).RoutePattern())
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return mesh.NewKey(who, key, []string{r.Method, route}, r.Method, unversioned(r.URL.Path), media, mesh.Canonical(body)), nil
}

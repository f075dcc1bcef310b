package gateway

import (
	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/telemetry"
	"encoding/json"
	"net/http"
)

// Lobby answers in a gateway's place until its store is open: the process runs,
// it is not ready, and every request is refused with store_unavailable. waitsFor
// says in words what for.
func Lobby(waitsFor func() string) http.Handler {
	mux := http.NewServeMux()
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
	write := func(w http.ResponseWriter, status int, contentType string, v any) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, "application/json", map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusServiceUnavailable, "application/json", api.Readiness{Checks: map[string]api.Check{"nats": {Detail: waitsFor()}}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p := problem.Of(mesh.Refuse(mesh.ErrStoreUnavailable, "Nothing was accepted: the gateway is starting. Try again in a moment."))
		p.Instance, p.TraceID = r.URL.Path, telemetry.RequestTraceID(r)
		w.Header().Set("Cache-Control", "no-store")
		sendProblem(w, p, mesh.ErrStoreUnavailable.RetryAfter)
	})
	return plain
}

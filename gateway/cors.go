package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origins are the sites whose pages may call the gateway from a browser.
type origins []string

// anyOrigin is every site.
const anyOrigin = "*"

func parseOrigins(list string) (all origins, err error) {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		u, err := url.Parse(one)
		if one != anyOrigin && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != one) {
			return nil, fmt.Errorf("cors-origins has %q, it must be like https://app.example.com, or *", one)
		}
		all = append(all, one)
	}
	return all, nil
}

func (o origins) allow(origin string) bool {
	return slices.Contains(o, anyOrigin) || slices.Contains(o, origin)
}

// The methods and headers that pages of other origins may send, and see.
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer, Mesh-Parent-Task, Mesh-Tenant, X-Request-Id, traceparent, tracestate, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id"
	corsExposed = "ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
)

// cors lets the pages of some origins call the gateway. Without origins browsers
// keep others out by themselves.
func (o origins) cors(next http.Handler) http.Handler {
	if len(o) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, origin := w.Header(), r.Header.Get("Origin")
		h.Add("Vary", "Origin")
		if origin == "" || !o.allow(origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			h.Set("Access-Control-Expose-Headers", corsExposed)
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}

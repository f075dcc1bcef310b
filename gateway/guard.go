package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/sameorigin"
)

// guarded keeps the pages of other sites out: a browser shows them what it shows
// this gateway, such as a client's certificate, or reaches it where nobody is
// asked who they are.
func (f *front) guarded(next http.Handler) http.Handler {
	allowed, _ := parseOrigins(f.cfg.CORSOrigins) // it was validated
	any := slices.Contains(allowed, anyOrigin)
	named := slices.DeleteFunc(slices.Clone(allowed), func(o string) bool { return o == anyOrigin })
	rules := sameorigin.Rules{AnyHost: any || !f.cfg.servesOperatorOnly(), Origins: named}
	if u, err := url.Parse(f.cfg.PublicURL); err == nil && u.Host != "" {
		rules.Hosts, rules.Origins = []string{u.Hostname()}, append(rules.Origins, u.Scheme+"://"+u.Host)
	}
	guard, err := sameorigin.Guard(next, rules, func(w http.ResponseWriter, r *http.Request, why sameorigin.Reason) {
		f.writeProblem(w, r, refusedPage(r, why))
	})
	if err != nil { // of an origin that was validated
		f.log.Error("pages of other sites are not kept out", "error", err)
		return next
	}
	if !any {
		return guard
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/mcp") { // pages that may have tools run are named, one by one
			guard.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refusedPage(r *http.Request, why sameorigin.Reason) error {
	if why == sameorigin.WrongHost {
		return mesh.Refuse(problem.ErrWrongHost, "The Host is %q; this gateway listens on loopback for programs of this machine. Use 127.0.0.1 or localhost, or name the host with --public-url.", mesh.Clip(r.Host, 128))
	}
	return mesh.Refuse(problem.ErrCrossSite, "The request comes from %q. Only programs and this gateway's own pages may change anything; --cors-origins lets other pages in.", mesh.Clip(r.Header.Get("Origin"), 128))
}

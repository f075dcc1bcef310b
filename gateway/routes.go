package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/a2a"
	"agentmesh/shared/telemetry"
)

// operations is every route of the API.
func (g *Gateway) operations() []route {
	all := g.nouns()
	return append(index{g.cfg.Version, func() []route { return all }, g.hasConsole}.routes(), all...)
}

// hasConsole reports whether a console is mounted.
func (g *Gateway) hasConsole() bool {
	routes, ok := g.handler.(chi.Routes)
	return ok && routes.Match(chi.NewRouteContext(), http.MethodGet, consolePath)
}

func (g *Gateway) nouns() []route {
	show := views{g.mesh, g.cfg.TraceURL}
	return slices.Concat(
		tasks{g.mesh, show, g.closing, g.cfg.servesOperatorOnly()}.routes(),
		sessions{g.mesh, g.log, g.closing}.routes(),
		turns{g.mesh, show}.routes(),
		webhooks{g.mesh}.routes(),
		deliveries{g.mesh}.routes(),
		feed{g.mesh, g.log, links(strings.TrimSuffix(g.cfg.PublicURL, "/")), g.closing}.routes(),
		bulk{g.mesh}.routes(),
		tenants{g.mesh}.routes(),
		budgets{g.mesh}.routes(),
		keySet{g.mesh}.routes(),
		agents{g.mesh}.routes(),
		g.stats().routes(),
		schedules{g.mesh}.routes(),
		hooks{g.mesh}.routes(),
		apiKeys{g.mesh}.routes(),
		auditTrail{g.mesh}.routes(),
		whoAmI{g.cfg.Auth}.routes(),
		problems{}.routes(),
		health{g.mesh, g.store, g.ready, g.cfg, g.closing}.routes(),
	)
}

// faces is every route of the protocols of others.
func (g *Gateway) faces() []route { return mcpFace{g.mesh, g.log, g.cfg, g.closing}.routes() }

func (g *Gateway) stats() stats { return stats{g.mesh, g.census, g.cfg.StorageLimit, g.log} }

// mounted is a route of a protocol of others that refuses in its own form, and is not
// in the OpenAPI document.
type mounted struct {
	method, path string
	handler      http.HandlerFunc
}

// a2aRoutes are those of the A2A face.
func (g *Gateway) a2aRoutes() []mounted {
	face := a2a.New(g.mesh, a2a.Config{Base: g.baseURL, Auth: g.cfg.Auth, Closing: g.closing, Log: g.log, Issuers: g.cfg.Issuers, Hold: g.cfg.A2AHold, Compat: g.cfg.A2ACompat, Options: g.cfg.A2A})
	const of, where = "/agents/{name}/a2a", "/.well-known/agent-card.json"
	card := g.front.handle(func(w http.ResponseWriter, r *http.Request) error { return face.Card(w, r, r.PathValue("name")) })
	rpc := g.front.through(func(d *door, refused error) { face.JSONRPC(d.w, d.r, d.r.PathValue("name"), d, refused) })
	rest := g.front.through(func(d *door, refused error) {
		face.REST(d.w, d.r, d.r.PathValue("name"), d.r.PathValue("*"), d, refused)
	})
	return []mounted{
		{http.MethodGet, of + where, card}, {http.MethodGet, where, card},
		{http.MethodPost, of + "/rpc", rpc}, {http.MethodPost, of + "/rpc/", rpc},
		{http.MethodGet, of + "/v1/*", rest}, {http.MethodPost, of + "/v1/*", rest}, {http.MethodDelete, of + "/v1/*", rest},
	}
}

// tokenRoutes are the pages from which clients of MCP learn whose tokens count.
func (g *Gateway) tokenRoutes() (all []mounted) {
	page := g.front.handle(g.front.tokens.page)
	for _, path := range []string{"", "/mcp", "/agents/{name}/mcp", prefixV1 + "/mcp", prefixV1 + "/agents/{name}/mcp"} {
		all = append(all, mounted{http.MethodGet, wellKnownResource + path, page})
	}
	return all
}

// mountA2A serves the A2A face, and what clients of MCP must know before they ask.
func (g *Gateway) mountA2A(root chi.Router) {
	r := root.With(telemetry.HTTPMiddleware, g.front.recoverPanics)
	for _, m := range append(g.a2aRoutes(), g.tokenRoutes()...) {
		r.Method(m.method, m.path, m.handler)
	}
}

// baseURL is where clients reach this gateway: never what a request says of it.
func (g *Gateway) baseURL() string {
	if g.cfg.PublicURL != "" {
		return strings.TrimSuffix(g.cfg.PublicURL, "/")
	}
	address, scheme := g.cfg.HTTP, "http://"
	if g.listener != nil {
		address = g.listener.Addr().String()
	}
	if g.cfg.TLS != nil {
		scheme = "https://"
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			address = net.JoinHostPort("127.0.0.1", port)
		}
	}
	return scheme + address
}

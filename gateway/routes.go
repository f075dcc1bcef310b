package gateway

import (
	"slices"
	"strings"
)

// operations is every route of the API.
func (g *Gateway) operations() []route {
	show := views{g.mesh, g.cfg.TraceURL}
	return slices.Concat(
		tasks{g.mesh, show, g.closing, g.cfg.servesOperatorOnly()}.routes(),
		sessions{g.mesh, g.log, g.closing}.routes(),
		turns{g.mesh, show}.routes(),
		webhooks{g.mesh}.routes(),
		deliveries{g.mesh}.routes(),
		feed{g.mesh, g.log, links(strings.TrimSuffix(g.cfg.PublicURL, "/")), g.closing}.routes(),
		tenants{g.mesh}.routes(),
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

func (g *Gateway) stats() stats { return stats{g.census, g.cfg.StorageLimit, g.log} }

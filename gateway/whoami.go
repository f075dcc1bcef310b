package gateway

import (
	"context"

	"agentmesh/gateway/api"
)

// whoAmI is GET /whoami.
func (g *Gateway) whoAmI(_ context.Context, in plain) (fresh[api.WhoAmI], error) {
	who := in.caller()
	me := api.WhoAmI{Tenant: who.Tenant, Subject: who.Subject, KeyID: who.KeyID, Scopes: make([]string, 0, len(who.Scopes)), Auth: g.cfg.Auth}
	for _, s := range who.Scopes {
		me.Scopes = append(me.Scopes, string(s))
	}
	return fresh[api.WhoAmI]{Body: &me}, nil
}

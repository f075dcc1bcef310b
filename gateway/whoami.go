package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
)

// whoAmI tells callers who they are.
type whoAmI struct{ auth string }

func (h whoAmI) routes() []route {
	return []route{
		operation("GET", "/whoami", auth.Known, "whoAmI", "Read who asks: the tenant and the scopes of these credentials", h.whoAmI),
	}
}

// whoAmI is GET /whoami.
func (h whoAmI) whoAmI(_ context.Context, in plain) (fresh[api.WhoAmI], error) {
	who := in.caller()
	me := api.WhoAmI{Tenant: who.Tenant, Subject: who.Subject, KeyID: who.KeyID, Scopes: make([]string, 0, len(who.Scopes)), Auth: h.auth}
	for _, s := range who.Scopes {
		me.Scopes = append(me.Scopes, string(s))
	}
	return fresh[api.WhoAmI]{Body: &me}, nil
}

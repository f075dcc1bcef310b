package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// keySet shows the keys that sign deliveries.
type keySet struct{ mesh *mesh.Mesh }

func (h keySet) routes() []route {
	return []route{
		operation("GET", "/.well-known/webhooks/jwks.json", auth.Public, "webhookKeys", "Read the public keys that sign deliveries (v1a)", h.keySet),
	}
}

// keyQuery asks for the keys of a tenant. A receiver asks, and has no credentials.
type keyQuery struct {
	request
	Tenant string `query:"tenant" doc:"The tenant whose deliveries are signed; default when left out."`
}

// keysShown is the answer of GET /.well-known/webhooks/jwks.json.
type keysShown struct {
	Body         *api.KeySet `status:"200"`
	CacheControl string      `header:"Cache-Control" doc:"How long the keys may be kept."`
}

// keySet serves the public keys that deliveries are signed with (v1a).
func (h keySet) keySet(ctx context.Context, in keyQuery) (out keysShown, err error) {
	who := in.caller()
	if in.Tenant != "" {
		if !auth.ValidTenant(in.Tenant) {
			return out, mesh.Refuse(problem.ErrBadQuery, "tenant is %q, which names none.", mesh.Clip(in.Tenant, 64))
		}
		who = who.For(in.Tenant)
	}
	keys, err := h.mesh.Webhooks.Keys(ctx, who)
	if err != nil {
		return out, err
	}
	set := &api.KeySet{Keys: []api.Jwk{}}
	for _, raw := range keys {
		x := base64.RawURLEncoding.EncodeToString(raw)
		thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
		set.Keys = append(set.Keys, api.Jwk{Kty: "OKP", Crv: "Ed25519", Use: "sig", Alg: "EdDSA", Kid: base64.RawURLEncoding.EncodeToString(thumb[:]), X: x})
	}
	if out.Body = set; len(keys) > 0 { // a gateway that takes no callbacks has none
		out.CacheControl = "public, max-age=300"
	}
	return out, nil
}

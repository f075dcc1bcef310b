package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
)

// jwk is a public key (RFC 8037).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid" doc:"The key's thumbprint (RFC 7638)."`
	X   string `json:"x"`
}

// KeySet is the answer of GET /.well-known/webhooks/jwks.json.
type KeySet struct {
	Keys []jwk `json:"keys"`
}

// keySet serves the public keys that deliveries are signed with (v1a).
func (g *Gateway) keySet(w http.ResponseWriter, r *http.Request) error {
	keys, err := g.mesh.Webhooks.Keys(r.Context(), callerOf(r))
	if err != nil {
		return err
	}
	set := KeySet{Keys: []jwk{}}
	for _, raw := range keys {
		x := base64.RawURLEncoding.EncodeToString(raw)
		thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
		set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", "sig", "EdDSA", base64.RawURLEncoding.EncodeToString(thumb[:]), x})
	}
	if len(keys) > 0 { // a gateway that takes no callbacks has none
		w.Header().Set("Cache-Control", "public, max-age=300")
	}
	return writeJSON(w, http.StatusOK, set)
}

package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"agentmesh/shared/keyring"
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
	set := KeySet{Keys: []jwk{}}
	if g.cfg.Guard == nil {
		return writeJSON(w, http.StatusOK, set)
	}
	public, err := g.cfg.Keys.CallbackPublicKeys(tenant)
	if err != nil {
		return err
	}
	all, err := g.store.Webhooks(r.Context(), tenant)
	if err != nil {
		return err
	}
	for _, e := range all {
		for _, k := range e.Keys {
			if k.Public != "" && !k.Expired(time.Now()) {
				public = append(public, k.Public)
			}
		}
	}
	for _, text := range public {
		raw, err := keyring.PublicKey(text)
		if err != nil {
			return err
		}
		x := base64.RawURLEncoding.EncodeToString(raw)
		thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
		set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", "sig", "EdDSA", base64.RawURLEncoding.EncodeToString(thumb[:]), x})
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	return writeJSON(w, http.StatusOK, set)
}

package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
)

// apiKeys are the operations on API keys, all of them for admins.
type apiKeys struct{ mesh *mesh.Mesh }

func (h apiKeys) routes() []route {
	const one = "/keys/{id}"
	return []route{
		operation("POST", "/keys", auth.Admin, "createKey", "Make an API key; it is shown this once", h.createKey, mesh.ErrKeyExists, mesh.ErrTooManyKeys),
		operation("GET", "/keys", auth.Admin, "listKeys", "List API keys, oldest first; those that have ended are among them for 30 days", h.listKeys),
		operation("GET", one, auth.Admin, "getKey", "Read an API key, without its secret", h.getKey, mesh.ErrKeyNotFound),
		operation("DELETE", one, auth.Admin, "revokeKey", "End an API key at once, at every gateway within 5 s", h.revokeKey, mesh.ErrKeyNotFound, mesh.ErrLastAdminKey, mesh.ErrConflict),
		operation("POST", one+"/rotate", auth.Admin, "rotateKey", "Make a key that takes the place of another one, which goes on for a while; it is shown this once", h.rotateKey,
			mesh.ErrKeyNotFound, mesh.ErrKeyEnded, mesh.ErrTooManyKeys, mesh.ErrConflict),
	}
}

// once is the key under which a request makes one API key.
type once struct {
	Key struct{} `header:"Idempotency-Key" doc:"A structured-field string. Requests with the same one make one key; its secret is shown by the first only, the others are refused: 409 key_exists."`
}

// keyCreation asks for a new API key.
type keyCreation struct {
	request
	once
	Body api.CreateKey `body:"required"`
}

// keyCreated is its answer, with the secret: nobody keeps it.
type keyCreated struct {
	Body     *api.APIKey `status:"201"`
	Location string      `header:"Location" doc:"Where the key is read."`
	_        struct{}    `header:"Cache-Control: no-store"`
}

// createKey is POST /keys.
func (h apiKeys) createKey(ctx context.Context, in keyCreation) (out keyCreated, err error) {
	r := mesh.KeyRequest{Tenant: in.Body.Tenant, Scopes: in.Body.Scopes, Name: in.Body.Name}
	if in.Body.ExpiresAt != "" {
		at, err := readTime(in.Body.ExpiresAt)
		if err != nil {
			return out, mesh.RefuseFields(mesh.Field(`it must be a time such as "2027-05-19T10:30:00Z"`, "/expires_at"))
		}
		r.ExpiresAt = &at
	}
	if r.Once, err = in.key(); err != nil {
		return out, err
	}
	k, secret, err := h.mesh.Keys.Create(ctx, in.caller(), r)
	if err != nil {
		return out, err
	}
	return newKeyOf(k, secret), nil
}

func newKeyOf(k *store.APIKey, secret auth.Key) keyCreated {
	v := keyView(k)
	v.Key = secret.Reveal()
	return keyCreated{Body: &v, Location: "/keys/" + k.ID}
}

func keyView(k *store.APIKey) api.APIKey {
	v := api.APIKey{
		KeyID: k.ID, Tenant: k.Tenant, Scopes: make([]string, 0, len(k.Scopes)), Name: k.Name, Status: "live", CreatedAt: k.CreatedAt, CreatedBy: k.CreatedBy,
		ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt, RotatedTo: k.RotatedTo, LastUsedAt: k.LastUsed,
	}
	for _, s := range k.Scopes {
		v.Scopes = append(v.Scopes, string(s))
	}
	switch {
	case !k.RevokedAt.IsZero():
		v.Status = "revoked"
	case !k.Live(time.Now()):
		v.Status = "expired"
	}
	return v
}

// keyQuestion asks for the API keys.
type keyQuestion struct {
	request
	Tenant string `query:"tenant" doc:"Only of this tenant."`
}

// listKeys is GET /keys.
func (h apiKeys) listKeys(ctx context.Context, in keyQuestion) (api.KeyList, error) {
	all, err := h.mesh.Keys.List(ctx, in.caller(), in.Tenant)
	list := api.KeyList{Keys: make([]api.APIKey, 0, len(all))}
	for _, k := range all {
		list.Keys = append(list.Keys, keyView(k))
	}
	return list, err
}

// onKey is a request about an API key.
type onKey struct {
	request
	ID string `path:"id"`
}

// getKey is GET /keys/{id}.
func (h apiKeys) getKey(ctx context.Context, in onKey) (api.APIKey, error) {
	k, err := h.mesh.Keys.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return api.APIKey{}, err
	}
	return keyView(k), nil
}

// flag is a parameter that is true or false.
type flag bool

func (f *flag) read(_ *call, values []string) error {
	if values[0] != "true" && values[0] != "false" {
		return mesh.Refuse(problem.ErrBadQuery, "A parameter that is true or false is %q.", mesh.Clip(values[0], 32))
	}
	*f = values[0] == "true"
	return nil
}

// revocation asks for the end of an API key.
type revocation struct {
	onKey
	Force flag `query:"force" doc:"true: also the last key that has the scope admin."`
}

// revokeKey is DELETE /keys/{id}.
func (h apiKeys) revokeKey(ctx context.Context, in revocation) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Keys.Revoke(ctx, in.caller(), in.ID, bool(in.Force))
}

// keyRotation asks for the heir of an API key.
type keyRotation struct {
	onKey
	Body api.RotateKey `body:"optional"`
}

// rotateKey is POST /keys/{id}/rotate.
func (h apiKeys) rotateKey(ctx context.Context, in keyRotation) (out keyCreated, err error) {
	var overlap *time.Duration
	if in.Body.Overlap != "" {
		d, err := time.ParseDuration(in.Body.Overlap)
		if err != nil {
			d = -1 // any other text is out of range
		}
		overlap = &d
	}
	k, secret, err := h.mesh.Keys.Rotate(ctx, in.caller(), in.ID, overlap)
	if err != nil {
		return out, err
	}
	return newKeyOf(k, secret), nil
}

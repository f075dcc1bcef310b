package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"agentmesh/gateway/api"
)

// The wire types of API keys, which admins keep.
type (
	// APIKey is a key that callers show, without its secret but in the answer that
	// made it.
	APIKey = api.APIKey
	// KeyRequest is a key to make.
	KeyRequest = api.CreateKey
)

// Create makes an API key. It is in the answer, this once.
func (c Keys) Create(ctx context.Context, r KeyRequest) (*APIKey, error) {
	return c.sendKey(ctx, "/keys", r)
}

// Rotate makes a key that takes the place of another one, which goes on for
// overlap. It is in the answer, this once.
func (c Keys) Rotate(ctx context.Context, id string, overlap time.Duration) (*APIKey, error) {
	return c.sendKey(ctx, "/keys/"+url.PathEscape(id)+"/rotate", api.RotateKey{Overlap: overlap.String()})
}

func (c Keys) sendKey(ctx context.Context, path string, r any) (*APIKey, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var k APIKey
	err = c.call(ctx, http.MethodPost, path, jsonBody, body, &k)
	return &k, err
}

// List lists the keys of a tenant, of all when it is empty, oldest first.
func (c Keys) List(ctx context.Context, tenant string) ([]APIKey, error) {
	path := "/keys"
	if tenant != "" {
		path += "?" + url.Values{"tenant": {tenant}}.Encode()
	}
	var out api.KeyList
	err := c.call(ctx, http.MethodGet, path, nil, nil, &out)
	return out.Keys, err
}

// Get reads a key.
func (c Keys) Get(ctx context.Context, id string) (*APIKey, error) {
	var k APIKey
	err := c.call(ctx, http.MethodGet, "/keys/"+url.PathEscape(id), nil, nil, &k)
	return &k, err
}

// Revoke ends a key, with force also the last one of an admin.
func (c Keys) Revoke(ctx context.Context, id string, force bool) error {
	path := "/keys/" + url.PathEscape(id)
	if force {
		path += "?force=true"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil, nil)
}

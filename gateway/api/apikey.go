package api

import "time"

// CreateKey is the body of POST /keys.
type CreateKey struct {
	Tenant    string   `json:"tenant,omitempty" doc:"Whose key it is; the caller's tenant when left out."`
	Scopes    []string `json:"scopes" example:"[\"tasks:read\",\"tasks:write\"]" doc:"What the key may do; * is all but admin."`
	Name      string   `json:"name,omitempty" maxLength:"128" doc:"What it is for."`
	ExpiresAt string   `json:"expires_at,omitempty" format:"date-time" doc:"When it ends; never when left out."`
}

// RotateKey is the body of POST /keys/{id}/rotate; it may be left out.
type RotateKey struct {
	Overlap string `json:"overlap,omitempty" example:"24h" doc:"How long the old key goes on beside the new one: 0s to 720h, 24h when left out."`
}

// APIKey is an API key as admins see it.
type APIKey struct {
	KeyID      string    `json:"key_id"`
	Key        string    `json:"key,omitempty" doc:"Shown once, when the key is made."`
	Tenant     string    `json:"tenant"`
	Scopes     []string  `json:"scopes"`
	Name       string    `json:"name"`
	Status     string    `json:"status" enum:"live,expired,revoked"`
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  string    `json:"created_by,omitempty" doc:"The key or the name of who made it."`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	RotatedTo  string    `json:"rotated_to,omitempty" doc:"The key that takes its place."`
	LastUsedAt time.Time `json:"last_used_at,omitzero" doc:"A minute late at most."`
}

// KeyList is the answer of GET /keys.
type KeyList struct {
	Keys []APIKey `json:"keys"`
}

package api

// WhoAmI is the caller as the gateway knows it.
type WhoAmI struct {
	Tenant  string   `json:"tenant" doc:"What belongs to this tenant is all that the caller sees."`
	Subject string   `json:"subject,omitempty" doc:"The name of the caller."`
	KeyID   string   `json:"key_id,omitempty" doc:"Of the API key that was shown."`
	Scopes  []string `json:"scopes" doc:"What the caller may do; * is all but admin."`
	Auth    string   `json:"auth" doc:"How the gateway asks who calls: off, keys, oidc, keys,oidc or certs."`
}

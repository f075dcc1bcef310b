package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"agentmesh/gateway/api"
)

// The wire types, which the gateway writes.
type (
	// Tenant is a tenant that has limits of its own.
	Tenant = api.Tenant
	// TenantLimits are a tenant's own limits; a nil field is the mesh's.
	TenantLimits = api.TenantLimits
)

// Tenants lists the tenants that have limits of their own.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	var out api.TenantList
	err := c.call(ctx, http.MethodGet, "/tenants", nil, nil, &out)
	return out.Tenants, err
}

// Tenant reads a tenant's limits.
func (c *Client) Tenant(ctx context.Context, name string) (*Tenant, error) {
	var t Tenant
	err := c.call(ctx, http.MethodGet, "/tenants/"+url.PathEscape(name), nil, nil, &t)
	return &t, err
}

// SetTenant gives a tenant limits of its own, in place of those that it has.
func (c *Client) SetTenant(ctx context.Context, name string, limits TenantLimits) (*Tenant, error) {
	body, err := json.Marshal(api.TenantRequest{Limits: limits})
	if err != nil {
		return nil, err
	}
	var t Tenant
	err = c.call(ctx, http.MethodPut, "/tenants/"+url.PathEscape(name), jsonBody, body, &t)
	return &t, err
}

// DeleteTenant takes a tenant's own limits away.
func (c *Client) DeleteTenant(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/tenants/"+url.PathEscape(name), nil, nil, nil)
}

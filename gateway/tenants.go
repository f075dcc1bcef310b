package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/tenant"
)

// tenants are the operations on tenants.
type tenants struct{ mesh *mesh.Mesh }

func (h tenants) routes() []route {
	const one = "/tenants/{name}"
	return []route{
		operation("GET", "/tenants", auth.Admin, "listTenants", "List the tenants that have limits of their own", h.listTenants),
		operation("GET", one, auth.Admin, "getTenant", "Read a tenant's limits", h.getTenant, mesh.ErrTenantNotFound),
		operation("PUT", one, auth.Admin, "setTenant", "Give a tenant limits of its own, in place of those that it has", h.setTenant, mesh.ErrConflict),
		operation("DELETE", one, auth.Admin, "deleteTenant", "Take a tenant's own limits away; what it has stays", h.deleteTenant, mesh.ErrTenantNotFound, mesh.ErrConflict),
	}
}

// listTenants is GET /tenants.
func (h tenants) listTenants(ctx context.Context, in plain) (api.TenantList, error) {
	all, err := h.mesh.Tenants.List(ctx, in.caller())
	list := api.TenantList{Tenants: make([]api.Tenant, 0, len(all))}
	for _, t := range all {
		list.Tenants = append(list.Tenants, tenantView(t))
	}
	return list, err
}

// onTenant is a request about a tenant.
type onTenant struct {
	request
	Name string `path:"name"`
}

// getTenant is GET /tenants/{name}.
func (h tenants) getTenant(ctx context.Context, in onTenant) (v api.Tenant, err error) {
	t, err := h.mesh.Tenants.Get(ctx, in.caller(), in.Name)
	if err != nil {
		return v, err
	}
	return tenantView(t), nil
}

// tenantChange asks for limits of a tenant's own.
type tenantChange struct {
	onTenant
	Body api.TenantRequest `body:"required"`
}

// tenantSet is the answer.
type tenantSet struct {
	Changed *api.Tenant `status:"200"`
	Created *api.Tenant `status:"201"`
}

// setTenant is PUT /tenants/{name}.
func (h tenants) setTenant(ctx context.Context, in tenantChange) (out tenantSet, err error) {
	t, created, err := h.mesh.Tenants.Set(ctx, in.caller(), in.Name, tenant.Own(in.Body.Limits))
	if err != nil {
		return out, err
	}
	v := tenantView(t)
	if created {
		return tenantSet{Created: &v}, nil
	}
	return tenantSet{Changed: &v}, nil
}

// deleteTenant is DELETE /tenants/{name}.
func (h tenants) deleteTenant(ctx context.Context, in onTenant) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Tenants.Delete(ctx, in.caller(), in.Name)
}

func tenantView(t mesh.TenantView) api.Tenant {
	return api.Tenant{
		Name: t.Name, Limits: api.TenantLimits(t.Limits), Effective: api.EffectiveLimits(t.Effective),
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
}

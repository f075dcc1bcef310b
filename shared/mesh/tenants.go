package mesh

import (
	"context"
	"errors"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
)

// Tenants keeps the limits of those who share the mesh, and holds them to these.
type Tenants struct{ *core }

// TenantView is a tenant with the limits that hold for it.
type TenantView struct {
	*tenant.Tenant
	Effective tenant.Limits
}

func (c Tenants) view(t *tenant.Tenant) TenantView {
	return TenantView{t, t.Limits.Over(c.limits.defaults)}
}

// Check tells whether this process knows the limits of all tenants.
func (c Tenants) Check() error { return c.limits.Check() }

// Get reads a tenant.
func (c Tenants) Get(ctx context.Context, _ auth.Caller, name string) (TenantView, error) {
	t, err := c.read(ctx, name)
	if err != nil {
		return TenantView{}, err
	}
	return c.view(t), nil
}

func (c Tenants) read(ctx context.Context, name string) (*tenant.Tenant, error) {
	err := tenant.ErrNotFound
	var t *tenant.Tenant
	if auth.ValidTenant(name) {
		t, err = c.store.Tenants.Get(ctx, name)
	}
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, Refuse(ErrTenantNotFound, "%q has the limits of the mesh, if there is such a tenant. PUT /tenants/%s gives it its own.", Clip(name, 64), Clip(name, 64))
	}
	return t, err
}

// List lists the tenants that have limits of their own, by name.
func (c Tenants) List(ctx context.Context, _ auth.Caller) ([]TenantView, error) {
	all, err := c.store.Tenants.List(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]TenantView, 0, len(all))
	for _, t := range all {
		views = append(views, c.view(t))
	}
	return views, nil
}

// Set gives a tenant limits of its own, in place of those that it has. created says
// that it had none. They hold at every gateway in a moment.
func (c Tenants) Set(ctx context.Context, who auth.Caller, name string, own tenant.Own) (v TenantView, created bool, err error) {
	defer func() { c.audit(ctx, who.For(name), audit.TenantSet, name, err) }()
	if !auth.ValidTenant(name) {
		return v, false, Refuse(ErrValidationFailed, "%q is no name of a tenant: they match [a-zA-Z0-9][a-zA-Z0-9_-]{0,63}.", Clip(name, 64))
	}
	var faults []Invalid
	for _, f := range own.Over(c.limits.defaults).Check() {
		faults = append(faults, Field(f.Detail, "/limits/"+f.Field))
	}
	if len(faults) > 0 {
		return v, false, RefuseFields(faults...)
	}
	t, created, err := c.replace(context.WithoutCancel(ctx), name, own)
	if err != nil {
		return v, false, err
	}
	c.limits.learn(t)
	return c.view(t), created, nil
}

// replace writes a tenant's record, whatever it was before.
func (c Tenants) replace(ctx context.Context, name string, own tenant.Own) (t *tenant.Tenant, created bool, err error) {
	err = besideOthers(ctx, tenantChanged, func() error {
		now := task.Stamp(time.Now())
		t = &tenant.Tenant{Name: name, Limits: own, CreatedAt: now, UpdatedAt: now}
		old, err := c.store.Tenants.Get(ctx, name)
		if err == nil {
			t.CreatedAt, t.Rev = old.CreatedAt, old.Rev
		} else if !errors.Is(err, tenant.ErrNotFound) {
			return err
		}
		created = old == nil
		return c.store.Tenants.Save(ctx, t)
	})
	return t, created, err
}

func tenantChanged() error {
	return Refuse(ErrConflict, "The tenant is being changed by others. Try again.")
}

// Delete takes a tenant's own limits away: those of the mesh hold for it. Its
// tasks, sessions and webhooks stay.
func (c Tenants) Delete(ctx context.Context, who auth.Caller, name string) (err error) {
	defer func() { c.audit(ctx, who.For(name), audit.TenantDelete, name, err) }()
	ctx = context.WithoutCancel(ctx)
	return besideOthers(ctx, tenantChanged, func() error {
		t, err := c.read(ctx, name)
		if err == nil {
			err = c.store.Tenants.Delete(ctx, t)
		}
		if err == nil {
			c.limits.forget(name, t.Rev+1)
		}
		return err
	})
}

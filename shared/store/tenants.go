package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/topology"
)

// Get reads a tenant's record. It returns tenant.ErrNotFound when there is none.
func (s Tenants) Get(ctx context.Context, name string) (*tenant.Tenant, error) {
	ctx, cancel := s.bound(ctx, topology.TenantsBucket)
	defer cancel()
	e, err := s.tenants.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("read tenant %s: %w", name, tenant.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read tenant %s: %w", name, classify(err))
	}
	return decodeTenant(entryOf(e))
}

// Save writes a tenant's record if its revision is still t.Rev (0: if there is
// none) and sets t.Rev. It returns task.ErrConflict when another writer came first.
func (s Tenants) Save(ctx context.Context, t *tenant.Tenant) error {
	data, err := marshal(t)
	if err != nil {
		return fmt.Errorf("record tenant %s: %w", t.Name, err)
	}
	ctx, cancel := s.bound(ctx, writes+topology.TenantsBucket)
	defer cancel()
	var rev uint64
	if t.Rev == 0 {
		rev, err = s.tenants.Create(ctx, t.Name, data)
	} else {
		rev, err = s.tenants.Update(ctx, t.Name, data, t.Rev)
	}
	if err = classify(err); err != nil {
		return fmt.Errorf("record tenant %s: %w", t.Name, err)
	}
	t.Rev = rev
	return nil
}

// Delete leaves a mark in the place of a tenant's record.
func (s Tenants) Delete(ctx context.Context, t *tenant.Tenant) error {
	ctx, cancel := s.bound(ctx, writes+topology.TenantsBucket)
	defer cancel()
	if err := classify(s.tenants.Delete(ctx, t.Name, jetstream.LastRevision(t.Rev))); err != nil {
		return fmt.Errorf("delete tenant %s: %w", t.Name, err)
	}
	return nil
}

// List reads every tenant's record, by name.
func (s Tenants) List(ctx context.Context) ([]*tenant.Tenant, error) {
	ctx, cancel := s.bound(ctx, topology.TenantsBucket)
	defer cancel()
	var all []*tenant.Tenant
	err := lastOfEach(ctx, s.tenantRecords, topology.TenantsAll, func(m message) {
		t, err := decodeTenant(m)
		if err != nil {
			s.damaged.note(m, err)
			return
		}
		all = append(all, t)
	})
	if err != nil {
		return nil, fmt.Errorf("read tenants: %w", err)
	}
	slices.SortFunc(all, func(a, b *tenant.Tenant) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Watch calls f with every tenant's record and then with each change, and gone with
// the name and revision of each that was deleted, until ctx ends. ready is called
// once, after the last of those that exist now. A record may come again after a newer
// one: the revisions tell.
func (s Tenants) Watch(ctx context.Context, f func(*tenant.Tenant), gone func(name string, rev uint64), ready func()) error {
	w, err := s.tenants.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch tenants: %w", classify(err))
	}
	read := func(ctx context.Context) error {
		all, err := s.List(ctx)
		for _, t := range all {
			f(t)
		}
		return err
	}
	return wrapped("watch tenants", copied(ctx, w, read, func(e jetstream.KeyValueEntry) {
		if e.Operation() != jetstream.KeyValuePut {
			gone(e.Key(), e.Revision())
			return
		}
		t, err := decodeTenant(entryOf(e))
		if err != nil {
			s.damaged.note(entryOf(e), err)
			return
		}
		f(t)
	}, ready))
}

func decodeTenant(m message) (*tenant.Tenant, error) {
	name := topology.SubjectID(m.subject)
	var t tenant.Tenant
	if err := unmarshal(m.data, &t); err != nil {
		return nil, fmt.Errorf("decode tenant %s: %w", name, err)
	}
	if t.Name != name || !task.ValidTenant(t.Name) || len(t.Limits.Over(tenant.Limits{}).Check()) > 0 {
		return nil, fmt.Errorf("decode tenant %s: %w", name, task.ErrBadRecord)
	}
	t.Rev = m.seq
	return &t, nil
}

package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"agentmesh/gateway/api"
)

// AuditEntry is one action of the audit trail.
type AuditEntry = api.AuditEntry

// AuditFilter narrows a listing of the audit trail.
type AuditFilter struct {
	Tenant string // empty: all
	Action string // such as task.cancel
	Object string // id or name
	KeyID  string // of an API key
	After  time.Time
	Before time.Time
	Limit  int // of a page, 1..200; 0: 50
}

// Query is the filter as the gateway takes it.
func (f AuditFilter) Query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"tenant": f.Tenant, "action": f.Action, "object": f.Object, "key_id": f.KeyID} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if !f.After.IsZero() {
		q.Set("after", f.After.Format(time.RFC3339Nano))
	}
	if !f.Before.IsZero() {
		q.Set("before", f.Before.Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// List reads a page of the audit trail, newest first. next is empty after the
// last page; a page may be short and still have a next one. It asks for the scope
// admin.
func (c Audit) List(ctx context.Context, f AuditFilter, cursor string) (page []AuditEntry, next string, err error) {
	q := f.Query()
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out api.AuditList
	err = c.call(ctx, http.MethodGet, "/audit?"+q.Encode(), nil, nil, &out)
	return out.Entries, out.NextCursor, err
}

// Pages reads page after page of the trail, newest first.
func (c Audit) Pages(ctx context.Context, f AuditFilter) iter.Seq2[*api.AuditList, error] {
	return pages(ctx, c.wire, "/audit", f.Query(), func(p *api.AuditList) string { return p.NextCursor })
}

// All reads the entries of every page.
func (c Audit) All(ctx context.Context, f AuditFilter) iter.Seq2[AuditEntry, error] {
	return func(yield func(AuditEntry, error) bool) {
		for page, err := range c.Pages(ctx, f) {
			if err != nil {
				yield(AuditEntry{}, err)
				return
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

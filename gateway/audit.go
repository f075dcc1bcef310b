package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// auditTrail is the operation on the trail of who did what.
type auditTrail struct{ mesh *mesh.Mesh }

func (h auditTrail) routes() []route {
	return []route{operation("GET", "/audit", auth.Admin, "listAudit", "List who did what, newest first", h.listAudit, mesh.ErrBadCursor)}
}

// auditQuery asks for a page of the audit trail.
type auditQuery struct {
	request
	Tenant string `query:"tenant" doc:"Actions of this tenant; of all when left out."`
	Action string `query:"action" doc:"Actions of this kind, such as task.cancel."`
	Object string `query:"object" doc:"Actions on this object, by its id or name."`
	KeyID  string `query:"key_id" doc:"Actions of the holder of this API key."`
	After  string `query:"after" doc:"Actions later than this time (RFC 3339)."`
	Before string `query:"before" doc:"Actions earlier than this time (RFC 3339)."`
	paged
}

// listAudit is GET /audit.
func (h auditTrail) listAudit(ctx context.Context, in auditQuery) (out page[api.AuditList], err error) {
	f := audit.Filter{Tenant: in.Tenant, Action: audit.Action(in.Action), Object: in.Object, KeyID: in.KeyID}
	if f.After, err = instant("after", in.After); err != nil {
		return out, err
	}
	if f.Before, err = instant("before", in.Before); err != nil {
		return out, err
	}
	found, err := h.mesh.Audit.List(ctx, in.caller(), f, in.Limit.items(), in.Cursor)
	if err != nil {
		return out, err
	}
	list := &api.AuditList{Entries: make([]api.AuditEntry, 0, len(found.Entries)), NextCursor: found.Next, Scanned: found.Scanned}
	for _, e := range found.Entries {
		list.Entries = append(list.Entries, api.AuditEntry{
			At: e.At, Tenant: e.Tenant, Subject: e.Subject, KeyID: e.KeyID, Address: e.Address,
			Action: string(e.Action), Object: e.Object, Outcome: e.Outcome, TraceID: e.TraceID,
		})
	}
	return page[api.AuditList]{Body: list, Link: in.next(found.Next)}, nil
}

package api

import "time"

// AuditEntry is one action of the audit trail.
type AuditEntry struct {
	At      time.Time `json:"at"`
	Tenant  string    `json:"tenant"`
	Subject string    `json:"subject,omitempty" doc:"Who asked; none: nobody was asked who they are."`
	KeyID   string    `json:"key_id,omitempty" doc:"The API key that was shown."`
	Address string    `json:"address,omitempty" doc:"Where the request came from."`
	Action  string    `json:"action" doc:"A noun and a verb, such as task.cancel."`
	Object  string    `json:"object,omitempty" doc:"Id or name."`
	Outcome string    `json:"outcome" enum:"done,unknown" doc:"unknown: the store did not answer, it may have happened."`
	TraceID string    `json:"trace_id,omitempty"`
}

// AuditList is a page of the audit trail, newest first.
type AuditList struct {
	Entries    []AuditEntry `json:"entries"`
	NextCursor string       `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int          `json:"scanned" doc:"How many entries were looked at for this page."`
}

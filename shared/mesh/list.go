package mesh

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Filter is what a listing of tasks asks for. Its zero value asks for all.
type Filter struct {
	Statuses      []task.State // any of them
	Agent         string
	Parent        task.ID
	Session       session.ID
	Error         string // code
	Kind          task.Kind
	Worker        string // that has the task, or had it last
	Created       bool   // newest first, and not newest change first
	Labels        map[string]string
	CreatedAfter  time.Time
	CreatedBefore time.Time // zero: no limit
}

// Listed is a page of a listing.
type Listed struct {
	Tasks   []*task.Task
	Next    string // cursor of the next page, empty on the last one
	Scanned int    // records that were looked at
}

// List lists the tasks of a tenant, a page from a cursor on. A page may be short
// and still have a next one: a listing that filters hard ends after 2 s.
func (c Tasks) List(ctx context.Context, who auth.Caller, f Filter, limit int, cursor string) (Listed, error) {
	bound := f.canonical()
	l := store.Listing{Tenant: who.Tenant, Limit: limit, Match: f.match, Holds: f.holds(), Since: f.CreatedAfter, Queued: f.queued()}
	if f.Created {
		after, view, err := decodePlace(cursor, bound)
		if err != nil {
			return Listed{}, err
		}
		page, err := c.store.Tasks.ListCreated(ctx, l, after, view)
		if err != nil {
			return Listed{}, err
		}
		found := Listed{Tasks: page.Tasks, Scanned: page.Scanned}
		if !page.Done {
			found.Next = encodePlace(page.After, page.View, bound)
		}
		return found, nil
	}
	var err error
	if l.From, err = decodeCursor(cursor, bound); err != nil {
		return Listed{}, err
	}
	page, err := c.store.Tasks.List(ctx, l)
	if err != nil {
		return Listed{}, err
	}
	found := Listed{Tasks: page.Tasks, Scanned: page.Scanned}
	if !page.Next.Done() {
		found.Next = encodeCursor(page.Next, bound)
	}
	return found, nil
}

// canonical is what a cursor is bound to.
func (f Filter) canonical() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	var statuses []string
	for _, s := range f.Statuses {
		statuses = append(statuses, string(s))
	}
	add("status", strings.Join(statuses, ","))
	add("agent", f.Agent)
	add("parent_id", string(f.Parent))
	add("session_id", string(f.Session))
	add("error", f.Error)
	add("kind", string(f.Kind))
	add("worker", f.Worker)
	if f.Created {
		add("order", "created")
	}
	for name, at := range map[string]time.Time{"created_after": f.CreatedAfter, "created_before": f.CreatedBefore} {
		if !at.IsZero() {
			add(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for k, v := range f.Labels {
		parts = append(parts, "label."+k+"="+v)
	}
	slices.Sort(parts)
	return digest(parts...)
}

func (f Filter) match(t *task.Task) bool {
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, t.Status) || f.Agent != "" && t.Agent != f.Agent || f.Parent != "" && t.ParentID != f.Parent || f.Session != "" && session.Of(t) != f.Session {
		return false
	}
	if f.Worker != "" && (t.Lease == nil || t.Lease.Worker != f.Worker) {
		return false
	}
	if f.Kind != "" && t.Kind != f.Kind || f.Error != "" && (t.Error == nil || t.Error.Code != f.Error) {
		return false
	}
	if !t.CreatedAt.After(f.CreatedAfter) || !f.CreatedBefore.IsZero() && !t.CreatedAt.Before(f.CreatedBefore) {
		return false
	}
	for k, v := range f.Labels {
		if got, ok := t.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// holds are members that the record of a task that matches has.
func (f Filter) holds() []store.Member {
	all := holding("agent", f.Agent, "parent_id", string(f.Parent), "session_id", string(f.Session), "code", f.Error, "kind", string(f.Kind), "worker", f.Worker)
	for k, v := range f.Labels {
		all = append(all, holding(k, v)...)
	}
	if len(f.Statuses) > 0 {
		of := store.Member{Name: "status"}
		for _, s := range f.Statuses {
			of.Values = append(of.Values, string(s))
		}
		all = append(all, of)
	}
	return all
}

// holding makes members of names and values; one without a value is left out.
func holding(pairs ...string) (all []store.Member) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, store.Member{Name: pairs[i], Values: pairs[i+1 : i+2]})
		}
	}
	return all
}

// queued reports whether a task that no worker has met may match.
func (f Filter) queued() bool {
	return f.Error == "" && f.Worker == "" && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, task.Pending))
}

// bookmark is a listing's position as clients carry it. It is untrusted: it is
// bound to its filters and only ever compared.
type bookmark struct {
	Record  uint64  `json:"r,omitempty"`
	Queue   uint64  `json:"q,omitempty"`
	Turns   uint64  `json:"t,omitempty"`
	Created int64   `json:"c,omitempty"` // of a listing by creation
	ID      task.ID `json:"i,omitempty"`
	View    string  `json:"v,omitempty"`
	Skip    int     `json:"s,omitempty"` // of the audit trail
	Filter  string  `json:"f"`
}

var cursorEncoding = base64.RawURLEncoding

func (c bookmark) encode(bound string) string {
	c.Filter = bound[:8]
	b, _ := json.Marshal(c)
	return cursorEncoding.EncodeToString(b)
}

func readCursor(s, bound string) (c bookmark, err error) {
	b, err := cursorEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, malformedCursor()
	}
	if c.Filter != bound[:8] {
		return c, Refuse(ErrBadCursor, "The cursor belongs to a listing with other filters. Start again without one.")
	}
	return c, nil
}

func malformedCursor() error {
	return Refuse(ErrBadCursor, "The cursor is malformed. Start again without one.")
}

func encodeCursor(p store.Position, bound string) string {
	return bookmark{Record: p.Record, Queue: p.Queue, Turns: p.Turns}.encode(bound)
}

func decodeCursor(s, bound string) (store.Position, error) {
	if s == "" {
		return store.Start, nil
	}
	c, err := readCursor(s, bound)
	p := store.Position{Record: c.Record, Queue: c.Queue, Turns: c.Turns}
	if err == nil && p.Done() {
		err = malformedCursor()
	}
	return p, err
}

func encodePlace(p store.Place, view, bound string) string {
	return bookmark{Created: p.Created, ID: p.ID, View: view}.encode(bound)
}

func decodePlace(s, bound string) (p store.Place, view string, err error) {
	if s == "" {
		return p, "", nil
	}
	c, err := readCursor(s, bound)
	if err == nil && c.View == "" {
		err = malformedCursor()
	}
	return store.Place{Created: c.Created, ID: c.ID}, c.View, err
}

// encodeRevision is the cursor of a listing that goes on at a revision. bound is what
// the cursor is bound to, a Digest of the filters.
func encodeRevision(rev uint64, bound string) string {
	return encodeCursor(store.Position{Record: rev}, bound)
}

// decodeRevision is the revision that a listing goes on at, 0: at the newest.
func decodeRevision(s, bound string) (rev uint64, err error) {
	p, err := decodeCursor(s, bound)
	if err != nil || p == store.Start {
		return 0, err
	}
	return p.Record, nil
}

package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// TaskList is a page of GET /tasks.
type TaskList struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor" doc:"Empty on the last page. A page may be short and still have a next one."`
	Scanned    int    `json:"scanned" doc:"How many records were looked at for this page: a listing that filters hard ends after 2 s, with a cursor to go on."`
}

const maxPage = 200

// listTasks is GET /tasks.
func (g *Gateway) listTasks(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	f, err := filterOf(q)
	if err != nil {
		return err
	}
	l := store.Listing{Tenant: tenant, Limit: limit, Match: f.match, Since: f.after, Queued: f.queued()}
	found, next, err := g.list(r.Context(), l, f, q.Get("cursor"))
	if err != nil {
		return err
	}
	page := TaskList{Tasks: make([]Task, 0, len(found.Tasks)), NextCursor: next, Scanned: found.Scanned}
	for _, t := range found.Tasks {
		page.Tasks = append(page.Tasks, g.view(t))
	}
	if next != "" {
		q.Set("cursor", next)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// list reads the page that a cursor leads to, and says what leads to the next one.
func (g *Gateway) list(ctx context.Context, l store.Listing, f filter, cur string) (found store.Listed, next string, err error) {
	if f.created {
		after, view, err := decodePlace(cur, f)
		if err != nil {
			return found, "", err
		}
		page, err := g.store.ListCreated(ctx, l, after, view)
		if err == nil && !page.Done {
			next = encodePlace(page.After, page.View, f)
		}
		return page.Listed, next, err
	}
	if l.From, err = decodeCursor(cur, f); err != nil {
		return found, "", err
	}
	if found, err = g.store.List(ctx, l); err == nil && !found.Next.Done() {
		next = encodeCursor(found.Next, f)
	}
	return found, next, err
}

// pageLimit reads ?limit=.
func pageLimit(q url.Values) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return 50, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, mesh.Refuse(api.ErrBadQuery, "limit is %q, allowed is 1 to %d.", mesh.Clip(s, 32), maxPage)
	}
	return n, nil
}

// filter is what a listing asks for.
type filter struct {
	statuses  []task.State
	agent     string
	parent    string
	session   string
	code      string    // of the error
	kind      task.Kind // of the task
	created   bool      // newest first, and not newest change first
	labels    map[string]string
	after     time.Time // created later than this
	before    time.Time // created earlier than this; zero: no limit
	canonical string    // what a cursor is bound to
}

func filterOf(q url.Values) (filter, error) {
	f := filter{labels: map[string]string{}}
	var parts []string
	for name, values := range q {
		v := values[0]
		if v == "" && !strings.HasPrefix(name, labelParam) {
			continue // lenient
		}
		switch {
		case name == "status":
			statuses := listed(q, name)
			v = strings.Join(statuses, ",")
			for _, s := range statuses {
				if !task.State(s).Valid() {
					return f, mesh.Refuse(api.ErrBadQuery, "status is %q, allowed are %v, several separated by commas.", mesh.Clip(s, 32), task.States)
				}
				f.statuses = append(f.statuses, task.State(s))
			}
		case name == "agent":
			f.agent = v
		case name == "parent_id":
			f.parent = v
		case name == "session_id":
			f.session = v
		case name == "order" && v == "changed":
			continue // it is what there is without
		case name == "order":
			if f.created = v == "created"; !f.created {
				return f, mesh.Refuse(api.ErrBadQuery, "order is %q, allowed are changed and created.", mesh.Clip(v, 32))
			}
		case name == "error":
			f.code = v
		case name == "kind":
			if f.kind = task.Kind(v); !f.kind.Valid() {
				return f, mesh.Refuse(api.ErrBadQuery, "kind is %q, allowed are %v.", mesh.Clip(v, 32), task.Kinds)
			}
		case name == "created_after", name == "created_before":
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return f, mesh.Refuse(api.ErrBadQuery, "%s is %q, it must be a time such as 2026-05-19T10:30:00Z.", name, mesh.Clip(v, 64))
			}
			if name == "created_after" {
				f.after = at
			} else {
				f.before = at
			}
		case strings.HasPrefix(name, labelParam):
			f.labels[strings.TrimPrefix(name, labelParam)] = v
		default:
			continue
		}
		parts = append(parts, name+"="+v)
	}
	slices.Sort(parts)
	f.canonical = mesh.Digest(parts...)
	return f, nil
}

func (f filter) match(t *task.Task) bool {
	if len(f.statuses) > 0 && !slices.Contains(f.statuses, t.Status) || f.agent != "" && t.Agent != f.agent || f.parent != "" && t.ParentID != f.parent || f.session != "" && t.SessionID != f.session {
		return false
	}
	if f.kind != "" && t.Kind != f.kind || f.code != "" && (t.Error == nil || t.Error.Code != f.code) {
		return false
	}
	if !t.CreatedAt.After(f.after) || !f.before.IsZero() && !t.CreatedAt.Before(f.before) {
		return false
	}
	for k, v := range f.labels {
		if got, ok := t.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// queued reports whether a task that no worker has met may match.
func (f filter) queued() bool {
	return f.code == "" && (len(f.statuses) == 0 || slices.Contains(f.statuses, task.Pending))
}

// cursor is a listing's position as clients carry it. It is untrusted: it is
// bound to its filters and only ever compared.
type cursor struct {
	Record  uint64 `json:"r,omitempty"`
	Queue   uint64 `json:"q,omitempty"`
	Turns   uint64 `json:"t,omitempty"`
	Created int64  `json:"c,omitempty"` // of a listing by creation
	ID      string `json:"i,omitempty"`
	View    string `json:"v,omitempty"`
	Filter  string `json:"f"`
}

var cursorEncoding = base64.RawURLEncoding

func (c cursor) encode(f filter) string {
	c.Filter = f.canonical[:8]
	b, _ := json.Marshal(c)
	return cursorEncoding.EncodeToString(b)
}

func readCursor(s string, f filter) (c cursor, err error) {
	b, err := cursorEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, malformedCursor()
	}
	if c.Filter != f.canonical[:8] {
		return c, mesh.Refuse(mesh.ErrBadCursor, "The cursor belongs to a listing with other filters. Start again without one.")
	}
	return c, nil
}

func malformedCursor() error {
	return mesh.Refuse(mesh.ErrBadCursor, "The cursor is malformed. Start again without one.")
}

func encodeCursor(p store.Position, f filter) string {
	return cursor{Record: p.Record, Queue: p.Queue, Turns: p.Turns}.encode(f)
}

func decodeCursor(s string, f filter) (store.Position, error) {
	if s == "" {
		return store.Start, nil
	}
	c, err := readCursor(s, f)
	p := store.Position{Record: c.Record, Queue: c.Queue, Turns: c.Turns}
	if err == nil && p.Done() {
		err = malformedCursor()
	}
	return p, err
}

func encodePlace(p store.Place, view string, f filter) string {
	return cursor{Created: p.Created, ID: p.ID, View: view}.encode(f)
}

func decodePlace(s string, f filter) (p store.Place, view string, err error) {
	if s == "" {
		return p, "", nil
	}
	c, err := readCursor(s, f)
	if err == nil && c.View == "" {
		err = malformedCursor()
	}
	return store.Place{Created: c.Created, ID: c.ID}, c.View, err
}

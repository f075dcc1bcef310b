package gateway

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
	from, err := decodeCursor(q.Get("cursor"), f)
	if err != nil {
		return err
	}
	found, err := g.store.List(r.Context(), store.Listing{Tenant: tenant, From: from, Limit: limit, Match: f.match, Queued: f.queued()})
	if err != nil {
		return err
	}
	page := TaskList{Tasks: make([]Task, 0, len(found.Tasks)), Scanned: found.Scanned}
	for _, t := range found.Tasks {
		page.Tasks = append(page.Tasks, g.view(t))
	}
	if !found.Next.Done() {
		page.NextCursor = encodeCursor(found.Next, f)
		q.Set("cursor", page.NextCursor)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// pageLimit reads ?limit=.
func pageLimit(q url.Values) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return 50, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, refuse("bad_query", "limit is %q, allowed is 1 to %d.", clip(s, 32), maxPage)
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
					return f, refuse("bad_query", "status is %q, allowed are %v, several separated by commas.", clip(s, 32), task.States)
				}
				f.statuses = append(f.statuses, task.State(s))
			}
		case name == "agent":
			f.agent = v
		case name == "parent_id":
			f.parent = v
		case name == "session_id":
			f.session = v
		case name == "error":
			f.code = v
		case name == "kind":
			if f.kind = task.Kind(v); !f.kind.Valid() {
				return f, refuse("bad_query", "kind is %q, allowed are %v.", clip(v, 32), task.Kinds)
			}
		case name == "created_after", name == "created_before":
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return f, refuse("bad_query", "%s is %q, it must be a time such as 2026-05-19T10:30:00Z.", name, clip(v, 64))
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
	f.canonical = digest(parts...)
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
	Record uint64 `json:"r"`
	Queue  uint64 `json:"q"`
	Turns  uint64 `json:"t"`
	Filter string `json:"f"`
}

var cursorEncoding = base64.RawURLEncoding

func encodeCursor(p store.Position, f filter) string {
	b, _ := json.Marshal(cursor{p.Record, p.Queue, p.Turns, f.canonical[:8]})
	return cursorEncoding.EncodeToString(b)
}

func decodeCursor(s string, f filter) (store.Position, error) {
	if s == "" {
		return store.Start, nil
	}
	var c cursor
	b, err := cursorEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	p := store.Position{Record: c.Record, Queue: c.Queue, Turns: c.Turns}
	if err != nil || p.Done() {
		return p, refuse("bad_cursor", "The cursor is malformed. Start again without one.")
	}
	if c.Filter != f.canonical[:8] {
		return p, refuse("bad_cursor", "The cursor belongs to a listing with other filters. Start again without one.")
	}
	return p, nil
}

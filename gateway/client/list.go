package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The orders of a listing. By creation every task is met once, whatever changes
// meanwhile. By change, the gateway's default, the newest change comes first: a
// task that changes between two pages moves to the front and may be missed.
const (
	ByCreation = "created"
	ByChange   = "changed"
)

// Filter narrows a listing.
type Filter struct {
	Statuses  []string
	Agent     string
	ParentID  string
	SessionID string
	Kind      string // task, action or turn
	Error     string // code
	Worker    string // that has the task, or had it last
	Labels    map[string]string
	After     time.Time // created later than this
	Before    time.Time // created earlier than this
	Order     string    // ByCreation or ByChange; empty: that of the call
	Limit     int       // of a page, 1..200; 0: 50
}

// TaskPage is one page of tasks. A page may be short and still have a next one: a
// listing that filters hard says after 2 s how far it looked.
type TaskPage struct {
	Tasks   []Task `json:"tasks"`
	Next    string `json:"next_cursor"` // empty after the last page
	Scanned int    `json:"scanned"`     // records that were looked at for it
}

// List reads a page of tasks, newest change first unless f.Order says otherwise.
// next is empty after the last page; a page may be short and still have a next
// one.
func (c Tasks) List(ctx context.Context, f Filter, cursor string) (page []Task, next string, err error) {
	p, err := c.page(ctx, f, cursor)
	return p.Tasks, p.Next, err
}

func (c Tasks) page(ctx context.Context, f Filter, cursor string) (p TaskPage, err error) {
	err = c.call(ctx, http.MethodGet, "/tasks?"+f.query(cursor).Encode(), nil, nil, &p)
	return p, err
}

// Pages reads page after page, by creation unless f.Order says otherwise.
func (c Tasks) Pages(ctx context.Context, f Filter) iter.Seq2[TaskPage, error] {
	if f.Order == "" {
		f.Order = ByCreation
	}
	return func(yield func(TaskPage, error) bool) {
		for cursor := ""; ; {
			p, err := c.page(ctx, f, cursor)
			if !yield(p, err) || err != nil || p.Next == "" {
				return
			}
			cursor = p.Next
		}
	}
}

// pages reads page after page of a listing; next is the cursor behind a page.
func pages[T any](ctx context.Context, c *wire, path string, q url.Values, next func(*T) string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for {
			var page T
			if err := c.call(ctx, http.MethodGet, path+"?"+q.Encode(), nil, nil, &page); err != nil {
				yield(nil, err)
				return
			}
			if !yield(&page, nil) || next(&page) == "" {
				return
			}
			q.Set("cursor", next(&page))
		}
	}
}

// All reads the tasks of every page, by creation unless f.Order says otherwise.
func (c Tasks) All(ctx context.Context, f Filter) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		for p, err := range c.Pages(ctx, f) {
			if err != nil {
				yield(Task{}, err)
				return
			}
			for _, t := range p.Tasks {
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// Query is the filter as the gateway takes it.
func (f Filter) Query() url.Values { return f.query("") }

func (f Filter) query(cursor string) url.Values {
	q := url.Values{}
	set := func(k, v string) {
		if v != "" {
			q.Set(k, v)
		}
	}
	set("status", strings.Join(f.Statuses, ","))
	set("agent", f.Agent)
	set("parent_id", f.ParentID)
	set("session_id", f.SessionID)
	set("kind", f.Kind)
	set("error", f.Error)
	set("worker", f.Worker)
	set("order", f.Order)
	set("cursor", cursor)
	if !f.After.IsZero() {
		q.Set("created_after", f.After.Format(time.RFC3339Nano))
	}
	if !f.Before.IsZero() {
		q.Set("created_before", f.Before.Format(time.RFC3339Nano))
	}
	for k, v := range f.Labels {
		q.Set("label."+k, v)
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

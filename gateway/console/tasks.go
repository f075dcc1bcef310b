package console

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/client"
)

// tasksScreen lists tasks. Its URL is the filter.
var tasksScreen = screen{
	name: "tasks", path: "/tasks", title: "Tasks", load: loadTasks,
	live: []string{"tasks-new", "tasks-rows"}, every: 3 * time.Second, hears: hearsTasks,
}

// tasksPage is a page of tasks and its filter.
type tasksPage struct {
	Filter taskFilter
	Tasks  []client.Task
	Next   string // the query of the page behind it
	New    int    // tasks that were made since the page was opened
	More   bool   // there are more new ones than were counted
	Fresh  string // the query of the page with them
	Rail   []rail
	Q      url.Values
	Begun  time.Time // tasks that were made later are counted, and not put between the rows

	later bool // an older page: what is new is not looked for
}

// rail is a link of the row of statuses.
type rail struct {
	Status, Text, Query string
	Here                bool
}

// taskFilter is what the form of the filter has.
type taskFilter struct {
	Status, Agent, Label, Error, Kind, Since, ID, Parent, Session, Worker string
}

// Narrow reports whether it is more than a status.
func (f taskFilter) Narrow() bool {
	f.Status = ""
	return f != taskFilter{}
}

// Rare reports whether one of the fields is set that are seldom needed.
func (f taskFilter) Rare() bool { return f.ID+f.Parent+f.Session+f.Worker != "" }

const rowsMost = 50

// sinces are the times that the filters offer.
var sinces = map[string]time.Duration{"15m": 15 * time.Minute, "1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour}

func filterOf(q url.Values) taskFilter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return taskFilter{
		Status: get("status"), Agent: get("agent"), Label: get("label"), Error: get("error"), Kind: get("kind"), Since: get("since"),
		ID: get("id"), Parent: get("parent"), Session: get("session"), Worker: get("worker"),
	}
}

// api is the filter as the API takes it.
func (f taskFilter) api(now time.Time) client.Filter {
	out := client.Filter{Agent: f.Agent, Error: f.Error, Kind: f.Kind, ParentID: f.Parent, SessionID: f.Session, Worker: f.Worker, Order: client.ByCreation, Limit: rowsMost}
	if f.Status != "" {
		out.Statuses = strings.Split(f.Status, ",")
	}
	if k, v, ok := strings.Cut(f.Label, "="); ok {
		out.Labels = map[string]string{k: v}
	}
	if d := sinces[f.Since]; d > 0 {
		out.After = now.Add(-d)
	}
	return out
}

func loadTasks(v *visit) (any, error) {
	q := v.r.URL.Query()
	p := &tasksPage{Filter: filterOf(q), Q: q, Begun: v.now(), later: q.Get("cursor") != ""}
	if at, err := strconv.ParseInt(q.Get("begun"), 10, 64); err == nil && wantsStream(v.r) {
		p.Begun = time.UnixMilli(at)
	}
	p.Fresh = with(q, "begun", "")
	for _, one := range []struct{ status, text string }{{"", "All"}, {"pending", "Pending"}, {"processing", "Running"}, {"input_required", "Asks you"}, {"failed", "Failed"}, {"completed", "Completed"}, {"canceled", "Canceled"}} {
		p.Rail = append(p.Rail, rail{one.status, one.text, with(q, "status", one.status), p.Filter.Status == one.status})
	}
	if p.Filter.ID != "" {
		return p, p.one(v)
	}
	f := p.Filter.api(v.now())
	if f.Before = p.Begun; p.later || f.ParentID != "" || f.SessionID != "" {
		f.Before = time.Time{}
	}
	var err error
	if p.Tasks, p.Next, err = v.api.Tasks.List(v.ctx(), f, q.Get("cursor")); err != nil {
		return nil, err
	}
	q.Del("begun")
	p.Next = older(q, p.Next)
	if wantsStream(v.r) && !f.Before.IsZero() {
		err = p.countNew(v, f)
	}
	return p, err
}

// one finds the task of an id.
func (p *tasksPage) one(v *visit) error {
	t, err := v.api.Tasks.Get(v.ctx(), p.Filter.ID)
	if notFound(err) {
		return nil
	}
	if err == nil {
		p.Tasks = []client.Task{*t}
	}
	return err
}

// countNew counts the tasks that were made since the page was opened.
func (p *tasksPage) countNew(v *visit, f client.Filter) error {
	f.Before, f.After = time.Time{}, p.Begun
	fresh, next, err := v.api.Tasks.List(v.ctx(), f, "")
	p.New, p.More = len(fresh), next != ""
	return err
}

// liveQuery has the stream know when the page was opened.
func (p *tasksPage) liveQuery(query string) string {
	query += "&begun=" + strconv.FormatInt(p.Begun.UnixMilli(), 10)
	if cursor := p.Q.Get("cursor"); cursor != "" {
		query += "&cursor=" + url.QueryEscape(cursor)
	}
	return query
}

// took is how long a task has run, or ran.
func took(t client.Task) string {
	switch {
	case t.StartedAt.IsZero():
		return "–"
	case t.FinishedAt.IsZero():
		return span(time.Since(t.StartedAt).Truncate(time.Second))
	}
	return span(t.FinishedAt.Sub(t.StartedAt))
}

// hearsTask wakes a page with each event of its task, and gathers the output.
func hearsTask(ctx context.Context, v *visit, wake func()) {
	for e, err := range v.api.Tasks.Events(ctx, v.id()) {
		if err != nil {
			return
		}
		v.heard.add(e.Output)
		wake()
	}
	v.heard.end()
	wake()
}

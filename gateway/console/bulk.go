package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// Screens that steer many at once: each says first how many it would be.
var (
	bulkTasksScreen      = screen{name: "bulk", path: "/tasks/bulk", title: "Many tasks at once", nav: "tasks", load: loadBulkTasks}
	bulkDeliveriesScreen = screen{name: "bulk", path: "/deliveries/bulk", title: "Many deliveries at once", nav: "deliveries", load: loadBulkDeliveries}
)

// bulkPage is what would be done to how many.
type bulkPage struct {
	Noun, Action string
	Verb         string // what the button says
	Chosen       [][2]string
	Query        string // the filter, for the form
	Before       string // what is made later is left alone
	Plan         *api.BulkDone
	More         bool // the count ends at the most that one request does
	Back         string
	Ask          bool // the number is to be typed
}

// Bounds of what is done at once.
const (
	bulkMost = 10000
	askOver  = 100
)

func loadBulkTasks(v *visit) (any, error) {
	p := &bulkPage{Noun: "tasks", Action: v.q("action"), Verb: "Cancel", Back: "tasks"}
	if p.Action != "retry" {
		p.Action = "cancel"
	} else {
		p.Verb = "Retry"
	}
	q := v.r.URL.Query()
	f := filterOf(q)
	if f.ID != "" { // no filter of the API: all tasks would match
		v.status = http.StatusBadRequest
		return nil, errors.New("one task is canceled or retried on its own page")
	}
	p.filter(q)
	return p, p.plan(func(o client.BulkOptions) (*api.BulkDone, error) {
		return v.api.Tasks.Bulk(v.ctx(), p.Action, f.bulk(v.now()), o)
	}, v.now())
}

// bulk is the filter as bulk requests take it: no order, no page.
func (f taskFilter) bulk(now time.Time) client.Filter {
	out := f.api(now)
	out.Order, out.Limit = "", 0
	return out
}

func loadBulkDeliveries(v *visit) (any, error) {
	p := &bulkPage{Noun: "deliveries", Action: "redeliver", Verb: "Send", Back: "deliveries"}
	q := v.r.URL.Query()
	p.filter(q)
	return p, p.plan(func(o client.BulkOptions) (*api.BulkDone, error) {
		return v.api.Deliveries.Bulk(v.ctx(), deliveryFilterOf(q, v.now()), o)
	}, v.now())
}

// filter keeps what was chosen, to show it and to send it.
func (p *bulkPage) filter(q url.Values) {
	kept := url.Values{}
	for _, name := range []string{"status", "agent", "label", "error", "kind", "since", "parent", "session", "worker", "webhook", "type", "class"} {
		if value := q.Get(name); value != "" {
			kept.Set(name, value)
			p.Chosen = append(p.Chosen, [2]string{name, value})
		}
	}
	p.Query = kept.Encode()
}

// plan counts without doing anything.
func (p *bulkPage) plan(count func(client.BulkOptions) (*api.BulkDone, error), now time.Time) (err error) {
	p.Before = now.UTC().Format(time.RFC3339Nano)
	if p.Plan, err = count(client.BulkOptions{DryRun: true, Limit: bulkMost}); err != nil {
		return err
	}
	p.More, p.Ask = p.Plan.NextCursor != "", p.Plan.Matched > askOver
	return nil
}

// errNumber is that of a number that was not typed.
var errNumber = errors.New("type the number of what this is about, to show that you mean it")

// bulkForm reads what a bulk page has sent.
func bulkForm(v *visit) (q url.Values, before time.Time, err error) {
	if n, _ := strconv.Atoi(v.form("matched")); n > askOver && v.form("typed") != v.form("matched") {
		v.status = http.StatusUnprocessableEntity
		return nil, before, errNumber
	}
	if q, err = url.ParseQuery(v.form("filter")); err != nil {
		return nil, before, errors.New("the filter is broken")
	}
	before, _ = time.Parse(time.RFC3339Nano, v.form("before"))
	return q, before, nil
}

func bulkTasks(v *visit) (string, error) {
	q, before, err := bulkForm(v)
	if err != nil {
		return "", err
	}
	f := filterOf(q).bulk(v.now())
	f.Before = before
	return "", bulkDone(v, "tasks", "tasks", func(o client.BulkOptions) (*api.BulkDone, error) {
		return v.api.Tasks.Bulk(v.ctx(), v.form("action"), f, o)
	})
}

func bulkDeliveries(v *visit) (string, error) {
	q, _, err := bulkForm(v)
	if err != nil {
		return "", err
	}
	return "", bulkDone(v, "deliveries", "deliveries", func(o client.BulkOptions) (*api.BulkDone, error) {
		return v.api.Deliveries.Bulk(v.ctx(), deliveryFilterOf(q, v.now()), o)
	})
}

// bulkDone does it, request after request, and shows what it came to.
func bulkDone(v *visit, noun, back string, do func(client.BulkOptions) (*api.BulkDone, error)) error {
	sum := &api.BulkDone{}
	for o := (client.BulkOptions{Limit: 1000}); ; {
		one, err := do(o)
		if err != nil {
			return err
		}
		sum.Matched, sum.Done, sum.Skipped = sum.Matched+one.Matched, sum.Done+one.Done, sum.Skipped+one.Skipped
		sum.Failed = addFailures(sum.Failed, one.Failed)
		if o.Cursor = one.NextCursor; o.Cursor == "" || sum.Matched >= bulkMost {
			sum.NextCursor = one.NextCursor
			break
		}
	}
	v.show(&page{Screen: "bulk-done", Title: "Done", Nav: back, Body: bulkPage{Noun: noun, Plan: sum, Back: back}})
	return nil
}

func addFailures(all, more []api.BulkFailure) []api.BulkFailure {
	for _, m := range more {
		if i := slices.IndexFunc(all, func(f api.BulkFailure) bool { return f.Code == m.Code }); i >= 0 {
			all[i].Count += m.Count
		} else {
			all = append(all, m)
		}
	}
	return all
}

// bulkQuery is a list's filter as a bulk page takes it.
func bulkQuery(q url.Values, action string) string { return with(q, "action", action) }

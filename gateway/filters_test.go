package gateway_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/event"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// What a worker has, or had last, is found by its id: a task in the queue, or one of
// another worker, is not.
func TestTasksAreListedByWorker(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())() // its definition stays
	of := func(worker string, s task.State) string {
		return string(put(m, func(t *task.Task) { t.Status, t.Lease = s, &task.Lease{Worker: worker} }).ID)
	}
	mine, runs := of("wrk-1", task.Completed), of("wrk-1", task.Processing)
	of("wrk-2", task.Processing)
	m.Create(`{"agent":"echo","instruction":"waits"}`)
	for query, want := range map[string][]string{"worker=wrk-1": {runs, mine}, "worker=wrk-1&order=created": {runs, mine}, "worker=wrk-1&status=processing": {runs}, "worker=wrk-3": nil} {
		if got := everyPage(m, query); !slices.Equal(got, want) {
			t.Errorf("?%s: %v, want %v", query, got, want)
		}
	}
}

// delivered puts the record of a delivery into the store.
func delivered(m *meshtest.Mesh, name string, age time.Duration, change func(*webhook.Delivery)) string {
	m.T.Helper()
	at := task.Stamp(time.Now().Add(-age))
	id := put(m, func(t *task.Task) { t.Kind = task.KindAction }).ID
	d := &webhook.Delivery{
		ID: webhook.NewDeliveryID(name, webhook.Callback), Tenant: "default", Source: webhook.Source(id), EventID: name, Type: event.Type("task.completed"),
		URL: "https://receiver.example/", Body: []byte("{}"), Status: webhook.Dead, CreatedAt: at, UpdatedAt: at,
	}
	change(d)
	if err := m.Store.Deliveries.Save(m.T.Context(), d); err != nil {
		m.T.Fatal(err)
	}
	return string(d.ID)
}

// A delivery counts by what its last attempt came to, and not by an earlier one.
func TestDeliveriesAreListedByClassAndTime(t *testing.T) {
	m := meshtest.New(t)
	came := func(to ...webhook.Class) func(*webhook.Delivery) {
		return func(d *webhook.Delivery) {
			for _, c := range to {
				d.Note(webhook.Attempt{Class: c, At: d.CreatedAt})
			}
		}
	}
	old := delivered(m, "old", 2*time.Hour, came(webhook.ClassTimeout))
	slow := delivered(m, "slow", time.Minute, came(webhook.ClassServer, webhook.ClassTimeout))
	delivered(m, "other", time.Minute, came(webhook.ClassTimeout, webhook.ClassServer))
	delivered(m, "none", time.Minute, came())
	since := url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))
	for query, want := range map[string][]string{"class=timeout": {old, slow}, "class=timeout&since=" + since: {slow}, "class=gone": nil} {
		list := meshtest.Decode[api.DeliveryList](t, m.Do("GET", "/deliveries?"+query, "").Body)
		var got []string
		for _, d := range list.Deliveries {
			got = append(got, d.DeliveryID)
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("?%s: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"class=slow", "since=yesterday", "status=lost"} {
		if w := m.Do("GET", "/deliveries?"+query, ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_query" {
			t.Errorf("?%s = %d %s", query, w.Code, w.Body)
		}
	}
}

// A reader who asks for a label hears of no task without it.
func TestEventsAreChosenByLabel(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	m.Work(echo.Agent())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m.End(m.Create(`{"agent":"echo","instruction":"other","labels":{"team":"sales"}}`))
	m.End(m.Create(`{"agent":"echo","instruction":"none"}`))
	want := m.Create(`{"agent":"echo","instruction":"mine","labels":{"team":"search","x":"1"}}`)
	m.End(want)
	for e, err := range c.MeshEvents(ctx, client.MeshFilter{After: "0", Labels: map[string]string{"team": "search"}}) {
		if err != nil || !strings.Contains(string(e.Data), want) {
			t.Errorf("heard %s %s, %v; want those of %s", e.Type, e.Data, err, want)
		}
		break
	}
	cancel()
	m.Gateway.Close()
}

// A client reads what a code means, and which build answers.
func TestCodesAndVersionAreRead(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	all, err := c.Problems(t.Context())
	if err != nil || len(all) < 50 {
		t.Errorf("%d codes, %v", len(all), err)
	}
	if p, err := c.Problem(t.Context(), "task_not_found"); err != nil || p.Status != 404 || p.Title == "" {
		t.Errorf("%+v, %v", p, err)
	}
	if v, err := c.Version(t.Context()); err != nil || v.Version == "" || v.NATS == "" {
		t.Errorf("%+v, %v", v, err)
	}
}

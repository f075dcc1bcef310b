package notifier_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/webhook"
)

// queries is a receiver that remembers the queries of its requests.
type queries struct {
	mu  sync.Mutex
	got []string
}

func (q *queries) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.got = append(q.got, r.URL.RawQuery)
}

func (q *queries) take() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.got = nil }()
	return strings.Join(q.got, " ")
}

// The query of a URL reaches its receiver and nobody else: it is stored sealed and
// shown as ***. What was stored before it was sealed is sent as it is.
func TestTheQueryOfAURLReachesItsReceiverOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		q := &queries{}
		r := m.Receive(q.ServeHTTP)
		shown := r.URL + "?token=***"
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `?token=abc"}`)
		time.Sleep(time.Minute)
		if got := q.take(); got != "token=abc" {
			t.Errorf("the receiver of a callback got %q", got)
		}
		if all := m.Deliveries(id); len(all) != 1 || all[0].URL != shown || all[0].Attempts[0].URL != shown {
			t.Errorf("deliveries show %+v", all)
		}
		if v := meshtest.Decode[api.Task](t, m.Do("GET", "/tasks/"+id, "").Body); v.CallbackURL != shown {
			t.Errorf("the action shows %s", v.CallbackURL)
		}
		hook := m.Subscribe(`{"url":"` + r.URL + `?token=def"}`)
		change := func(url string) int {
			return m.Do("PATCH", "/webhooks/"+hook.WebhookID, `{"url":"`+url+`"}`, "Content-Type", "application/json").Code
		}
		if hook.URL != shown || change(shown) != 200 || change(r.URL+"?other=***") != 422 {
			t.Errorf("the webhook shows %s", hook.URL)
		}
		m.Create(`{"agent":"echo","instruction":"x"}`)
		time.Sleep(time.Minute)
		if got := q.take(); got != "token=def" {
			t.Errorf("the receiver of a webhook got %q", got)
		}
		if change(r.URL) != 200 || m.Do("DELETE", "/webhooks/"+hook.WebhookID, "").Code != 204 {
			t.Error("the URL without a query is refused")
		}
		old := meshtest.CompletedAction(r.URL + "?token=old")
		if err := m.Store.Tasks.Save(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := q.take(); got != "token=old" {
			t.Errorf("the receiver of an old record got %q", got)
		}
		all, err := m.Store.Deliveries.Of(t.Context(), "default", webhook.Source(old.ID))
		if err != nil || len(all) != 1 || all[0].Attempts[0].URL != shown {
			t.Errorf("the attempt of an old record is kept as %+v, %v", all, err)
		}
	})
}

package notifier_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/gateway"
	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/notifier"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// The kept part of an answer is bounded whatever is in it, so that a receiver
// cannot make a record that does not fit into a message.
func TestAnswersAreBounded(t *testing.T) {
	natstest.LongUnderRace(t)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		junk := strings.Repeat("\x00\xff\x1b\"", 16<<10)
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://x/"+strings.Repeat("y", 10_000))
			w.WriteHeader(302)
			_, _ = w.Write([]byte(junk))
		})
		id := m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Minute)
		d := m.Deliveries(id)[0]
		for range 60 {
			m.Do("POST", "/deliveries/"+d.DeliveryID+"/redeliver", "")
			time.Sleep(time.Minute)
		}
		if n := len(r.All()); n < 60 {
			t.Errorf("%d requests", n)
		}
		w := m.Do("GET", "/deliveries/"+d.DeliveryID, "")
		if got := meshtest.Decode[api.Delivery](t, w.Body); len(got.Attempts) != webhook.MaxAttempts || len(got.Attempts[0].Answer) > 4<<10 || strings.ContainsAny(got.Attempts[0].Answer, "\x00\x1b") {
			t.Errorf("%d attempts, the first %+v", len(got.Attempts), got.Attempts[0])
		}
		rec, err := m.Store.Deliveries.Get(t.Context(), "default", webhook.Source(id), webhook.DeliveryID(d.DeliveryID))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(encoded(t, rec)); n > 900<<10 {
			t.Errorf("the record has %d bytes", n)
		}
	})
}

// A notifier that finds many large records waiting reads them a few megabytes at a
// time: the server never takes its connection for one that is too slow.
func TestNotifierPullsAreBoundedByBytes(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPending: 24 << 20}))
	m.Work(echo.Agent())
	r := m.Receive(nil)
	n := max(110, natstest.Fewer(160)) // 27 MB are more than a connection may owe
	input := strings.Repeat("x", 250_000)
	for range n {
		m.Action(`{"agent":"echo","input":"` + input + `","callback_url":"` + r.URL + `"}`)
	}
	natstest.Until(t, "all have finished", func() bool { return m.Queued() == 0 })
	st, nc := m.OpenStore()
	m.NotifyWith(st)
	natstest.Until(t, "every outcome has arrived", func() bool { return len(r.All()) >= n })
	if cut := nc.Stats().Reconnects; cut != 0 {
		t.Errorf("the notifier's connection was cut %d times", cut)
	}
}

// TestTheCallbackOfALargeResultSaysWhereItIs has a result of 10 MB: the callback says where it is.
func TestTheCallbackOfALargeResultSaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		big := strings.Repeat("x", 10<<20)
		medium := strings.Repeat("y", 100<<10)
		m.Work(meshtest.Named("big", func(_ context.Context, job *agent.Job) (any, error) {
			if strings.Contains(job.Instruction, "medium") {
				return medium, nil
			}
			return big, nil
		}))
		m.Notify()
		for _, size := range []string{"large", "medium"} {
			r := m.Receive(nil)
			id := m.Action(`{"agent":"big","instruction":"` + size + `","callback_url":"` + r.URL + `"}`)
			time.Sleep(time.Minute)
			all := r.All()
			if len(all) != 1 || len(all[0].Body) > 64<<10 {
				t.Fatalf("%d requests", len(all))
			}
			where, _ := all[0].JSON()["result_url"].(string)
			if all[0].JSON()["result"] != nil || where != "/actions/"+id+"/result" {
				t.Fatalf("body = %s", all[0].Body)
			}
			if w := m.Do("GET", where, ""); w.Code != 200 || w.Body.Len() < len(medium) {
				t.Errorf("GET %s = %d, %d bytes", where, w.Code, w.Body.Len())
			}
		}
	})
}

// Receivers elsewhere can follow a link only when it is absolute, and an event is
// the same to a webhook and to a reader of all events.
func TestReceiversAndReadersOfAllEventsGetTheSameBytes(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("big", func(context.Context, *agent.Job) (any, error) { return strings.Repeat("x", 1<<20), nil }))
	cfg := gateway.Default()
	cfg.HTTP, cfg.PublicURL = "127.0.0.1:0", "https://mesh.example.com/base/"
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	m.NotifyAs(notifier.Config{Drain: time.Second, PublicURL: cfg.PublicURL}, m.Store)
	r := m.Receive(nil)
	ids := map[string]string{"/actions/": m.Action(`{"agent":"big","instruction":"x","callback_url":"` + r.URL + `"}`)}
	ids["/tasks/"] = m.Create(`{"agent":"big","instruction":"x","callback_url":"` + r.URL + `"}`)
	natstest.Until(t, "both were told", func() bool { return len(r.All()) == len(ids) })
	srv := httptest.NewServer(g.Handler())
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, read := map[string]bool{}, 0
	for _, got := range r.All() {
		told[string(got.Body)] = true
	}
	c, err := client.New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range c.MeshEvents(ctx, client.MeshFilter{Types: []string{"task.completed", "action.completed"}, After: "0"}) {
		if err != nil {
			t.Fatal(err)
		}
		if !told[string(e.Data)] {
			t.Errorf("a reader gets %s, receivers got %v", e.Data, told)
		}
		if read++; read == len(ids) {
			break
		}
	}
	for _, got := range r.All() {
		body := got.JSON()
		id, kind := body["task_id"], "/tasks/"
		if body["type"] == "action.completed" {
			id, kind = body["action_id"], "/actions/"
		}
		if want := "https://mesh.example.com/base" + kind + ids[kind] + "/result"; body["result_url"] != want || id != ids[kind] {
			t.Errorf("body = %s, want a link to %s", got.Body, want)
		}
	}
}

// A delivery whose record is full of what its receiver answered ends as any other: each
// attempt is one request, and the newest stay on record.
func TestADeliveryWhoseRecordIsFullEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		m.Work(echo.Agent())
		m.Notify()
		answer := []byte(strings.Repeat(`"`, 4<<10))
		r := m.Receive(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Webhook-Delivery", "abort-message")
			w.WriteHeader(400)
			_, _ = w.Write(answer)
		})
		id := m.Action(`{"agent":"echo","input":"` + strings.Repeat("x", 40<<10) + `","callback_url":"` + r.URL + `"}`)
		time.Sleep(time.Minute)
		const again = 15
		for range again {
			m.Do("POST", "/deliveries/"+m.Deliveries(id)[0].DeliveryID+"/redeliver", "")
			time.Sleep(2 * time.Minute)
		}
		d := m.Deliveries(id)[0]
		if n := len(r.All()); d.Status != "dead" || n != again+1 || len(d.Attempts) < 3 || len(d.Attempts) > again {
			t.Errorf("it is %s after %d requests, with %d attempts on record", d.Status, n, len(d.Attempts))
		}
	})
}

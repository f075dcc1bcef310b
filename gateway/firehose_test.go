package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// The stream of all events: filters, one wire form with webhooks, and a reader
// that comes back misses nothing, also when revisions are gone by then.
func TestAReaderOfAllEventsThatComesBackMissesNothing(t *testing.T) {
	m := meshtest.New(t)
	srv, c := m.Serve()
	m.Work(echo.Agent(), meshtest.Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
		for n := range 30 {
			if err := job.Milestone(ctx, fmt.Sprintf("step-%d", n), "", nil); err != nil {
				return nil, err
			}
		}
		return "done", nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	next := func(f client.MeshFilter, n int) (got []client.MeshEvent) {
		for e, err := range c.MeshEvents(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e); len(got) == n {
				break
			}
		}
		return got
	}
	// A reader that begins at the beginning.
	m.End(m.Create(`{"agent":"echo","instruction":"first"}`))
	first := next(client.MeshFilter{After: "0", Types: []string{"task.completed"}}, 1)
	if first[0].Type != "task.completed" || !strings.Contains(string(first[0].Data), `"status":"completed"`) || first[0].ID == "" {
		t.Fatalf("event = %+v", first[0])
	}
	// While it is away a task has more revisions than are kept.
	m.End(m.Create(`{"agent":"steps","instruction":"x"}`))
	m.End(m.Create(`{"agent":"echo","instruction":"last"}`))
	seen := map[string]int{}
	for _, e := range next(client.MeshFilter{After: first[0].ID, Types: []string{"task.milestone", "task.completed"}}, 32) {
		var v struct {
			TaskID    string `json:"task_id"`
			Milestone struct{ Name string }
		}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatal(err)
		}
		seen[e.Type+" "+v.TaskID+" "+v.Milestone.Name]++
	}
	if len(seen) != 32 {
		t.Errorf("%d different events, want 32: %v", len(seen), seen)
	}
	// Only one agent's.
	if got := next(client.MeshFilter{After: "0", Agents: []string{"steps"}, Types: []string{"task.completed"}}, 1); !strings.Contains(string(got[0].Data), `"agent":"steps"`) {
		t.Errorf("event = %+v", got)
	}
	for _, query := range []string{"?type=task.exploded", "?agent=*"} {
		if w := m.Do("GET", "/events"+query, ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_query" {
			t.Errorf("GET /events%s = %d %s", query, w.Code, w.Body)
		}
	}
	srv.CloseClientConnections()
}

// told reads events of all tasks until n are there, and counts each by its type and
// task.
func told(t *testing.T, c *client.Client, f client.MeshFilter, n int) (map[string]int, []client.MeshEvent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen, all := map[string]int{}, []client.MeshEvent{}
	for e, err := range c.MeshEvents(ctx, f) {
		if err != nil {
			t.Fatalf("after %d events: %v", len(all), err)
		}
		v := struct {
			TaskID string `json:"task_id"`
		}{}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatal(err)
		}
		seen[e.Type+" "+v.TaskID]++
		if all = append(all, e); len(all) == n {
			break
		}
	}
	return seen, all
}

// A canceled task gets stopped_at when its agent has ended. That is no second
// cancel, for whoever reads from wherever.
func TestFirehoseTellsACancelOnce(t *testing.T) {
	m := meshtest.New(t)
	srv, c := m.Serve()
	m.Work(echo.Agent(), meshtest.Named("stubborn", func(ctx context.Context, _ *agent.Job) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	var canceled []string
	for range 3 {
		id := m.Create(`{"agent":"stubborn","instruction":"x"}`)
		natstest.Until(t, "it runs", func() bool { return m.Get(id).Status == "processing" })
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != 200 {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
		natstest.Until(t, "it has stopped", func() bool { return !m.Get(id).StoppedAt.IsZero() })
		canceled = append(canceled, id)
	}
	last := m.Create(`{"agent":"echo","instruction":"x"}`)
	m.End(last)
	types := []string{"task.processing", "task.canceled", "task.completed"}
	for _, after := range []string{"0", fmt.Sprint(m.Record(canceled[0]).Replaces - 1), fmt.Sprint(m.Record(canceled[0]).Replaces)} {
		seen := map[string]int{}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for e, err := range c.MeshEvents(ctx, client.MeshFilter{After: after, Types: types}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == "task.completed" {
				break
			}
			if e.Type == "task.canceled" {
				seen[string(e.Data)]++
			}
		}
		cancel()
		want := 3
		if after == fmt.Sprint(m.Record(canceled[0]).Replaces) {
			want = 2 // it has the first
		}
		for data, n := range seen {
			if n != 1 {
				t.Errorf("after %s: %d times %s", after, n, data)
			}
		}
		if len(seen) != want {
			t.Errorf("after %s: %d cancels, want %d", after, len(seen), want)
		}
	}
	// The stream of the task itself: a reader that has its outcome has all.
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/tasks/"+canceled[0]+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", fmt.Sprint(m.Record(canceled[0]).Replaces))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("a reader that has the outcome gets %d, want 204: it comes back for ever", resp.StatusCode)
	}
	req.Header.Set("Last-Event-ID", "99999999")
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	var outcomes int
	meshtest.ScanEvents(resp.Body, func(_, _, data string) {
		if strings.Contains(data, `"status":"canceled"`) {
			outcomes++
		}
	})
	_ = resp.Body.Close()
	if outcomes != 1 {
		t.Errorf("a reader from the future gets the outcome %d times", outcomes)
	}
}

// Readers of all events cost the server one consumer, however many they are and
// however fast they come and go.
func TestFirehoseReadersShareOneConsumer(t *testing.T) {
	m := meshtest.New(t)
	srv, c := m.Serve()
	m.Work(echo.Agent())
	m.End(m.Create(`{"agent":"echo","instruction":"x"}`))
	before := m.Server.NumConsumers(t)
	most := 0
	for i := range 150 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		path := "/events"
		if i%2 == 0 {
			path += "?after=0"
		}
		req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Fatalf("reader %d gets %d", i, resp.StatusCode)
		}
		defer func() { _ = resp.Body.Close() }()
		most = max(most, m.Server.NumConsumers(t)-before)
		if i%3 == 0 {
			cancel()
		}
	}
	if most > 4 { // the feed, and readers that catch up two at a time
		t.Errorf("%d consumers for 150 readers", most)
	}
	// All of them hear what happens.
	id := m.Create(`{"agent":"echo","instruction":"x"}`)
	if seen, _ := told(t, c, client.MeshFilter{After: "0", Types: []string{"task.completed"}}, 2); seen["task.completed "+id] != 1 {
		t.Errorf("events %v, want the end of %s", seen, id)
	}
	srv.CloseClientConnections()
	natstest.Until(t, "the readers' consumer is gone", func() bool { return m.Server.NumConsumers(t) <= before })
}

// A consumer that is deleted under its readers is made again, and no event comes
// twice or not at all.
func TestFirehoseOutlivesItsConsumer(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	m.Work(echo.Agent())
	js, err := jetstream.New(m.NC)
	if err != nil {
		t.Fatal(err)
	}
	records, err := js.Stream(t.Context(), "KV_tasks")
	if err != nil {
		t.Fatal(err)
	}
	const n = 120
	go func() {
		for range n / 4 {
			for name := range records.ConsumerNames(t.Context()).Name() {
				if !strings.HasPrefix(name, "notifier") {
					_ = records.DeleteConsumer(t.Context(), name)
				}
			}
			for range 4 {
				m.Do("POST", "/tasks", `{"agent":"echo","instruction":"x"}`, "Content-Type", "application/json")
			}
		}
	}()
	seen, all := told(t, c, client.MeshFilter{After: "0", Types: []string{"task.completed"}}, n)
	if len(seen) != n {
		t.Errorf("%d of %d tasks are told, in %d events", len(seen), n, len(all))
	}
}

// A reader from the beginning gets everything, however large, at a pace that the
// connection bears.
func TestFirehoseFromTheBeginningIsBoundedByBytes(t *testing.T) {
	m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPending: 8 << 20}))
	_, c := m.Serve()
	large := json.RawMessage(`"` + strings.Repeat("x", 250_000) + `"`)
	const n = 150
	for range n {
		put(m, func(t *task.Task) {
			t.Input.Inline, t.Status = large, task.Pending
			t.Attempt = 1
			if err := t.To(task.Completed, time.Now()); err != nil {
				panic(err)
			}
		})
	}
	if seen, _ := told(t, c, client.MeshFilter{After: "0", Types: []string{"task.completed"}}, n); len(seen) != n {
		t.Errorf("%d tasks are told, want %d", len(seen), n)
	}
	if again := m.NC.Stats().Reconnects; again != 0 {
		t.Errorf("the connection was cut %d times", again)
	}
}

// The documented subject carries each change of a record.
func TestTheDocumentedSubjectCarriesEachChange(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	sub, err := m.NC.SubscribeSync("mesh.events.default.*")
	if err != nil {
		t.Fatal(err)
	}
	id := m.Create(`{"agent":"echo","instruction":"x"}`)
	for {
		msg, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			TaskID string `json:"task_id"`
			Status string `json:"status"`
		}
		if err := json.Unmarshal(msg.Data, &record); err != nil || record.TaskID != id || !strings.HasSuffix(msg.Subject, id) {
			t.Fatalf("%s: %s", msg.Subject, msg.Data)
		}
		if record.Status == "completed" {
			return
		}
	}
}

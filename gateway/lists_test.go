package gateway_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/gateway/client"
	"agentmesh/shared/ids"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agents/echo"
)

// listed is a page of tasks.
type listed struct {
	Tasks   []client.Task `json:"tasks"`
	Next    string        `json:"next_cursor"`
	Scanned *int          `json:"scanned"`
}

func taskPage(m *meshtest.Mesh, query string) listed {
	m.T.Helper()
	w := m.Do("GET", "/tasks?"+query, "")
	if w.Code != 200 {
		m.T.Fatalf("GET /tasks?%s = %d %s", query, w.Code, meshtest.Clipped(w.Body.Bytes()))
	}
	return meshtest.Decode[listed](m.T, w.Body)
}

// everyPage lists the ids of all pages, in their order.
func everyPage(m *meshtest.Mesh, query string) (ids []string) {
	m.T.Helper()
	for cursor := ""; ; {
		page := taskPage(m, query+"&cursor="+url.QueryEscape(cursor))
		for _, v := range page.Tasks {
			ids = append(ids, v.TaskID)
		}
		if cursor = page.Next; cursor == "" {
			return ids
		}
	}
}

// put writes the record of a task that was never in the queue.
func put(m *meshtest.Mesh, change func(*task.Task)) *task.Task {
	m.T.Helper()
	now := task.Stamp(time.Now())
	t := &task.Task{
		ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindTask, Agent: "echo",
		Status: task.Completed, CreatedAt: now, UpdatedAt: now,
	}
	change(t)
	if err := m.Store.Tasks.Save(m.T.Context(), t); err != nil {
		m.T.Fatal(err)
	}
	return t
}

// Tasks with large inputs are more than a connection may leave unread. They are
// all listed, and the connection lives.
func TestAListHoldsEveryLargeTask(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPending: 8 << 20}))
	m.Work(echo.Agent())() // its definition stays
	large := json.RawMessage(`"` + strings.Repeat("x", 250_000) + `"`)
	const n = 220
	for i := range n {
		if i%10 == 0 {
			m.Create(`{"agent":"echo","input":` + string(large) + `}`)
			continue
		}
		put(m, func(t *task.Task) { t.Input.Inline = large })
	}
	// On a busy machine the time of a page may end before it is full.
	if page := taskPage(m, "limit=200"); len(page.Tasks) == 0 || page.Next == "" {
		t.Errorf("the first page has %d tasks and the cursor %q", len(page.Tasks), page.Next)
	}
	seen := map[string]bool{}
	for _, id := range everyPage(m, "limit=30") {
		seen[id] = true
	}
	if len(seen) != n {
		t.Errorf("%d tasks are listed, want %d", len(seen), n)
	}
	if again := m.NC.Stats().Reconnects; again != 0 {
		t.Errorf("the connection was cut %d times", again)
	}
}

// A filter that one of very many meets finds it in one answer, which says how far
// it looked.
func TestAListThatFiltersHardLooksOn(t *testing.T) {
	natstest.Long(t)
	m := meshtest.New(t)
	failed := put(m, func(t *task.Task) { t.Status = task.Failed; t.Error = &task.Error{Code: "agent_error"} })
	record, err := json.Marshal(put(m, func(*task.Task) {}))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(m.NC)
	if err != nil {
		t.Fatal(err)
	}
	const n = 12_000
	for i := range n {
		id := string(task.NewID(task.KindTask, uuid.Must(uuid.NewV7())))
		body := strings.Replace(string(record), `"task_id":"tsk_`+taskHex(record), `"task_id":"`+id, 1)
		if _, err := js.PublishAsync("$KV.tasks.default."+id, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			<-js.PublishAsyncComplete()
		}
	}
	for _, query := range []string{"status=failed", "error=agent_error", "kind=task&status=failed&created_after=2020-01-01T00:00:00Z"} {
		// One answer has it on an idle machine; a page that had no time says how far
		// it looked, and the next one goes on.
		var found []string
		scanned := 0
		for cursor, more := "", true; more; more = cursor != "" {
			page := taskPage(m, query+"&cursor="+cursor)
			for _, task := range page.Tasks {
				found = append(found, task.TaskID)
			}
			if page.Scanned == nil || *page.Scanned == 0 {
				t.Fatalf("?%s: scanned %v", query, page.Scanned)
			}
			scanned, cursor = scanned+*page.Scanned, page.Next
		}
		if len(found) != 1 || found[0] != string(failed.ID) || scanned < n {
			t.Errorf("?%s: %v after %d records, want %s after %d", query, found, scanned, failed.ID, n)
		}
	}
	for _, query := range []string{"kind=none", "error=agent_error&status=none"} {
		if w := m.Do("GET", "/tasks?"+query, ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_query" {
			t.Errorf("?%s = %d %s", query, w.Code, w.Body)
		}
	}
	if page := taskPage(m, "kind=action"); len(page.Tasks) != 0 {
		t.Errorf("%d actions, there are none", len(page.Tasks))
	}
}

func taskHex(record []byte) string {
	_, rest, _ := strings.Cut(string(record), `"task_id":"tsk_`)
	return rest[:32]
}

// Tasks that change, run and come between two pages are each met once in the order
// of their creation, at whichever gateway.
func TestPagesInOrderOfCreationMissNone(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.New(t)
	st, _ := m.OpenStore()
	other := m.NewGateway(st)
	var want, waiting []string
	for i := range 90 {
		switch {
		case i%9 == 0: // waits in the queue, for a worker that is not there yet
			if len(waiting) == 0 {
				m.Work(echo.Agent())()
			}
			id := m.Create(`{"agent":"echo","instruction":"x"}`)
			want, waiting = append(want, id), append(waiting, id)
		case i%9 == 1:
			want = append(want, m.Create(`{"agent":"echo","instruction":"x","delay":"1h"}`))
		default:
			want = append(want, string(put(m, func(t *task.Task) { t.Status = task.Processing }).ID))
		}
	}
	slices.Reverse(want)
	change := func(id string, times int) {
		rec, err := m.Store.Tasks.Get(t.Context(), "default", task.ID(id))
		if err != nil {
			return // it waits
		}
		for n := range times {
			if rec.Message, rec.UpdatedAt = fmt.Sprint("step ", n), task.Stamp(time.Now()); m.Store.Tasks.Save(t.Context(), rec) != nil {
				return
			}
		}
	}
	var got []string
	pages := 0
	for cursor := ""; ; pages++ {
		query := "/tasks?order=created&limit=7&cursor=" + url.QueryEscape(cursor)
		h := m.Gateway.Handler()
		if pages%3 == 2 {
			h = other.Handler()
		}
		page := meshtest.Decode[listed](t, meshtest.Call(h, "GET", query, "").Body)
		if again := meshtest.Decode[listed](t, meshtest.Call(h, "GET", query, "").Body); cursor != "" && (len(again.Tasks) != len(page.Tasks) || again.Tasks[0].TaskID != page.Tasks[0].TaskID) {
			t.Errorf("page %d is another one when it is asked for again", pages)
		}
		for _, v := range page.Tasks {
			got = append(got, v.TaskID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		for i := pages % 2; i < len(want); i += 2 { // more often than revisions are kept
			change(want[i], 18)
		}
		if pages == 2 {
			m.Work(echo.Agent())
			for _, id := range waiting {
				m.End(id)
			}
		}
		put(m, func(*task.Task) {}) // newer than all of them
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d pages list %d tasks, want each of %d once:\n got %v\nwant %v", pages, len(got), len(want), got, want)
	}
}

// The order of creation finds one among very many, and knows when it need not look
// further.
func TestOrderOfCreationFilters(t *testing.T) {
	m := meshtest.New(t)
	began := time.Now().Add(-time.Millisecond)
	failed := put(m, func(t *task.Task) { t.Status = task.Failed })
	for range 300 {
		put(m, func(*task.Task) {})
	}
	for query, want := range map[string][]string{
		"status=failed": {string(failed.ID)},
		"status=failed&created_after=" + url.QueryEscape(began.Format(time.RFC3339Nano)):                 {string(failed.ID)},
		"status=failed&created_after=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)): nil,
		"status=pending": nil,
	} {
		for _, order := range []string{"&order=created", "&order=changed", ""} {
			if got := everyPage(m, query+order); !slices.Equal(got, want) {
				t.Errorf("?%s%s lists %v, want %v", query, order, got, want)
			}
		}
	}
	if w := m.Do("GET", "/tasks?order=upwards", ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_query" {
		t.Errorf("an unknown order = %d %s", w.Code, w.Body)
	}
	page := taskPage(m, "order=created&limit=5")
	for _, query := range []string{"order=changed&limit=5", "limit=5", "order=created&limit=5&status=failed"} {
		if w := m.Do("GET", "/tasks?"+query+"&cursor="+page.Next, ""); w.Code != 400 || meshtest.Problem(t, w).Code != "bad_cursor" {
			t.Errorf("?%s with a cursor of another listing = %d %s", query, w.Code, w.Body)
		}
	}
}

// One record that nobody can read, anywhere, hides no other.
func TestOneUnreadableRecordHidesNoOther(t *testing.T) {
	m := meshtest.New(t)
	said := &meshtest.Transcript{}
	m.Store.LogTo(slog.New(slog.NewTextHandler(said, nil)))
	m.Work(echo.Agent())
	done := m.Create(`{"agent":"echo","instruction":"x"}`)
	m.End(done)
	hook := meshtest.Decode[struct {
		ID string `json:"webhook_id"`
	}](t, m.Do("POST", "/webhooks", `{"url":"http://127.0.0.1:9/x"}`).Body).ID
	ses := meshtest.Decode[struct {
		ID string `json:"session_id"`
	}](t, m.Do("POST", "/sessions", `{"agent":"echo"}`).Body).ID
	act := meshtest.Decode[client.Task](t, m.Do("POST", "/actions", `{"agent":"echo","instruction":"x","callback_url":"http://127.0.0.1:9/x"}`).Body).ActionID
	m.End(act)
	waits := m.Create(`{"agent":"echo","instruction":"later","delay":"1h"}`)
	js, err := jetstream.New(m.NC)
	if err != nil {
		t.Fatal(err)
	}
	id := func(prefix string) string { return ids.New(prefix, uuid.Must(uuid.NewV7())) }
	for _, garbage := range []string{"\x00\xff not JSON", `{"task_id":7,"webhook_id":{},"delivery_id":[],"session_id":1,"name":2,"worker_id":3}`, `[]`} {
		for _, subject := range []string{
			"$KV.tasks.default." + id("tsk_"), "mesh.tasks.ready.default.nobody." + id("tsk_"),
			"mesh.turns.default.nobody." + id("ses_"), "mesh.turns.default.echo." + ses,
			"$KV.sessions.default." + id("ses_"), "$KV.agents.agent-" + fmt.Sprint(len(garbage)), "$KV.workers." + id("wrk_"),
			"$KV.webhooks.default." + id("whk_"), "$KV.deliveries.default." + done + "." + id("dlv_"),
			"mesh.deliveries.due.default." + id("dlv_"), "mesh.deliveries.due.default." + string(webhook.NewDeliveryID(act+"-completed", webhook.Callback)), "$KV.tasks.default." + done + "." + id("tsk_"),
		} {
			_, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: []byte(garbage)})
			if err != nil && !strings.Contains(err.Error(), "maximum messages per subject") {
				t.Fatal(err)
			}
		}
	}
	for path, want := range map[string]string{
		"/tasks": done, "/tasks?status=pending": waits, "/tasks?order=created": done, "/sessions": ses, "/webhooks": hook,
		"/deliveries": `"deliveries"`, "/actions/" + act + "/deliveries": `"deliveries"`, "/tasks/" + done: done, "/sessions/" + ses: ses, "/stats": `"agents"`, "/agents": "echo",
		"/.well-known/webhooks/jwks.json": `"keys"`, "/agents/echo": "echo",
	} {
		if w := m.Do("GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s = %d %s, want it with %s", path, w.Code, meshtest.Clipped(w.Body.Bytes()), want)
		}
	}
	if all, err := m.Store.Registry.Agents(t.Context()); err != nil || len(all) != 1 { // the gateway has asked before
		t.Errorf("agents %v, %v", all, err)
	}
	for _, key := range []string{"$KV.tasks.default.tsk_", "$KV.sessions.default.", "$KV.webhooks.default.", "$KV.deliveries.default.", "$KV.workers.", "$KV.agents."} {
		if n := strings.Count(said.String(), "key="+key); n != 3 {
			t.Errorf("the log names %d keys %s* that are not readable, want each of 3 once:\n%s", n, key, said)
		}
	}
}

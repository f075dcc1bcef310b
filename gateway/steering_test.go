package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/signature"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// bulkDo sends a bulk request.
func bulkDo(m *meshtest.Mesh, path, body string) api.BulkDone {
	m.T.Helper()
	w := m.Do("POST", path, body)
	if w.Code != 200 {
		m.T.Fatalf("POST %s %s = %d %s", path, body, w.Code, w.Body)
	}
	return meshtest.Decode[api.BulkDone](m.T, w.Body)
}

// A bulk request does what the filter finds and nothing else: a dry run nothing at
// all, and one with a limit goes on where it ended.
func TestABulkRequestDoesWhatItsFilterFinds(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())() // its definition stays
	var mine []string
	for range 5 {
		mine = append(mine, m.Create(`{"agent":"echo","instruction":"x","delay":"1h","labels":{"team":"a"}}`))
	}
	other := m.Create(`{"agent":"echo","instruction":"x","delay":"1h","labels":{"team":"b"}}`)
	const filter = `"action":"cancel","filter":{"agent":"echo","labels":{"team":"a"}}`
	if d := bulkDo(m, "/tasks/bulk", `{`+filter+`,"dry_run":true}`); d.Matched != 5 || d.Done != 0 || d.NextCursor != "" || !d.DryRun {
		t.Errorf("dry run: %+v", d)
	}
	if m.Get(mine[0]).Status != "pending" {
		t.Error("the dry run has canceled a task")
	}
	done, rounds, cursor := 0, 0, ""
	for more := true; more && rounds < 5; rounds++ {
		d := bulkDo(m, "/tasks/bulk", fmt.Sprintf(`{%s,"limit":2,"cursor":%q}`, filter, cursor))
		done, cursor = done+d.Done, d.NextCursor
		if rounds == 0 {
			mine = append(mine, m.Create(`{"agent":"echo","instruction":"late","delay":"1h","labels":{"team":"a"}}`))
		}
		more = cursor != ""
	}
	if done != 5 || rounds != 3 {
		t.Errorf("%d were canceled in %d rounds", done, rounds)
	}
	for i, id := range append(mine, other) {
		if got, want := m.Get(id).Status, map[bool]string{true: "canceled", false: "pending"}[i < 5]; got != want {
			t.Errorf("task %d is %s, want %s", i, got, want)
		}
	}
	for body, pointer := range map[string]string{
		`{"action":"cancel"}`: "/filter", `{"action":"eat","filter":{}}`: "/action", `{"action":"retry","filter":{"status":["completed"]}}`: "/filter/status/0",
		`{"action":"cancel","filter":{"agnet":"echo"}}`: "/filter/agnet", `{"action":"cancel","filter":{},"limit":-1}`: "/limit", `{"action":"cancel","filter":{"created_after":"noon"}}`: "/filter/created_after",
	} {
		if w := m.Do("POST", "/tasks/bulk", body); w.Code != 422 || !strings.Contains(w.Body.String(), `"`+pointer+`"`) {
			t.Errorf("%s = %d %s", body, w.Code, w.Body)
		}
	}
}

// A member of a filter without a value, such as that of a variable that was not set, does
// not choose everything.
func TestABulkRequestTakesNoEmptyFilters(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())()
	id := m.Create(`{"agent":"counter","instruction":"x"}`)
	members := map[string][]string{
		"/tasks/bulk":      {`"agent":""`, `"status":[ ]`, `"labels":{ }`, `"session_id":""`, `"kind":""`, `"created_after":""`, `"created_before":"0001-01-01T00:00:00Z"`},
		"/deliveries/bulk": {`"webhook_id":""`, `"status":[]`, `"type":""`, `"class":""`, `"since":"0001-01-01T00:00:00Z"`},
	}
	for path, all := range members {
		action := map[bool]string{true: "cancel", false: "redeliver"}[path == "/tasks/bulk"]
		for _, member := range all {
			name, _, _ := strings.Cut(strings.Trim(member, `"`), `"`)
			w := m.Do("POST", path, `{"action":"`+action+`","filter":{`+member+`}}`, "Prefer", "handling=lenient")
			if w.Code != 422 || !strings.Contains(w.Body.String(), `"/filter/`+name+`"`) {
				t.Errorf("%s %s = %d %s", path, member, w.Code, w.Body)
			}
		}
	}
	if w := m.Do("GET", "/tasks?created_before=0001-01-01T00:00:00Z", ""); w.Code != 400 {
		t.Errorf("list = %d %s", w.Code, w.Body)
	}
	if got := m.Get(id).Status; got != "pending" {
		t.Errorf("task is %s", got)
	}
	if d := bulkDo(m, "/tasks/bulk", `{"action":"cancel","filter":{"agent":null}}`); d.Done != 1 {
		t.Errorf("null, which is to leave it out = %+v", d)
	}
}

// A request whose answer was lost may be sent again: each task is retried once.
func TestABulkRetryIsSafeToRepeat(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	m.Work(meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) { return nil, agent.Permanent(errors.New("no")) }))
	for range 3 {
		m.End(m.Create(`{"agent":"fails","instruction":"x","labels":{"a":"1"}}`))
	}
	before := time.Now()
	f := client.Filter{Error: "agent_error", Before: before}
	first, err := c.Tasks.Bulk(t.Context(), "retry", f, client.BulkOptions{})
	if err != nil || first.Matched != 3 || first.Done != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := c.Tasks.Bulk(t.Context(), "retry", f, client.BulkOptions{})
	if err != nil || again.Matched != 3 || again.Done != 0 || again.Skipped != 3 {
		t.Errorf("again: %+v, %v", again, err)
	}
	natstest.Until(t, "three new tasks have run", func() bool { return len(everyPage(m, "agent=fails&status=failed")) == 6 })
}

// Dead deliveries are sent again by what they have failed with.
func TestDeliveriesAreSentAgainByFilter(t *testing.T) {
	m := meshtest.New(t)
	m.Notify()
	r := m.Receive(nil)
	for _, name := range []string{"one", "two"} {
		delivered(m, name, time.Minute, func(d *webhook.Delivery) {
			d.URL = r.URL
			d.Note(webhook.Attempt{Class: webhook.ClassServer, At: d.CreatedAt})
		})
	}
	if d := bulkDo(m, "/deliveries/bulk", `{"action":"redeliver","filter":{"class":"timeout"}}`); d.Matched != 0 {
		t.Errorf("another class: %+v", d)
	}
	if d := bulkDo(m, "/deliveries/bulk", `{"action":"redeliver","filter":{}}`); d.Matched != 2 || d.Done != 2 || d.NextCursor != "" {
		t.Errorf("%+v", d)
	}
	natstest.Until(t, "both are delivered", func() bool { return len(m.DeliveriesBy("status=delivered")) == 2 })
}

// While an agent is paused nothing of it begins, wherever its workers are started; what
// runs goes on, and the pause says so to whoever waits.
func TestNothingOfAPausedAgentBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		release := make(chan struct{})
		stop := m.Work(meshtest.Named("slow", func(_ context.Context, job *agent.Job) (any, error) {
			if job.Instruction == "hold" {
				<-release
			}
			return "done", nil
		}))
		runs := m.Create(`{"agent":"slow","instruction":"hold"}`)
		time.Sleep(time.Second)
		if a := meshtest.Decode[api.Agent](t, m.Do("POST", "/agents/slow/pause", "").Body); !a.Paused || !a.PausedUntil.IsZero() {
			t.Errorf("paused: %+v", a)
		}
		session := m.Session("slow")
		waits := []string{m.Create(`{"agent":"slow","instruction":"x"}`), m.Say(202, session, "hi", "Prefer", "respond-async").TurnID}
		close(release)
		time.Sleep(time.Minute)
		if v := m.Get(runs); v.Status != "completed" {
			t.Errorf("what ran is %s", v.Status)
		}
		stop()
		m.Work(meshtest.Named("slow", meshtest.Says("done")))
		time.Sleep(time.Minute)
		for _, id := range waits {
			if v := m.Get(id); v.Status != "pending" || v.Waiting == nil || v.Waiting.Reason != "paused" {
				t.Errorf("%s is %s, waiting %+v", id, v.Status, v.Waiting)
			}
		}
		list := meshtest.Decode[api.AgentList](t, m.Do("GET", "/agents", "").Body)
		stats := meshtest.Decode[api.Stats](t, m.Do("GET", "/stats", "").Body)
		if len(list.Agents) != 2 || !list.Agents[1].Paused || list.Agents[0].Paused || !stats.Agents[len(stats.Agents)-1].Paused {
			t.Errorf("agents %+v, stats %+v", list, stats.Agents)
		}
		m.Do("POST", "/agents/slow/resume", "")
		time.Sleep(time.Minute)
		for _, id := range waits {
			if v := m.Get(id); v.Status != "completed" {
				t.Errorf("%s is %s after the pause", id, v.Status)
			}
		}
		m.Do("POST", "/agents/slow/pause", `{"for":"1h"}`)
		id := m.Create(`{"agent":"slow","instruction":"x"}`)
		time.Sleep(50 * time.Minute)
		if v := m.Get(id); v.Status != "pending" || v.Waiting.NextAttempt.IsZero() {
			t.Errorf("it is %s, waiting %+v", v.Status, v.Waiting)
		}
		time.Sleep(20 * time.Minute)
		if v := m.Get(id); v.Status != "completed" {
			t.Errorf("it is %s when the pause has ended by itself", v.Status)
		}
	})
}

// The check of a signature says yes or no and why. It tells no signature, and is no
// means to try many.
func TestASignatureIsCheckedAndNotMade(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	hook := m.Subscribe(`{"url":"https://receiver.example/"}`)
	secret, err := signature.ParseSecret(hook.Secret)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"type":"task.completed"}`
	signed := func(at time.Time, key signature.SigningKey) map[string]string {
		h := http.Header{}
		if err := signature.Sign(h, "dlv_1", at, []byte(body), key); err != nil {
			t.Fatal(err)
		}
		return map[string]string{"webhook-id": h.Get(signature.HeaderID), "WEBHOOK-TIMESTAMP": h.Get(signature.HeaderTimestamp), "Webhook-Signature": h.Get(signature.HeaderSignature)}
	}
	now := time.Now()
	for what, tt := range map[string]struct {
		headers map[string]string
		body    string
		valid   bool
		reason  string
	}{
		"its own":       {signed(now, secret), body, true, ""},
		"old":           {signed(now.Add(-time.Hour), secret), body, true, "timestamp_too_far"},
		"another body":  {signed(now, secret), body + " ", false, "no_signature_matches"},
		"another key":   {signed(now, signature.NewSecret()), body, false, "no_signature_matches"},
		"none":          {map[string]string{}, body, false, "headers_missing"},
		"malformed":     {map[string]string{"webhook-id": "a.b", "webhook-timestamp": "1", "webhook-signature": "v1,x"}, body, false, "headers_malformed"},
		"old, tampered": {signed(now.Add(-time.Hour), secret), "{}", false, "no_signature_matches"},
	} {
		v, err := c.Webhooks.Verify(t.Context(), hook.WebhookID, tt.headers, tt.body)
		if err != nil || v.Valid != tt.valid || v.Reason != tt.reason || v.Valid != (v.KeyID == hook.Keys[0].ID) || v.Detail == "" {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
	}
	right := signed(now, secret)["Webhook-Signature"]
	limited := false
	for range 30 {
		w := m.Do("POST", "/webhooks/"+hook.WebhookID+"/verify", `{"headers":{"webhook-id":"dlv_1","webhook-timestamp":"`+fmt.Sprint(now.Unix())+`","webhook-signature":"v1,AAAA"},"body":`+fmt.Sprintf("%q", body)+`}`)
		limited = limited || w.Code == 429 && w.Header().Get("Retry-After") != ""
		if strings.Contains(w.Body.String(), strings.TrimPrefix(right, "v1,")) || strings.Contains(w.Body.String(), hook.Secret) {
			t.Fatalf("it tells how to sign: %s", w.Body)
		}
	}
	if !limited {
		t.Error("thirty checks in a row are not refused")
	}
}

// A fork has what was said up to its message, and is a session of its own: it goes on
// when the other one is gone.
func TestAForkIsASessionOfItsOwn(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	m.Work(meshtest.Counter())
	ctx := t.Context()
	id := m.Session("counter") // which greets
	for i := range 3 {
		m.Say(200, id, fmt.Sprint("say ", i))
	}
	if s, err := c.Sessions.State(ctx, id); err != nil || string(s.State) != `{"N":3}` {
		t.Errorf("its state is %s, %v", s.State, err)
	}
	if s, err := c.Sessions.Get(ctx, id); err != nil || s.State != nil {
		t.Errorf("without asking its state is %s, %v", s.State, err)
	}
	fork := func(after int, state string) *api.SessionForked {
		t.Helper()
		var raw json.RawMessage
		if state != "" {
			raw = json.RawMessage(state)
		}
		f, err := c.Sessions.Fork(ctx, id, after, raw, client.CreateOptions{IdempotencyKey: fmt.Sprint(after, state)})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	whole, middle, given := fork(0, ""), fork(3, ""), fork(3, `{"N":40}`)
	if whole.Messages != 7 || !whole.HasState || middle.Messages != 3 || middle.HasState || !given.HasState || whole.ForkedFrom != id || whole.Agent != "counter" {
		t.Errorf("%+v, %+v, %+v", whole, middle, given)
	}
	if again := fork(3, ""); again.SessionID != middle.SessionID {
		t.Error("a repeat with the same key makes another session")
	}
	for _, after := range []int{2, 8, 0, -1} { // half of a turn, too many, none
		if w := m.Do("POST", "/sessions/"+id+"/fork", fmt.Sprintf(`{"after":%d}`, after)); w.Code != 422 || !strings.Contains(w.Body.String(), `"/after"`) {
			t.Errorf("after %d = %d %s", after, w.Code, w.Body)
		}
	}
	if w := m.Do("DELETE", "/sessions/"+id, ""); w.Code != 204 {
		t.Fatalf("DELETE = %d", w.Code)
	}
	for f, want := range map[string]string{whole.SessionID: "4 on", middle.SessionID: "1 on", given.SessionID: "41 on"} {
		if v := m.Say(200, f, "on"); v.Message != want {
			t.Errorf("the fork says %q, want %q", v.Message, want)
		}
	}
	if said := m.Transcript(middle.SessionID); len(said) != 5 || said[1].Text != "say 0" || said[3].Text != "on" {
		t.Errorf("the fork has %+v", said)
	}
	s, err := c.Sessions.Get(ctx, middle.SessionID)
	if err != nil || s.Turns != 2 {
		t.Errorf("it has %d turns, %v", s.Turns, err)
	}
}

// A task that was deleted is gone, and does not run again: not by a repeat of its
// request, and not by a message that comes late.
func TestADeletedTaskIsGoneAndDoesNotRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		m.Notify()
		var runs atomic.Int32
		large := strings.Repeat("x", 300<<10)
		m.Work(meshtest.Named("large", func(context.Context, *agent.Job) (any, error) { runs.Add(1); return large, nil }))
		key := []string{"Idempotency-Key", "one"}
		id := m.Create(`{"agent":"large","instruction":"x"}`, key...)
		time.Sleep(time.Minute)
		record := m.Record(id)
		if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != 204 {
			t.Fatalf("DELETE = %d %s", w.Code, w.Body)
		}
		for _, path := range []string{"", "/result", "/input", "/events", "/steps"} {
			if w := m.Do("GET", "/tasks/"+id+path, "", "Accept", "application/json"); w.Code != 404 {
				t.Errorf("GET %s = %d %s", path, w.Code, meshtest.Clipped(w.Body.Bytes()))
			}
		}
		if _, err := m.Store.Artifacts.Open(t.Context(), record.Result); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("its result is still there: %v", err)
		}
		if got := everyPage(m, "agent=large"); len(got) != 0 {
			t.Errorf("it is listed: %v", got)
		}
		if again := m.Create(`{"agent":"large","instruction":"x"}`, key...); again != id {
			t.Errorf("a repeat makes %s", again)
		}
		late := &task.Task{ID: record.ID, Tenant: record.Tenant, Kind: record.Kind, Agent: record.Agent, Status: task.Pending, Instruction: "x", CreatedAt: record.CreatedAt}
		time.Sleep(time.Hour)
		if _, err := m.Store.Tasks.Enqueue(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := runs.Load(); n != 1 || m.Queued() != 0 {
			t.Errorf("it ran %d times, and %d messages wait", n, m.Queued())
		}
	})
}

// Whoever has seen the end of a task may delete it: the notifier has read it a moment
// later.
func TestATaskIsDeletedRightAfterItsEnd(t *testing.T) {
	m := meshtest.New(t)
	m.Notify()
	m.Work(echo.Agent())
	for range 20 {
		id := m.Create(`{"agent":"echo","instruction":"x"}`)
		m.End(id)
		if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != 204 {
			t.Errorf("DELETE = %d %s", w.Code, w.Body)
		}
	}
}

// What still has to end, or to be told, is not deleted.
func TestOnlyWhatHasEndedIsDeleted(t *testing.T) {
	m := meshtest.New(t)
	holds := meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	m.Work(echo.Agent(), meshtest.Counter(), holds)
	parent := m.Create(`{"agent":"holds","instruction":"x"}`)
	child := m.Create(`{"agent":"echo","instruction":"x"}`, "Mesh-Parent-Task", parent)
	m.End(child)
	turn := m.Say(200, m.Session("counter"), "hi").TurnID
	for what, id := range map[string]string{"one that runs": parent, "a child of one that runs": child, "a turn": turn} {
		if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != 409 || meshtest.Problem(t, w).Code != "task_not_deletable" {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	m.Do("POST", "/tasks/"+parent+"/cancel", "")
	if w := m.Do("DELETE", "/tasks/"+child, ""); w.Code != 204 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
	if err := m.Store.Consumers.NoteNotifiers(t.Context()); err != nil { // and none has read it
		t.Fatal(err)
	}
	id := m.Create(`{"agent":"echo","instruction":"x"}`)
	m.End(id)
	if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != 409 || meshtest.Problem(t, w).Code != "conflict" {
		t.Errorf("before it was told: %d %s", w.Code, w.Body)
	}
}

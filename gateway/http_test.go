package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/echo"
	"agentmesh/worker/agents/summarize"
)

// Every refusal is a problem with a code and a helpful detail, and nothing was
// accepted.
func TestEveryRefusalIsAProblemAndAcceptsNothing(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent(), summarize.Agent())()
	ahead := time.Now().Add(400 * 24 * time.Hour).UTC().Format(time.RFC3339)
	for _, tt := range []struct {
		name, body string
		headers    []string
		status     int
		code       string
		detail     string // in the detail or the faults
	}{
		{"no JSON", `{"agent":`, nil, 400, "malformed_json", "EOF"},
		{"empty body", ``, nil, 400, "malformed_json", "empty"},
		{"not an object", `[1]`, nil, 400, "malformed_json", "object"},
		{"two values", `{"instruction":"x"} {}`, nil, 400, "malformed_json", "more after"},
		{"key twice", `{"instruction":"x","instruction":"y"}`, nil, 400, "malformed_json", "duplicate"},
		{"key twice deep down", `{"instruction":"x","input":{"a":{"b":1,"b":2}}}`, nil, 400, "malformed_json", "duplicate"},
		{"not UTF-8", "{\"instruction\":\"\xff\"}", nil, 400, "malformed_json", "UTF-8"},
		{"wrong type", `{"instruction":7}`, nil, 422, "validation_failed", "/instruction"},
		{"wrong type of attempts", `{"instruction":"x","max_attempts":"3"}`, nil, 422, "validation_failed", "/max_attempts"},
		{"wrong type in labels", `{"instruction":"x","labels":{"a":1}}`, nil, 422, "validation_failed", "/labels"},
		{"nothing to do", `{"agent":"echo"}`, nil, 422, "validation_failed", "/input"},
		{"null input", `{"agent":"echo","input":null}`, nil, 422, "validation_failed", "/input"},
		{"unknown agent", `{"agent":"nobody","instruction":"x"}`, nil, 404, "agent_not_found", "echo, summarize"},
		{"agent name with a wildcard", `{"agent":"*","instruction":"x"}`, nil, 422, "validation_failed", "/agent"},
		{"agent name with a dot", `{"agent":"a.b","instruction":"x"}`, nil, 422, "validation_failed", "/agent"},
		{"schema: missing", `{"agent":"summarize","input":{}}`, nil, 422, "input_invalid", "text"},
		{"schema: type", `{"agent":"summarize","input":{"text":7}}`, nil, 422, "input_invalid", "/input/text"},
		{"schema: range", `{"agent":"summarize","input":{"text":"x","sentences":99}}`, nil, 422, "input_invalid", "/input/sentences"},
		{"bad duration", `{"instruction":"x","timeout":"soon"}`, nil, 422, "validation_failed", "/timeout"},
		{"negative timeout", `{"instruction":"x","timeout":"-5s"}`, nil, 422, "validation_failed", "/timeout"},
		{"bad delay", `{"instruction":"x","delay":"5"}`, nil, 422, "validation_failed", "/delay"},
		{"delay too long", `{"instruction":"x","delay":"9000h"}`, nil, 422, "validation_failed", "/delay"},
		{"run_at in the past", `{"instruction":"x","run_at":"2020-01-01T00:00:00Z"}`, nil, 422, "validation_failed", "past"},
		{"run_at over a year ahead", `{"instruction":"x","run_at":"` + ahead + `"}`, nil, 422, "validation_failed", "year"},
		{"run_at no time", `{"instruction":"x","run_at":"tomorrow"}`, nil, 422, "validation_failed", "/run_at"},
		{"delay and run_at", `{"instruction":"x","delay":"5s","run_at":"` + ahead + `"}`, nil, 422, "validation_failed", "not both"},
		{"deadline in the past", `{"instruction":"x","deadline":"2020-01-01T00:00:00Z"}`, nil, 422, "validation_failed", "/deadline"},
		{"too many attempts", `{"instruction":"x","max_attempts":101}`, nil, 422, "validation_failed", "/max_attempts"},
		{"bad label key", `{"instruction":"x","labels":{"a b":"c"}}`, nil, 422, "validation_failed", "/labels/a b"},
		{"long instruction", `{"instruction":"` + strings.Repeat("x", 64<<10+1) + `"}`, nil, 422, "validation_failed", "65537"},
		{"several faults", `{"instruction":"x","timeout":"?","delay":"?"}`, nil, 422, "validation_failed", "2 fields"},
		{"body too large", `{"instruction":"` + strings.Repeat("x", 32<<20) + `"}`, nil, 413, "body_too_large", "33554432"},
		{"form", `agent=echo`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "application/json"},
		{"no content type", `{}`, []string{"Content-Type", ""}, 415, "unsupported_media_type", "application/json"},
		{"gzip", `{}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type", "gzip"},
		{"key with a space", `{"instruction":"x"}`, []string{"Idempotency-Key", "a b"}, 400, "bad_idempotency_key", "quoted"},
		{"key not closed", `{"instruction":"x"}`, []string{"Idempotency-Key", `"abc`}, 400, "bad_idempotency_key", "quote"},
		{"empty key", `{"instruction":"x"}`, []string{"Idempotency-Key", `""`}, 400, "bad_idempotency_key", "1 to 255"},
		{"long key", `{"instruction":"x"}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "bad_idempotency_key", "256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := m.Do("POST", "/tasks", tt.body, tt.headers...)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, meshtest.Clipped(w.Body.Bytes()))
			}
			text := w.Body.String()
			p := meshtest.Problem(t, w)
			if p.Code != tt.code || !strings.Contains(text, tt.detail) || p.Type != "/problems/"+tt.code || p.TraceID == "" || p.Title == "" || p.Status != tt.status {
				t.Errorf("problem %s, want %s with %q", text, tt.code, tt.detail)
			}
		})
	}
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/tasks/nope", 404, "task_not_found"},
		{"GET", "/tasks/tsk_*", 404, "task_not_found"},
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e5G", 404, "task_not_found"},
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52", 404, "task_not_found"},
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52/events", 404, "task_not_found"},
		{"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52/result", 404, "task_not_found"},
		{"POST", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52/cancel", 404, "task_not_found"},
		{"POST", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52/retry", 404, "task_not_found"},
		{"GET", "/tasks?limit=0", 400, "bad_query"},
		{"GET", "/tasks?limit=201", 400, "bad_query"},
		{"GET", "/tasks?status=done", 400, "bad_query"},
		{"GET", "/tasks?created_after=yesterday", 400, "bad_query"},
		{"GET", "/tasks?cursor=xyz", 400, "bad_cursor"},
		{"GET", "/tasks?cursor=eyJyIjowLCJxIjowfQ", 400, "bad_cursor"},
		{"GET", "/agents/nobody", 404, "agent_not_found"},
		{"GET", "/agents/%2A", 404, "agent_not_found"},
		{"GET", "/nothing", 404, "not_found"},
		{"DELETE", "/tasks", 405, "method_not_allowed"},
		{"GET", "/problems/nothing", 404, "not_found"},
	} {
		w := m.Do(tt.method, tt.path, "")
		if p := meshtest.Problem(t, w); w.Code != tt.status || p.Code != tt.code || p.Detail == "" || p.TraceID == "" {
			t.Errorf("%s %s = %d %+v, want %d %s", tt.method, tt.path, w.Code, p, tt.status, tt.code)
		}
	}
	two := httptest.NewRequest("POST", "/tasks", strings.NewReader(`{"instruction":"x"}`))
	two.Header["Idempotency-Key"], two.Header["Content-Type"] = []string{"a", "b"}, []string{"application/json"}
	w := httptest.NewRecorder()
	m.Gateway.Handler().ServeHTTP(w, two)
	if p := meshtest.Problem(t, w); w.Code != 400 || p.Code != "bad_idempotency_key" {
		t.Errorf("two keys = %d %+v", w.Code, p)
	}
	if n := m.Queued(); n != 0 {
		t.Errorf("%d tasks were accepted", n)
	}
}

// Server-owned fields never take effect, not even where unknown ones are ignored.
func TestServerOwnedFieldsAreIgnored(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	id := m.Create(`{"agent":"echo","input":1,"task_id":"tsk_x","tenant":"other","status":"completed","attempt":9,"result":2,"lease":{},"whatever":true}`, "Prefer", "handling=lenient")
	got := m.End(id)
	if got.TaskID == "tsk_x" || got.Attempt != 1 || string(got.Result) != "1" {
		t.Errorf("task = %+v", got)
	}
}

// TestOneKeyManyTimesMakesOneTask: 200 concurrent requests with one key through two
// gateways make one task and get one answer (I3).
func TestOneKeyManyTimesMakesOneTask(t *testing.T) {
	m := meshtest.New(t)
	st, _ := m.OpenStore()
	gateways := []*gateway.Gateway{m.Gateway, m.NewGateway(st)}
	m.Work(echo.Agent())
	const body = `{"agent":"echo","input":{"once":true}}`
	answers := make([]string, 200)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			w := meshtest.Call(gateways[i%2].Handler(), "POST", "/tasks", body, "Idempotency-Key", `"the-key"`)
			answers[i] = fmt.Sprint(w.Code, w.Header().Get("Location"), w.Body.String())
		})
	}
	wg.Wait()
	for i, a := range answers {
		if a != answers[0] || !strings.HasPrefix(a, "202") {
			t.Fatalf("answer %d is %s, answer 0 is %s", i, a, answers[0])
		}
	}
	list := meshtest.Decode[struct{ Tasks []client.Task }](t, m.Do("GET", "/tasks", "").Body)
	if len(list.Tasks) != 1 {
		t.Errorf("%d tasks, want 1", len(list.Tasks))
	}
	w := m.Do("POST", "/tasks", body, "Idempotency-Key", "the-key")
	if w.Code != http.StatusAccepted || w.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("repeat with the bare key = %d %v", w.Code, w.Header())
	}
	w = m.Do("POST", "/tasks", `{"agent":"echo","input":{"once":false}}`, "Idempotency-Key", `"the-key"`)
	if p := meshtest.Problem(t, w); w.Code != http.StatusUnprocessableEntity || p.Code != "idempotency_key_reused" {
		t.Errorf("another body = %d %+v", w.Code, p)
	}
}

// TestAKeyOutlivesTheDedupeWindow and a restart, whether the task is still
// queued or long done.
func TestAKeyOutlivesTheDedupeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		stop := m.Work(echo.Agent())
		ids := map[string]string{}
		post := func(key string) string {
			return m.Create(`{"agent":"echo","input":"`+key+`"}`, "Idempotency-Key", key)
		}
		ids["done"] = post("done")
		m.End(ids["done"])
		stop()
		ids["queued"] = post("queued")
		time.Sleep(5 * time.Minute)
		for round := range 2 {
			for key, id := range ids {
				if again := post(key); again != id {
					t.Errorf("round %d: key %s made %s after %s", round, key, again, id)
				}
			}
			if n := m.Queued(); n != 1 {
				t.Errorf("round %d: %d messages in the queue, want 1", round, n)
			}
			if round == 0 {
				m.NC.Close()
				m.Server.Stop()
				time.Sleep(time.Hour)
				m = meshtest.NewIn(t, dir)
			}
		}
		m.Work(echo.Agent())
		if got := m.End(ids["queued"]); string(got.Result) != `"queued"` {
			t.Errorf("task = %+v", got)
		}
	})
}

// TestARequestWhileNATSIsAwayConvergesWhenItIsRepeated: 503 with Retry-After, and afterwards a repeat with the same
// key converges (I17).
func TestARequestWhileNATSIsAwayConvergesWhenItIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		m.Work(echo.Agent())()
		m.Server.Stop()
		for _, r := range [][2]string{{"POST", "/tasks"}, {"GET", "/tasks"}, {"GET", "/tasks/tsk_01a20cd9e03b7276be6a181888e33e52"}, {"GET", "/agents"}} {
			w := m.Do(r[0], r[1], `{"agent":"echo","input":1}`, "Idempotency-Key", "k")
			if p := meshtest.Problem(t, w); w.Code != http.StatusServiceUnavailable || p.Code != "store_unavailable" || w.Header().Get("Retry-After") == "" || !p.Retryable {
				t.Errorf("%s %s = %d %+v", r[0], r[1], w.Code, p)
			} else if strings.Contains(p.Detail, "Idempotency-Key") != (r[0] == "POST") {
				t.Errorf("%s %s tells the client: %s", r[0], r[1], p.Detail)
			}
		}
		w := m.Do("GET", "/readyz", "")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"nats":{"ok":false`) {
			t.Errorf("readyz = %d %s", w.Code, w.Body)
		}
		if w := m.Do("GET", "/healthz", ""); w.Code != http.StatusOK {
			t.Errorf("healthz = %d", w.Code)
		}
		m = meshtest.NewIn(t, dir)
		m.Work(echo.Agent())
		id := m.Create(`{"agent":"echo","input":1}`, "Idempotency-Key", "k")
		if again := m.Create(`{"agent":"echo","input":1}`, "Idempotency-Key", "k"); again != id {
			t.Errorf("the key made %s and then %s", id, again)
		}
		if got := m.End(id); got.Status != "completed" {
			t.Errorf("task = %+v", got)
		}
	})
}

func TestAConditionalGetWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		id := m.Create(`{"agent":"echo","input":{"echo_delay":"20s"}}`)
		time.Sleep(time.Second)
		w := m.Do("GET", "/tasks/"+id, "")
		tag := w.Header().Get("ETag")
		if tag == "" || w.Header().Get("Retry-After") != "1" {
			t.Errorf("headers %v", w.Header())
		}
		if w := m.Do("GET", "/tasks/"+id, "", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("If-None-Match = %d %s", w.Code, w.Body)
		}
		begin := time.Now()
		w = m.Do("GET", "/tasks/"+id, "", "If-None-Match", tag, "Prefer", "wait=30")
		if w.Code != http.StatusOK || w.Header().Get("ETag") == tag || time.Since(begin) > 5*time.Second || w.Header().Get("Preference-Applied") != "wait=30" {
			t.Errorf("long poll = %d after %v, headers %v", w.Code, time.Since(begin), w.Header())
		}
		w = m.Do("GET", "/tasks/"+id, "", "Prefer", "wait=2")
		if got := meshtest.Decode[client.Task](t, w.Body); got.Done || w.Code != http.StatusOK {
			t.Errorf("short wait = %d %+v", w.Code, got)
		}
		if w := m.Do("GET", "/tasks/"+id+"?wait=60s", ""); meshtest.Decode[client.Task](t, w.Body).Status != "completed" {
			t.Error("?wait= did not wait for the end")
		}
		w = m.Do("GET", "/tasks/"+id, "", "If-None-Match", m.Do("GET", "/tasks/"+id, "").Header().Get("ETag"), "Prefer", "wait=60")
		if w.Code != http.StatusNotModified || w.Header().Get("Retry-After") != "" {
			t.Errorf("long poll of a finished task = %d %v", w.Code, w.Header())
		}
	})
}

func TestPreferMakesACreateWaitForItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		for _, tt := range []struct {
			prefer, delay string
			status        int
			applied       string
		}{
			{"wait=5", "1s", 200, "wait=5"},
			{"wait=5", "10s", 202, "wait=5"},
			{"respond-async", "1ms", 202, "respond-async"},
			{"respond-async, wait=5", "1s", 200, "respond-async, wait=5"},
			{"wait=1000", "30s", 200, "wait=60"},
			{"wait=soon", "1ms", 202, ""},
			{"handling=lenient", "1ms", 202, "handling=lenient"},
			{"handling=strict", "1ms", 202, ""},
			{"", "1ms", 202, ""},
		} {
			w := m.Do("POST", "/tasks", `{"agent":"echo","input":{"echo_delay":"`+tt.delay+`"}}`, "Prefer", tt.prefer)
			if w.Code != tt.status || w.Header().Get("Preference-Applied") != tt.applied || w.Header().Get("Location") == "" || w.Header().Get("Vary") != "Prefer" {
				t.Errorf("Prefer: %s = %d %v, want %d", tt.prefer, w.Code, w.Header(), tt.status)
			}
		}
		time.Sleep(time.Minute)
	})
}

func TestListsComeInPagesAndByFilters(t *testing.T) {
	synctest.Test(t, testListPagesAndFilters)
}

func testListPagesAndFilters(t *testing.T) {
	m := meshtest.New(t)
	stop := m.Work(echo.Agent())
	var ids []string
	for i := range 30 {
		body := fmt.Sprintf(`{"agent":"echo","input":%d,"labels":{"parity":"%d"}}`, i, i%2)
		if i%3 == 0 {
			body = fmt.Sprintf(`{"agent":"echo","input":{"echo_fail_permanent":"no"},"labels":{"parity":"%d"}}`, i%2)
		}
		id := m.Create(body)
		m.End(id)
		time.Sleep(time.Millisecond) // changes within one millisecond have no order
		ids = append(ids, id)
	}
	stop()
	for range 5 {
		ids = append(ids, m.Create(`{"agent":"echo","input":0}`))
		time.Sleep(time.Millisecond)
	}
	ids = append(ids, m.Create(`{"agent":"echo","input":0,"delay":"1h"}`))
	list := func(query string, limit int) (all []client.Task) {
		cursor := ""
		for {
			w := m.Do("GET", fmt.Sprintf("/tasks?%s&limit=%d&cursor=%s", query, limit, cursor), "")
			page := meshtest.Decode[struct {
				Tasks []client.Task
				Next  string `json:"next_cursor"`
			}](t, w.Body)
			if len(page.Tasks) > limit || (page.Next != "") != (w.Header().Get("Link") != "") {
				t.Fatalf("page of %d with Link %q", len(page.Tasks), w.Header().Get("Link"))
			}
			all = append(all, page.Tasks...)
			if cursor = page.Next; cursor == "" {
				return all
			}
		}
	}
	for _, limit := range []int{1, 7, 200} {
		all := list("", limit)
		if len(all) != len(ids) {
			t.Fatalf("limit %d: %d tasks, want %d", limit, len(all), len(ids))
		}
		for i, v := range all {
			if want := ids[len(ids)-1-i]; v.TaskID != want {
				t.Fatalf("limit %d: task %d is %s, want %s: newest change first", limit, i, v.TaskID, want)
			}
		}
	}
	tenth := m.Get(ids[10]).CreatedAt.Format(time.RFC3339Nano)
	for query, want := range map[string]int{
		"status=failed": 10, "status=failed,completed": 30, "status=pending": 6, "label.parity=1": 15, "label.parity=1&status=failed": 5,
		"agent=echo": 36, "agent=other": 0, "status=canceled": 0,
		"created_after=" + tenth: 25, "created_before=" + tenth: 10, "created_after=" + tenth + "&status=failed": 6,
	} {
		if got := list(query, 4); len(got) != want {
			t.Errorf("%s: %d tasks, want %d", query, len(got), want)
		}
	}
	w := m.Do("GET", "/tasks?limit=1", "")
	cursor := meshtest.Decode[struct {
		Next string `json:"next_cursor"`
	}](t, w.Body).Next
	if w := m.Do("GET", "/tasks?status=failed&cursor="+cursor, ""); w.Code != http.StatusBadRequest {
		t.Errorf("a cursor with other filters = %d", w.Code)
	}
}

func TestTheListOfAgentsShowsWhatWorkersServe(t *testing.T) {
	m := meshtest.New(t)
	stop := m.Work(echo.Agent(), summarize.Agent())
	natstest.Until(t, "the worker is present", func() bool {
		return meshtest.Decode[struct {
			Live int `json:"live_workers"`
		}](t, m.Do("GET", "/agents/summarize", "").Body).Live == 1
	})
	stop()
	w := m.Do("GET", "/agents/summarize", "")
	got := meshtest.Decode[struct {
		Name   string
		Schema map[string]any `json:"input_schema"`
		Live   int            `json:"live_workers"`
	}](t, w.Body)
	if got.Name != "summarize" || got.Schema["type"] != "object" || got.Live != 0 {
		t.Errorf("agent after its worker left: %+v", got)
	}
}

func TestRoutesAreVersionedAndRequestsNamed(t *testing.T) {
	m := meshtest.New(t)
	m.Work(echo.Agent())
	w := m.Do("POST", "/v1/tasks", `{"agent":"echo","input":1}`, "X-Request-Id", "mine")
	if w.Code != http.StatusAccepted || w.Header().Get("X-Request-Id") != "mine" {
		t.Errorf("/v1/tasks = %d %v", w.Code, w.Header())
	}
	// The trace of the caller is the task's.
	w = m.Do("POST", "/tasks", `{"agent":"echo","input":1}`, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	got := meshtest.Decode[client.Task](t, w.Body)
	if got.TraceID != "0af7651916cd43dd8448eb211c80319c" || m.End(got.TaskID).TraceID != got.TraceID {
		t.Errorf("trace id %s", got.TraceID)
	}
}

// with makes a gateway of its own settings.
func with(m *meshtest.Mesh, change func(*gateway.Config)) http.Handler {
	m.T.Helper()
	cfg := gateway.Default()
	cfg.HTTP = "127.0.0.1:0"
	change(&cfg)
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(g.Close)
	return g.Handler()
}

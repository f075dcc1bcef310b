package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/hook"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// knocks is a mesh with a hook, and a sender who knows its secret.
type knocks struct {
	*meshtest.Mesh
	api.Hook

	verify hook.Verify
	secret string
}

// newHook makes a hook of a style whose other members are more, such as
// `"task":{"agent":"echo"}`.
func newHook(m *meshtest.Mesh, style hook.Style, more string, headers ...string) *knocks {
	m.T.Helper()
	k := &knocks{Mesh: m, verify: hook.Verify{Style: style}, secret: "a secret of the sender"}
	if style == hook.Token {
		k.verify.Header, k.verify.ID = "X-Token", "none"
	}
	verify, _ := json.Marshal(map[string]any{"style": style, "secrets": []string{k.secret}, "header": k.verify.Header, "id": k.verify.ID})
	w := m.Do("POST", "/hooks", `{"verify":`+string(verify)+`,`+more+`}`, headers...)
	if w.Code != http.StatusCreated {
		m.T.Fatalf("POST /hooks = %d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), k.secret) {
		m.T.Errorf("the secret is shown: %s", w.Body)
	}
	k.Hook = meshtest.Decode[api.Hook](m.T, w.Body)
	return k
}

// signed are the headers of a delivery, as name, value pairs.
func (k *knocks) signed(id, body string, headers ...string) []string {
	k.T.Helper()
	h := http.Header{}
	if err := k.verify.Sign(h, k.secret, id, time.Now(), []byte(body)); err != nil {
		k.T.Fatal(err)
	}
	for name := range h {
		headers = append([]string{name, h.Get(name)}, headers...)
	}
	return headers
}

// deliver sends a delivery.
func (k *knocks) deliver(id, body string, headers ...string) *httptest.ResponseRecorder {
	k.T.Helper()
	return meshtest.Call(k.Gateway.Handler(), "POST", "/hooks/"+k.HookID, body, k.signed(id, body, headers...)...)
}

// recent reads the log of the hook.
func (k *knocks) recent() api.HookRecent {
	k.T.Helper()
	w := k.Do("GET", "/hooks/"+k.HookID+"/recent", "")
	if w.Code != 200 {
		k.T.Fatalf("recent = %d %s", w.Code, w.Body)
	}
	return meshtest.Decode[api.HookRecent](k.T, w.Body)
}

// outcomes are those of the log, newest first.
func (k *knocks) outcomes() string {
	var all []string
	for _, d := range k.recent().Deliveries {
		all = append(all, d.Outcome)
	}
	return strings.Join(all, " ")
}

func taskOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	return meshtest.Decode[api.HookAccepted](t, w.Body).TaskID
}

const toEcho = `"task":{"agent":"echo","input":{"from":"request","headers":["X-GitHub-Event"],"merge":{"source":"github"}},"labels":{"by":"hook"}}`

// echoes is a mesh whose agent answers with its input.
func echoes(t *testing.T) *meshtest.Mesh {
	m := meshtest.New(t)
	m.Work(meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }))
	return m
}

func TestADeliveryStartsOneTask(t *testing.T) {
	k := newHook(echoes(t), hook.GitHub, toEcho)
	const body = `{"action":"opened","number":7}`
	w := k.deliver("d-1", body, "X-GitHub-Event", "pull_request", "Authorization", "Bearer theirs", "Cookie", "a=b")
	id := taskOf(t, w)
	if w.Code != 202 || id == "" || w.Header().Get("Idempotent-Replayed") != "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	done := k.End(id)
	if want := `{"body":{"action":"opened","number":7},"headers":{"X-GitHub-Event":"pull_request"},"source":"github"}`; string(done.Result) != want {
		t.Errorf("the agent got %s, want %s", done.Result, want)
	}
	if done.HookID != k.HookID || done.Labels["by"] != "hook" {
		t.Errorf("the task does not say where it comes from: %+v", done)
	}
	again := k.deliver("d-1", body, "X-GitHub-Event", "pull_request")
	if again.Code != 200 || again.Header().Get("Idempotent-Replayed") != "true" || taskOf(t, again) != id {
		t.Errorf("the same delivery again: %d %s", again.Code, again.Body)
	}
	other := k.deliver("d-1", `{"action":"closed"}`)
	if other.Code != 200 || taskOf(t, other) != id {
		t.Errorf("the same delivery with another body: %d %s", other.Code, other.Body)
	}
	if next := k.deliver("d-2", body); next.Code != 202 || taskOf(t, next) == id {
		t.Errorf("another delivery with the same body: %d %s", next.Code, next.Body)
	}
	r := k.recent()
	if k.outcomes() != "accepted repeated repeated accepted" || r.Counts != (api.HookCounts{Accepted: 2, Repeated: 2, BodyDiffers: 1}) || !r.Deliveries[1].BodyDiffers || r.Deliveries[3].TaskID != id || r.Deliveries[3].DeliveryID != "d-1" || r.Deliveries[3].Body != "" {
		t.Errorf("%+v", r)
	}
}

// Each answer of the table, and what is left of it in the log.
func TestWhatASenderIsAnswered(t *testing.T) {
	k := newHook(echoes(t), hook.GitHub, `"accept":[{"header":"X-GitHub-Event","in":["push"]},{"json":"/action","in":["opened"]}],"max_body":100,"keep_bodies":true,`+toEcho)
	const good = `{"action":"opened"}`
	push := []string{"X-GitHub-Event", "push"}
	for _, tt := range []struct {
		what    string
		ask     func() *httptest.ResponseRecorder
		status  int
		code    string
		outcome string
	}{
		{"accepted", func() *httptest.ResponseRecorder { return k.deliver("1", good, push...) }, 202, "", "accepted"},
		{"ping", func() *httptest.ResponseRecorder { return k.deliver("2", `{"zen":"x"}`, "X-GitHub-Event", "ping") }, 200, "", "challenge"},
		{"another event", func() *httptest.ResponseRecorder { return k.deliver("3", good, "X-GitHub-Event", "star") }, 204, "", "ignored"},
		{"another action", func() *httptest.ResponseRecorder { return k.deliver("4", `{"action":"closed"}`, push...) }, 204, "", "ignored"},
		{"a key twice", func() *httptest.ResponseRecorder {
			return k.deliver("5", `{"action":"opened","action":"opened"}`, push...)
		}, 400, "malformed_json", "refused"},
		{"no JSON", func() *httptest.ResponseRecorder { return k.deliver("6", `{"action":`, push...) }, 400, "malformed_json", "refused"},
		{"a wild number", func() *httptest.ResponseRecorder {
			return k.deliver("7", `{"action":"opened","n":1e999999}`, push...)
		}, 422, "number_out_of_range", "refused"},
		{"no signature", func() *httptest.ResponseRecorder {
			return k.Do("POST", "/hooks/"+k.HookID, good, "X-GitHub-Delivery", "8")
		}, 401, "hook_rejected", "rejected"},
		{"no delivery", func() *httptest.ResponseRecorder { return k.deliver("", good, push...) }, 401, "hook_rejected", "rejected"},
		{"another body", func() *httptest.ResponseRecorder {
			return k.Do("POST", "/hooks/"+k.HookID, good+" ", k.signed("9", good)...)
		}, 401, "hook_rejected", "rejected"},
		{"no JSON, and not verified", func() *httptest.ResponseRecorder {
			return k.Do("POST", "/hooks/"+k.HookID, `{"a":1,"a":2`, k.signed("10", good)...)
		}, 401, "hook_rejected", "rejected"},
		{"a large body", func() *httptest.ResponseRecorder { return k.deliver("11", strings.Repeat("x", 101)) }, 413, "body_too_large", ""},
		{"XML", func() *httptest.ResponseRecorder { return k.deliver("12", good, "Content-Type", "application/xml") }, 415, "unsupported_media_type", ""},
		{"packed", func() *httptest.ResponseRecorder { return k.deliver("13", good, "Content-Encoding", "gzip") }, 415, "unsupported_media_type", ""},
		{"no hook", func() *httptest.ResponseRecorder {
			return k.Do("POST", "/hooks/"+unknown(k.HookID), good, k.signed("14", good)...)
		}, 404, "hook_not_found", ""},
		{"no id", func() *httptest.ResponseRecorder { return k.Do("POST", "/hooks/x.*", good) }, 404, "hook_not_found", ""},
	} {
		before := len(k.recent().Deliveries)
		w := tt.ask()
		if w.Code != tt.status || tt.code != "" && meshtest.Code(t, w) != tt.code {
			t.Errorf("%s: %d %s", tt.what, w.Code, w.Body)
		}
		log := k.recent().Deliveries
		switch {
		case tt.outcome == "" && len(log) != before:
			t.Errorf("%s: it is in the log: %+v", tt.what, log[0])
		case tt.outcome != "" && (len(log) != before+1 || log[0].Outcome != tt.outcome || log[0].Size == 0 || log[0].Body == "" || (tt.status > 202) != (log[0].Cause != "")):
			t.Errorf("%s: log %+v", tt.what, log)
		}
	}
}

func TestAHostileBodyOfASenderIsRefused(t *testing.T) {
	k := newHook(echoes(t), hook.Token, `"max_body":1000000,"task":{"agent":"echo","input":{"from":"/x"}}`)
	for name, body := range map[string]string{
		"nested arrays": `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "nested and open": strings.Repeat("[", 100_000),
		"a number": `{"x":1e999999}`, "a long number": `{"x":` + strings.Repeat("9", 100_000) + `}`, "a key twice": `{"x":1,"x":1}`, "a key twice inside": `{"x":{"y":1,"y":2}}`,
		"half a surrogate": `{"x":"\ud800"}`, "no UTF-8": "{\"x\":\"\xff\"}", "two": `{"x":1}{}`, "nothing there": `{"y":1}`, "a list": `[]`, "empty": ``,
	} {
		if w := k.deliver("", body); w.Code != 400 && w.Code != 422 {
			t.Errorf("%s: %d %s", name, w.Code, meshtest.Clipped(w.Body.Bytes()))
		}
	}
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain"} {
		if w := k.deliver("", "x=%zz\xff", "Content-Type", contentType); w.Code != 400 {
			t.Errorf("%s: %d %s", contentType, w.Code, w.Body)
		}
	}
	if w := k.deliver("", "payload="+url.QueryEscape(`{"x":1,"x":2}`), "Content-Type", "application/x-www-form-urlencoded"); w.Code != 400 {
		t.Errorf("a key twice in a form: %d %s", w.Code, w.Body)
	}
	if n := k.Queued(); n > 0 {
		t.Errorf("%d tasks came of it", n)
	}
}

// A delivery answers a task that waits for it, once.
func TestADeliveryAnswersAWaitingTask(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("shop", func(ctx context.Context, job *agent.Job) (any, error) {
		return agent.WaitEvent[map[string]any](ctx, job, "payment", time.Hour)
	}))
	k := newHook(m, hook.Stripe, `"signal":{"task":"/data/object/metadata/task_id","name":"payment"}`)
	id := m.Create(`{"agent":"shop","instruction":"sell"}`)
	paid := func(event, task, more string) *httptest.ResponseRecorder {
		return k.deliver("", fmt.Sprintf(`{"id":%q,"data":{"object":{"metadata":{"task_id":%q}}}%s}`, event, task, more))
	}
	natstest.Until(t, "the task has begun", func() bool { return m.Get(id).Attempt == 1 })
	if w := paid("evt_1", id, ""); w.Code != 202 || taskOf(t, w) != id {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if done := m.End(id); done.Status != "completed" || !strings.Contains(string(done.Result), `"evt_1"`) {
		t.Errorf("%+v", done)
	}
	if w := paid("evt_1", id, ""); w.Code != 200 || taskOf(t, w) != id {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
	if w := paid("evt_1", id, `,"x":1`); w.Code != 200 || k.recent().Counts.BodyDiffers != 1 {
		t.Errorf("again with another body: %d %s", w.Code, w.Body)
	}
	for event, task := range map[string]string{"evt_2": id, "evt_3": unknown(id), "evt_4": "tsk_*", "evt_5": ""} {
		if w := paid(event, task, ""); w.Code != 204 || k.recent().Deliveries[0].Cause == "" {
			t.Errorf("%s for %q: %d %s, %+v", event, task, w.Code, w.Body, k.recent().Deliveries[0])
		}
	}
}

// Whatever the cause is that a request is not believed, its sender reads one text.
func TestARejectedSenderLearnsNothing(t *testing.T) {
	k := newHook(echoes(t), hook.Stripe, toEcho)
	old := http.Header{}
	if err := k.verify.Sign(old, k.secret, "", time.Now().Add(-time.Hour), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	texts, causes := map[string]bool{}, map[string]bool{}
	for _, signature := range []string{"", "t=1", "t=+1,v1=00", old.Get("Stripe-Signature"), strings.Replace(k.signed("", "{}")[1], "v1=", "v1=00", 1), strings.Repeat("v1=00,", 10_000) + "t=1"} {
		w := k.Do("POST", "/hooks/"+k.HookID, "{}", "Stripe-Signature", signature)
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%.40s: %d %s", signature, w.Code, w.Body)
		}
		texts[traceOf.ReplaceAllString(w.Body.String(), "")] = true
		causes[k.recent().Deliveries[0].Cause] = true
	}
	if len(texts) != 1 || len(causes) < 4 {
		t.Errorf("%d texts, %d causes: %v", len(texts), len(causes), causes)
	}
}

func TestSlackIsAnsweredItsChallengeOnceItIsVerified(t *testing.T) {
	k := newHook(echoes(t), hook.Slack, `"task":{"agent":"echo"}`)
	const body = `{"type":"url_verification","challenge":"<b>3eZb</b>"}`
	w := k.deliver("", body)
	if w.Code != 200 || w.Body.String() != "<b>3eZb</b>" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if w := k.Do("POST", "/hooks/"+k.HookID, body, "X-Slack-Signature", "v0=00", "X-Slack-Request-Timestamp", fmt.Sprint(time.Now().Unix())); w.Code != 401 {
		t.Errorf("not verified: %d %s", w.Code, w.Body)
	}
	const command = "command=%2Fweather&text=94070&trigger_id=13345224609.738474920"
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	first, second := k.deliver("", command, form...), k.deliver("", command, form...)
	if first.Code != 202 || second.Code != 200 {
		t.Errorf("a command: %d %s, again %d", first.Code, first.Body, second.Code)
	}
	if got := k.End(taskOf(t, first)); !strings.Contains(string(got.Result), `"text":"94070"`) {
		t.Errorf("the agent got %s", got.Result)
	}
}

// A delivery without an id is a new one each time, also with the same body.
func TestDeliveriesWithoutAnIDAreAllNew(t *testing.T) {
	k := newHook(echoes(t), hook.Token, `"task":{"agent":"echo"}`)
	seen := map[string]bool{}
	for range 3 {
		w := k.deliver("", `{}`)
		if w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		seen[taskOf(t, w)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d tasks of 3 pings", len(seen))
	}
}

// Whichever gateway a delivery and its repeats come to, and whether or not one of
// them was told of the first: there is one task.
func TestADeliveryIsDoneOnceAtManyGateways(t *testing.T) {
	m := echoes(t)
	k := newHook(m, hook.GitHub, toEcho)
	others := []http.Handler{m.Gateway.Handler()}
	for range 2 {
		st, _ := m.OpenStore()
		others = append(others, m.NewGateway(st).Handler())
	}
	for n := range 5 {
		body, id := fmt.Sprintf(`{"n":%d}`, n), fmt.Sprintf("d-%d", n)
		headers := k.signed(id, body)
		var mu sync.Mutex
		var all sync.WaitGroup
		codes, ids := map[int]int{}, map[string]bool{}
		for i := range 12 {
			all.Go(func() {
				w := meshtest.Call(others[i%len(others)], "POST", "/hooks/"+k.HookID, body, headers...)
				mu.Lock()
				defer mu.Unlock()
				codes[w.Code]++
				if w.Code > 202 {
					t.Log(w.Body)
				}
				ids[taskOf(t, w)] = true
			})
		}
		all.Wait()
		if len(ids) != 1 || codes[202] != 1 || codes[200] != 11 {
			t.Errorf("tasks %v, answers %v", ids, codes)
		}
	}
}

func TestAHookThatCannotTakeADeliveryTellsItsSenderToRepeat(t *testing.T) {
	m := echoes(t)
	k := newHook(m, hook.GitHub, toEcho)
	if w := m.Do("POST", "/hooks/"+k.HookID+"/pause", `{"note":"migration"}`); w.Code != 200 {
		t.Fatalf("pause = %d %s", w.Code, w.Body)
	}
	if w := k.deliver("1", `{}`); w.Code != 503 || meshtest.Code(t, w) != "hook_paused" || w.Header().Get("Retry-After") == "" {
		t.Errorf("paused: %d %s", w.Code, w.Body)
	}
	if w := m.Do("POST", "/hooks/"+k.HookID+"/resume", ""); w.Code != 200 {
		t.Fatalf("resume = %d %s", w.Code, w.Body)
	}
	if w := k.deliver("1", `{}`); w.Code != 202 {
		t.Errorf("resumed: %d %s", w.Code, w.Body)
	}
	lone := newHook(m, hook.GitHub, `"session":{"agent":"echo","key":"/k","text":"/t"}`)
	if w := lone.deliver("1", `{"k":"a"}`); w.Code != 422 || meshtest.Code(t, w) != "validation_failed" {
		t.Errorf("no text: %d %s", w.Code, w.Body)
	}
}

func TestADeliveryIsRepeatedWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := echoes(t)
		k := newHook(m, hook.GitHub, toEcho)
		gate := &meshtest.Gate{Server: m.Server}
		far := m.NewGateway(m.StoreThrough(gate)).Handler()
		headers := k.signed("9", `{}`)
		gate.Freeze()
		w := meshtest.Call(far, "POST", "/hooks/"+k.HookID, `{}`, headers...)
		gate.Thaw()
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("store away: %d %s", w.Code, w.Body)
		}
		if p := meshtest.Problem(t, w); p.Code != "store_unavailable" || !strings.Contains(p.Detail, "Send the delivery again") {
			t.Errorf("%+v", p)
		}
		if w := meshtest.Call(far, "POST", "/hooks/"+k.HookID, `{}`, headers...); w.Code != 202 {
			t.Errorf("it is back: %d %s", w.Code, w.Body)
		}
	})
}

func TestADeliverySpeaksInTheSessionOfItsKey(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	k := newHook(m, hook.Slack, `"session":{"agent":"counter","key":"/event/channel","text":"/event/text"}`)
	say := func(event, channel, text string) (string, int) {
		w := k.deliver("", fmt.Sprintf(`{"event_id":%q,"event":{"channel":%q,"text":%q}}`, event, channel, text))
		id := taskOf(t, w)
		if id != "" && w.Code == 202 {
			m.End(id)
		}
		return id, w.Code
	}
	first, code := say("E1", "C1", "one")
	if code != 202 {
		t.Fatalf("%d", code)
	}
	second, _ := say("E2", "C1", "two")
	third, _ := say("E3", "C2", "three")
	session := func(id string) string { return m.Record(id).SessionID }
	if session(first) == "" || session(first) != session(second) || session(first) == session(third) {
		t.Errorf("sessions %s, %s, %s", session(first), session(second), session(third))
	}
	if again, code := say("E2", "C1", "two"); again != second || code != 200 {
		t.Errorf("the same event again: %s, %d", again, code)
	}
	if again, code := say("E2", "C1", "other"); again != second || code != 200 || k.recent().Counts.BodyDiffers != 1 {
		t.Errorf("the same event with another text: %s, %d", again, code)
	}
	if w := m.Do("DELETE", "/sessions/"+session(first), ""); w.Code != 204 {
		t.Fatalf("delete = %d", w.Code)
	}
	fourth, code := say("E4", "C1", "four")
	if code != 202 || session(fourth) == session(first) {
		t.Errorf("after the session was deleted: %d, session %s", code, session(fourth))
	}
	var at sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids { // the first ones of a key come together
		at.Go(func() { ids[i], _ = say(fmt.Sprintf("F%d", i), "C9", "hi") })
	}
	at.Wait()
	for _, id := range ids {
		if session(id) != session(ids[0]) {
			t.Errorf("one key has the sessions %s and %s", session(id), session(ids[0]))
		}
	}
}

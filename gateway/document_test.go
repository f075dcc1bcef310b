package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// described is the OpenAPI document as far as the test reads it.
type described struct {
	Paths map[string]map[string]struct {
		ID        string `json:"operationId"`
		Responses map[string]struct {
			Headers map[string]any
			Content map[string]struct {
				Schema struct {
					Ref string `json:"$ref"`
				}
			}
		}
	}
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

// inspector compares answers with the document.
type inspector struct {
	m       *meshtest.Mesh
	doc     described
	schemas *jsonschema.Compiler
	asked   map[string]bool // operations that have answered as they should
}

func newInspector(t *testing.T, m *meshtest.Mesh) *inspector {
	t.Helper()
	i := &inspector{m: m, schemas: jsonschema.NewCompiler(), asked: map[string]bool{}}
	raw := m.Do("GET", "/openapi.json", "").Body.Bytes()
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err == nil {
		err = i.schemas.AddResource("openapi.json", whole)
	}
	if err == nil {
		err = json.Unmarshal(raw, &i.doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	i.schemas.AssertFormat()
	return i
}

// find is the path and the method of an operation.
func (i *inspector) find(t *testing.T, id string) (path, method string) {
	t.Helper()
	for path, methods := range i.doc.Paths {
		for method, op := range methods {
			if op.ID == id {
				return path, method
			}
		}
	}
	t.Fatalf("the document has no operation %s", id)
	return "", ""
}

// ask calls an operation with the values of its path and checks the answer.
func (i *inspector) ask(t *testing.T, id string, want int, values []string, query, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	path, method := i.find(t, id)
	target := path
	for _, v := range values {
		before, rest, _ := strings.Cut(target, "{")
		_, after, _ := strings.Cut(rest, "}")
		target = before + v + after
	}
	verb := strings.ToUpper(method)
	if id == "allEvents" || id == "sessionEvents" { // which do not end by themselves
		verb = "HEAD"
	}
	w := i.m.Do(verb, target+query, body, headers...)
	if w.Code != want {
		t.Errorf("%s: %s %s = %d %s, want %d", id, verb, target+query, w.Code, meshtest.Clipped(w.Body.Bytes()), want)
		return w
	}
	for _, fault := range i.faults(path, method, w) {
		t.Errorf("%s answers %d: %s", id, w.Code, fault)
	}
	if want < 400 {
		i.asked[id] = true
	}
	return w
}

// faults is what an answer has that the document has not, or has otherwise.
func (i *inspector) faults(path, method string, w *httptest.ResponseRecorder) (faults []string) {
	said, ok := i.doc.Paths[path][method].Responses[strconv.Itoa(w.Code)]
	if !ok {
		return []string{"the status is not documented"}
	}
	for _, name := range []string{"ETag", "Location", "Link", "Idempotent-Replayed", "Preference-Applied"} {
		if w.Header().Get(name) != "" && said.Headers[name] == nil {
			faults = append(faults, "the header "+name+" is not documented")
		}
	}
	media, _, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
	content, ok := said.Content[media]
	switch {
	case media == "" && len(said.Content) == 0:
	case !ok:
		faults = append(faults, fmt.Sprintf("the content type %q is not documented", media))
	case strings.HasSuffix(media, "json") && w.Body.Len() > 0:
		faults = append(faults, i.wrong(content.Schema.Ref, w.Body.String())...)
	}
	return faults
}

// wrong compares a body with a schema, and its members with those that are there.
func (i *inspector) wrong(ref, body string) (faults []string) {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		return []string{"the body is no JSON: " + err.Error()}
	}
	if ref == "" {
		return nil
	}
	schema, err := i.schemas.Compile("openapi.json" + ref)
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		faults = append(faults, err.Error())
	}
	known := i.doc.Components.Schemas[ref[strings.LastIndex(ref, "/")+1:]].Properties
	if members, ok := value.(map[string]any); ok {
		for name := range members {
			if known[name] == nil {
				faults = append(faults, "the member "+name+" is not documented")
			}
		}
	}
	return faults
}

// refuse asks an operation for something that is not there, and with a parameter
// that it does not take.
func (i *inspector) refuse(t *testing.T, id string) {
	t.Helper()
	path, method := i.find(t, id)
	if _, ok := i.doc.Paths[path][method].Responses["400"]; !ok {
		return // a probe
	}
	nothing := slices.Repeat([]string{"nothing"}, strings.Count(path, "{"))
	if id == "receiveHook" { // which takes what the senders of others send
		i.ask(t, id, 404, nothing, "?unknown=1", "")
		return
	}
	i.ask(t, id, 400, nothing, "?unknown=1", "")
	if len(nothing) == 0 || method == "put" { // which makes what is not there
		return
	}
	asJSON := []string{"Content-Type", "application/json"}
	switch {
	case id == "updateHook":
		i.ask(t, id, 404, nothing, "", `{"name":"n"}`, asJSON...)
	case id == "rotateHookSecret":
		i.ask(t, id, 404, nothing, "", `{"secret":"s"}`)
	case id == "updateSchedule":
		i.ask(t, id, 404, nothing, "", `{"max_runs":1}`, asJSON...)
	case id == "backfillSchedule":
		i.ask(t, id, 404, nothing, "", `{"from":"2000-01-01T00:00:00Z","to":"2000-01-01T00:00:00Z"}`, asJSON...)
	case method == "patch":
		i.ask(t, id, 404, nothing, "", `{"enabled":true}`, asJSON...)
	default:
		body := map[string]string{"verifySignature": `{"headers":{},"body":""}`, "postMessage": `{"text":"x"}`, "tellStep": `{"type":"started","name":"x"}`, "answerTask": `{"name":"x","value":1}`, "answerAction": `{"name":"x","value":1}`}[id]
		i.ask(t, id, 404, nothing, "", body)
	}
}

func TestEveryRouteAnswersAsTheDocumentSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.Started(t)
		m.Work(meshtest.Named("holds", func(ctx context.Context, _ *agent.Job) (any, error) { <-ctx.Done(); return nil, ctx.Err() }))
		r := m.Receive(nil)
		leases := make(chan string, 1)
		m.Work(keeping(leases))
		i := newInspector(t, m)
		i.tasks(t, r.URL)
		i.steps(t, leases)
		i.sessions(t)
		i.webhooks(t, r.URL)
		i.keys(t)
		i.tenants(t)
		i.schedules(t)
		i.hooks(t)
		for _, id := range []string{"getIndex", "webhookKeys", "listAgents", "getStats", "getStatsHistory", "listAudit", "getVersion", "whoAmI", "listProblems", "healthz", "allEvents", "listDeliveries", "listBudgets"} {
			i.ask(t, id, 200, nil, "", "")
		}
		i.ask(t, "readyz", 503, nil, "", "") // of a gateway that does not run
		i.ask(t, "getAgent", 200, []string{"echo"}, "", "")
		i.ask(t, "getProblem", 200, []string{"not_found"}, "", "")
		i.ask(t, "deleteAgent", 409, []string{"echo"}, "", "")
		i.ask(t, "pauseAgent", 200, []string{"echo"}, "", `{"for":"1h"}`)
		i.ask(t, "pauseAgent", 422, []string{"echo"}, "", `{"for":"-1h"}`)
		i.ask(t, "resumeAgent", 200, []string{"echo"}, "", "")
		i.bulk(t)
		i.audited(t)
		for _, methods := range i.doc.Paths {
			for _, op := range methods {
				i.refuse(t, op.ID)
				if !i.asked[op.ID] && op.ID != "deleteAgent" && op.ID != "readyz" {
					t.Errorf("%s was never called with success", op.ID)
				}
			}
		}
	})
}

func (i *inspector) tasks(t *testing.T, callback string) {
	key := []string{"Idempotency-Key", "one"}
	task := meshtest.Decode[api.Accepted](t, i.ask(t, "createTask", 202, nil, "", `{"agent":"echo","instruction":"x"}`, key...).Body).TaskID
	i.ask(t, "createTask", 202, nil, "", `{"agent":"echo","instruction":"x"}`, key...)
	i.ask(t, "createTask", 200, nil, "", `{"agent":"echo","input":{"a":1}}`, "Prefer", "wait=10")
	i.ask(t, "createTask", 422, nil, "", `{"agent":"echo"}`)
	later := meshtest.Decode[api.Accepted](t, i.ask(t, "createTask", 202, nil, "", `{"agent":"echo","input":[1],"delay":"1h"}`).Body).TaskID
	i.ask(t, "getTask", 200, []string{later}, "?include=input", "")
	i.ask(t, "getTaskInput", 200, []string{later}, "", "")
	i.ask(t, "getTaskResult", 404, []string{later}, "", "")
	i.ask(t, "answerTask", 202, []string{later}, "", `{"name":"approve","value":true}`, "Idempotency-Key", "answer")
	i.ask(t, "answerTask", 202, []string{later}, "", `{"name":"approve","value":true}`, "Idempotency-Key", "answer")
	i.ask(t, "answerTask", 422, []string{later}, "", `{"value":true}`)
	i.ask(t, "cancelTask", 200, []string{later}, "", "")
	i.ask(t, "answerTask", 409, []string{later}, "", `{"name":"approve","value":true}`)
	i.ask(t, "retryTask", 202, []string{later}, "", "")
	i.ask(t, "retryTask", 422, []string{later}, "", `{"from":"charge"}`)
	time.Sleep(time.Minute)
	w := i.ask(t, "getTask", 200, []string{task}, "", "")
	i.ask(t, "getTask", 304, []string{task}, "", "", "If-None-Match", w.Header().Get("ETag"))
	i.ask(t, "getTaskResult", 200, []string{task}, "", "")
	i.ask(t, "taskEvents", 200, []string{task}, "", "")
	i.ask(t, "taskEvents", 200, []string{task}, "", "", "Accept", "application/json")
	i.ask(t, "taskEvents", 204, []string{task}, "", "", "Last-Event-ID", strings.Trim(w.Header().Get("ETag"), `"`))
	i.ask(t, "cancelTask", 409, []string{task}, "", "")
	i.ask(t, "taskDeliveries", 200, []string{task}, "", "")
	i.ask(t, "listTasks", 200, nil, "?limit=1", "")

	action := meshtest.Decode[api.AcceptedAction](t, i.ask(t, "createAction", 202, nil, "", `{"agent":"echo","input":{"a":1},"callback_url":"`+callback+`"}`).Body).ActionID
	waits := meshtest.Decode[api.AcceptedAction](t, i.ask(t, "createAction", 202, nil, "", `{"agent":"echo","instruction":"x","delay":"1h","callback_url":"`+callback+`"}`).Body).ActionID
	time.Sleep(time.Minute)
	for _, id := range []string{"getAction", "getActionResult", "getActionInput", "actionSteps", "actionEvents", "actionDeliveries"} {
		i.ask(t, id, 200, []string{action}, "", "")
	}
	again := i.ask(t, "redeliverAction", 202, []string{action}, "", "")
	delivery := meshtest.Decode[api.Redelivered](t, again.Body).Deliveries[0].DeliveryID
	time.Sleep(time.Minute)
	i.ask(t, "getDelivery", 200, []string{delivery}, "", "")
	i.ask(t, "redeliver", 202, []string{delivery}, "", "")
	i.ask(t, "redeliverAction", 409, []string{waits}, "", "")
	i.ask(t, "answerAction", 202, []string{waits}, "", `{"name":"approve","value":null}`)
	i.ask(t, "cancelAction", 200, []string{waits}, "", "")
	i.ask(t, "retryAction", 202, []string{waits}, "", "")
}

func (i *inspector) bulk(t *testing.T) {
	task := meshtest.Decode[api.Accepted](t, i.ask(t, "createTask", 202, nil, "", `{"agent":"echo","instruction":"x","delay":"1h"}`).Body).TaskID
	i.ask(t, "deleteTask", 409, []string{task}, "", "")
	i.ask(t, "bulkTasks", 200, nil, "", `{"action":"cancel","filter":{"status":["pending"]},"dry_run":true,"limit":1}`)
	i.ask(t, "bulkTasks", 200, nil, "", `{"action":"cancel","filter":{"status":["pending"]}}`)
	i.ask(t, "bulkTasks", 422, nil, "", `{"action":"cancel","filter":{"status":["failed"]}}`)
	i.ask(t, "bulkTasks", 400, nil, "", `{"action":"retry","filter":{},"cursor":"x"}`)
	i.ask(t, "bulkDeliveries", 200, nil, "", `{"action":"redeliver","filter":{"status":["delivered"],"class":"delivered"}}`)
	time.Sleep(time.Minute) // the notifier reads its end
	i.ask(t, "deleteTask", 204, []string{task}, "", "")
	i.ask(t, "deleteTask", 404, []string{task}, "", "")
}

func (i *inspector) schedules(t *testing.T) {
	asJSON := []string{"Content-Type", "application/json"}
	const hourly = `{"cron":["0 * * * *"],"timezone":"Europe/Berlin","task":{"agent":"echo","instruction":"x","timeout":"1m","max_attempts":2},"labels":{"a":"b"},"catch_up":{"window":"1h"},"jitter":"1m"}`
	s := meshtest.Decode[api.Schedule](t, i.ask(t, "createSchedule", 201, nil, "", hourly).Body)
	if s.Timezone != "Europe/Berlin" || len(s.NextAt) != 5 || s.Task.Labels["a"] != "b" || s.CatchUp.Window != "1h0m0s" || s.CatchUp.Policy != "one" || *s.Task.MaxAttempts != 2 {
		t.Errorf("made %+v", s)
	}
	one := []string{s.ScheduleID}
	i.ask(t, "createSchedule", 422, nil, "", `{"cron":["x"]}`)
	i.ask(t, "putSchedule", 201, []string{"nightly"}, "", hourly, asJSON...)
	i.ask(t, "putSchedule", 200, []string{"nightly"}, "", hourly, asJSON...)
	i.ask(t, "listSchedules", 200, nil, "", "")
	tag := i.ask(t, "getSchedule", 200, one, "", "").Header().Get("ETag")
	i.ask(t, "updateSchedule", 200, one, "", `{"every":"90s","cron":[],"jitter":""}`, append(asJSON, "If-Match", tag)...)
	i.ask(t, "updateSchedule", 412, one, "", `{"max_runs":3}`, append(asJSON, "If-Match", tag)...)
	i.ask(t, "pauseSchedule", 200, one, "", `{"note":"holidays"}`)
	i.ask(t, "resumeSchedule", 200, one, "", "")
	i.ask(t, "triggerSchedule", 202, one, "", "")
	i.ask(t, "backfillSchedule", 202, one, "", `{"from":"2000-01-01T00:00:00Z","to":"2000-01-01T00:00:00Z"}`, asJSON...)
	i.ask(t, "scheduleRuns", 200, one, "", "")
	i.ask(t, "previewSchedule", 200, nil, "", `{"cron":["30 2 * * *"],"timezone":"Europe/Berlin","count":3,"from":"2027-03-26T00:00:00Z"}`)
	i.ask(t, "previewSchedule", 422, nil, "", `{"count":0,"every":"90s"}`)
	i.ask(t, "deleteSchedule", 204, one, "", "")
}

func (i *inspector) hooks(t *testing.T) {
	asJSON := []string{"Content-Type", "application/json"}
	const tokens = `{"verify":{"style":"token","header":"X-Token","id":"X-Id","secrets":["s"]},"accept":[{"header":"X-Event","in":["push","ping"]}],"task":{"agent":"echo","timeout":"1m","max_attempts":2,"input":{"merge":{"a":1}}}}`
	h := meshtest.Decode[api.Hook](t, i.ask(t, "createHook", 201, nil, "", tokens).Body)
	if h.MaxBody != 1<<20 || h.Task.Input.From != "body" || *h.Task.MaxAttempts != 2 || h.Verify.Secrets != nil || !strings.HasSuffix(h.URL, "/hooks/"+h.HookID) {
		t.Errorf("made %+v", h)
	}
	one := []string{h.HookID}
	i.ask(t, "createHook", 422, nil, "", `{"verify":{"style":"token"}}`)
	i.ask(t, "listHooks", 200, nil, "", "")
	tag := i.ask(t, "getHook", 200, one, "", "").Header().Get("ETag")
	i.ask(t, "updateHook", 200, one, "", `{"name":"n"}`, append(asJSON, "If-Match", tag)...)
	i.ask(t, "updateHook", 412, one, "", `{"name":"n"}`, append(asJSON, "If-Match", tag)...)
	i.ask(t, "pauseHook", 200, one, "", `{"note":"n"}`)
	i.ask(t, "receiveHook", 503, one, "", `{}`)
	i.ask(t, "resumeHook", 200, one, "", "")
	i.ask(t, "rotateHookSecret", 200, one, "", `{"secret":"t","overlap":"1h"}`)
	sender := []string{"X-Token", "s", "X-Id", "1", "X-Event", "push"}
	i.ask(t, "receiveHook", 202, one, "?source=them", `{}`, sender...)
	i.ask(t, "receiveHook", 200, one, "", `{}`, sender...)
	i.ask(t, "receiveHook", 204, one, "", `{}`, "X-Token", "t", "X-Id", "2", "X-Event", "star")
	i.ask(t, "receiveHook", 401, one, "", `{}`, "X-Token", "u", "X-Id", "3")
	i.ask(t, "receiveHook", 400, one, "", `{`, sender...)
	i.ask(t, "receiveHook", 415, one, "", `x`, append(sender, "Content-Type", "text/html")...)
	i.ask(t, "recentHook", 200, one, "", "")
	i.ask(t, "deleteHook", 204, one, "", "")
}

func (i *inspector) steps(t *testing.T, leases <-chan string) {
	task := []string{meshtest.Decode[api.Accepted](t, i.ask(t, "createTask", 202, nil, "", `{"agent":"keeps","instruction":"x"}`).Body).TaskID}
	lease := meshtest.As(<-leases)
	i.ask(t, "tellStep", 201, task, "", `{"type":"step","name":"charge","value":{"receipt":7}}`, lease...)
	i.ask(t, "tellStep", 201, task, "", `{"type":"checkpoint","value":1,"ack":true}`, lease...)
	i.ask(t, "tellStep", 422, task, "", `{"type":"step","name":"charge"}`, lease...)
	i.ask(t, "taskSteps", 200, task, "?include=values&limit=1", "")
	i.ask(t, "taskSteps", 400, task, "?cursor=x", "")
	i.ask(t, "stepValue", 200, task, "?name=charge", "")
	i.ask(t, "stepValue", 404, task, "?name=other", "")
	i.ask(t, "tellStep", 409, task, "", `{"type":"step","name":"charge","value":1}`)
}

func (i *inspector) keys(t *testing.T) {
	once := []string{"Idempotency-Key", "one"}
	k := meshtest.Decode[api.APIKey](t, i.ask(t, "createKey", 201, nil, "", `{"scopes":["admin"],"expires_at":"2100-01-01T00:00:00Z"}`, once...).Body).KeyID
	i.ask(t, "createKey", 409, nil, "", `{"scopes":["admin"]}`, once...)
	i.ask(t, "createKey", 422, nil, "", `{"scopes":["all"]}`)
	i.ask(t, "listKeys", 200, nil, "?tenant=default", "")
	i.ask(t, "getKey", 200, []string{k}, "", "")
	heir := meshtest.Decode[api.APIKey](t, i.ask(t, "rotateKey", 201, []string{k}, "", `{"overlap":"0s"}`).Body).KeyID
	i.ask(t, "rotateKey", 409, []string{k}, "", "")
	i.ask(t, "revokeKey", 400, []string{heir}, "?force=yes", "")
	i.ask(t, "revokeKey", 409, []string{heir}, "", "")
	i.ask(t, "revokeKey", 204, []string{heir}, "?force=true", "")
}

func (i *inspector) sessions(t *testing.T) {
	s := meshtest.Decode[api.SessionCreated](t, i.ask(t, "createSession", 201, nil, "", `{"agent":"echo"}`).Body).SessionID
	turn := meshtest.Decode[api.TurnReply](t, i.ask(t, "postMessage", 200, []string{s}, "", `{"text":"x"}`, "Idempotency-Key", "k").Body).TurnID
	i.ask(t, "postMessage", 202, []string{s}, "", `{"text":"y"}`, "Prefer", "respond-async")
	time.Sleep(time.Minute)
	i.ask(t, "postMessage", 412, []string{s}, "", `{"text":"y"}`, "If-Match", `"1"`)
	i.ask(t, "getTurn", 200, []string{s, turn}, "", "")
	i.ask(t, "cancelTurn", 409, []string{s, turn}, "", "")
	busy := meshtest.Decode[api.SessionCreated](t, i.ask(t, "createSession", 201, nil, "", `{"agent":"holds"}`).Body).SessionID
	open := meshtest.Decode[api.AcceptedTurn](t, i.ask(t, "postMessage", 202, []string{busy}, "", `{"text":"x"}`, "Prefer", "respond-async").Body).TurnID
	i.ask(t, "cancelTurn", 200, []string{busy, open}, "", "")
	i.ask(t, "getSession", 200, []string{s}, "?include=state", "")
	i.ask(t, "getSession", 400, []string{s}, "?include=all", "")
	i.ask(t, "forkSession", 201, []string{s}, "", `{"state":{"n":1}}`, "Idempotency-Key", "fork")
	i.ask(t, "forkSession", 422, []string{s}, "", `{"after":99}`)
	i.ask(t, "getMessages", 200, []string{s}, "", "")
	i.ask(t, "sessionEvents", 200, []string{s}, "", "")
	i.ask(t, "listSessions", 200, nil, "", "")
	i.ask(t, "deleteSession", 204, []string{s}, "", "")
	i.ask(t, "getSession", 404, []string{s}, "", "")
}

func (i *inspector) tenants(t *testing.T) {
	put := []string{"Content-Type", "application/json"}
	i.ask(t, "setTenant", 201, []string{"acme"}, "", `{"limits":{"rate":0.5,"pending":0}}`, put...)
	i.ask(t, "setTenant", 200, []string{"acme"}, "", `{}`, put...)
	i.ask(t, "setTenant", 422, []string{"acme"}, "", `{"limits":{"rat":1}}`, put...)
	i.ask(t, "setTenant", 422, []string{"_x"}, "", `{}`, put...)
	i.ask(t, "listTenants", 200, nil, "", "")
	i.ask(t, "getTenant", 200, []string{"acme"}, "", "")
	i.ask(t, "deleteTenant", 204, []string{"acme"}, "", "")
}

func (i *inspector) webhooks(t *testing.T, url string) {
	hook := meshtest.Decode[api.Webhook](t, i.ask(t, "createWebhook", 201, nil, "", `{"url":"`+url+`"}`).Body).WebhookID
	i.ask(t, "createWebhook", 422, nil, "", `{"url":"x"}`)
	i.ask(t, "listWebhooks", 200, nil, "", "")
	i.ask(t, "getWebhook", 200, []string{hook}, "", "")
	i.ask(t, "updateWebhook", 200, []string{hook}, "", `{"description":"d"}`, "Content-Type", "application/json")
	i.ask(t, "rotateSecret", 200, []string{hook}, "", `{"overlap":"1h"}`)
	i.ask(t, "testWebhook", 200, []string{hook}, "", "")
	i.ask(t, "verifySignature", 200, []string{hook}, "", `{"headers":{},"body":"{}"}`)
	i.ask(t, "redeliverWebhook", 202, []string{hook}, "", "")
	i.ask(t, "deleteWebhook", 204, []string{hook}, "", "")
}

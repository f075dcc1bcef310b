package gateway

import (
	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// bare is a gateway that is asked for refusals only: nothing behind it is
// reached.
func bare() http.Handler {
	return bareGateway().handler
}

func bareGateway() *Gateway { return assemble(Default(), nil, slog.New(slog.DiscardHandler)) }

// refusal sends a request and reads the problem that it is answered with.
func refusal(t *testing.T, h http.Handler, method, target, body string, headers ...string) (*httptest.ResponseRecorder, api.Problem) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s %s = %d %s, which is no problem", method, target, w.Code, mesh.Clip(w.Body.String(), 200))
	}
	return w, p
}

func TestAMisspelledFilterListsNothing(t *testing.T) {
	h := bare()
	for target, hint := range map[string]string{
		"/tasks?state=failed":                         "did you mean status?",
		"/tasks?Status=failed":                        "did you mean status?",
		"/tasks?lable.team=x":                         "did you mean label.",
		"/tasks?label.=x":                             "label.",
		"/tasks?zzzzzzzzzzzz=1":                       "known are status",
		"/tasks?status=":                              "status is empty",
		"/tasks?status=failed&status=":                "status is empty",
		"/tasks?agent=a&agent=b":                      "agent is there 2 times",
		"/tasks?label.a=1&label.a=2":                  "label.a is there 2 times",
		"/tasks?status=failed;agent=echo":             "malformed",
		"/tasks?a=1;b=2":                              "malformed",
		"/tasks?agent=%zz":                            "malformed",
		"/tasks?wait=10s":                             `no parameter "wait"`,
		"/v1/tasks?state=failed":                      "did you mean status?",
		"/agents?name=echo":                           "takes none",
		"/sessions?agents=a":                          "did you mean agent?",
		"/deliveries?status=dead&typ=x":               "did you mean type?",
		"/events?types=task.completed":                "did you mean type?",
		"/events?agent=":                              "agent is empty",
		"/tasks/tsk_1/events?afer=1":                  "did you mean after?",
		"/problems/not_found?code=x":                  "takes none",
		"/stats?" + strings.Repeat("x", 1<<16) + "=1": "takes none",
	} {
		w, p := refusal(t, h, "GET", target, "")
		if w.Code != 400 || p.Code != "bad_query" || !strings.Contains(p.Detail, hint) || len(p.Detail) > 1000 {
			t.Errorf("GET %s = %d %s %q, want 400 with %q", mesh.Clip(target, 80), w.Code, p.Code, mesh.Clip(p.Detail, 200), hint)
		}
	}
	if w, p := refusal(t, h, "POST", "/tasks?agnt=echo", `{"instruction":"x"}`); w.Code != 400 || p.Code != "bad_query" {
		t.Errorf("POST /tasks?agnt=echo = %d %s", w.Code, p.Code)
	}
}

func TestStatusesMayBeListedOrRepeated(t *testing.T) {
	for _, q := range []string{"status=failed,canceled", "status=failed&status=canceled"} {
		r := httptest.NewRequest("GET", "/tasks?"+q+"&label.k=&label.team=search", nil)
		op := operation("GET", "/tasks", auth.TasksRead, "", "", tasks{}.listTasks)
		query, err := checkQuery(r, &op, false)
		if err != nil {
			t.Errorf("%s: %v", q, err)
		}
		var in taskQuery
		if err := op.takes.read(&call{r: r, query: query}, reflect.ValueOf(&in).Elem()); err != nil {
			t.Fatal(err)
		}
		f, err := in.filter()
		if err != nil || len(f.Statuses) != 2 || f.Statuses[1] != "canceled" {
			t.Errorf("%s is read as %+v, %v", q, f, err)
		}
		if v, ok := f.Labels["k"]; !ok || v != "" {
			t.Errorf("label.k= does not mean the empty value: %v", f.Labels)
		}
	}
}

func TestAMisspelledMemberDoesNotRun(t *testing.T) {
	h := bare()
	for _, tt := range []struct{ path, body, pointer, hint string }{
		{"/tasks", `{"instruction":"x","dealy":"90s"}`, "/dealy", "did you mean delay?"},
		{"/tasks", `{"instruction":"x","Agent":"other"}`, "/Agent", "did you mean agent?"},
		{"/tasks", `{"INPUT":1}`, "/INPUT", "did you mean input?"},
		{"/tasks", `{"instruction":"x","a/b":1}`, "/a~1b", "known are agent"},
		{"/tasks", `{"instruction":"x","status":"completed"}`, "/status", "there is no such member"},
		{"/tasks", `{"instruction":"x","max_attempts":0}`, "/max_attempts", "1 to 100"},
		{"/tasks", `{"instruction":"x","max_attempts":2.5}`, "/max_attempts", "whole number"},
		{"/tasks", `{"instruction":"x","labels":{"a":1}}`, "/labels/a", "string"},
		{"/actions", `{"instruction":"x","callback":"https://example.com"}`, "/callback", "callback_url"},
		{"/actions", `{"instruction":"x","zzzzzzzzzzzz":1}`, "/zzzzzzzzzzzz", "known are agent"},
		{"/sessions", `{"agnet":"travel"}`, "/agnet", "did you mean agent?"},
		{"/sessions/ses_1/messages", `{"text":"hi","onbusy":"wait"}`, "/onbusy", "did you mean on_busy?"},
	} {
		w, p := refusal(t, h, "POST", tt.path, tt.body)
		if w.Code != 422 || p.Code != "validation_failed" || len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer || !strings.Contains(p.Errors[0].Detail, tt.hint) {
			t.Errorf("POST %s %s = %d %+v, want %s with %q", tt.path, tt.body, w.Code, p, tt.pointer, tt.hint)
		}
		if names := strings.Split(strings.TrimSuffix(p.Detail, "."), ", "); len(names) > 1 && len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names) {
			t.Errorf("POST %s %s names a member twice: %s", tt.path, tt.body, p.Detail)
		}
		if strings.HasSuffix(p.Detail, "?.") || strings.HasSuffix(p.Detail, "..") || !strings.ContainsAny(p.Detail[len(p.Detail)-1:], ".?") {
			t.Errorf("POST %s %s is answered by %q, which is no sentence", tt.path, tt.body, p.Detail)
		}
	}
	for _, v := range []any{&api.WebhookRequest{}, &api.RotateRequest{}, &api.RedeliverRequest{}, &api.CreateSession{}} {
		refusedAs(t, decodeObject([]byte(`{"nmae":1}`), v, false), 422)
		if err := decodeObject([]byte(`{"nmae":1}`), v, true); err != nil {
			t.Errorf("%T, lenient: %v", v, err)
		}
	}
}

func TestAMemberOfAnotherTypeIsToldItsOwn(t *testing.T) {
	for _, tt := range []struct {
		v          any
		body, want string
	}{
		{&api.ScheduleRequest{}, `{"cron":"@daily"}`, "it is a string, it must be an array"},
		{&api.ScheduleRequest{}, `{"name":["x"]}`, "it is an array, it must be a string"},
		{&api.ScheduleRequest{}, `{"task":true}`, "it is a bool, it must be an object"},
		{&api.CreateTask{}, `{"max_attempts":1e400}`, "it must be a whole number, of a size that fits"},
		{&api.CreateTask{}, `{"max_attempts":"3"}`, "it is a string, it must be a whole number"},
	} {
		var e *mesh.Error
		if err := decodeObject([]byte(tt.body), tt.v, false); !errors.As(err, &e) || len(e.Faults) != 1 || e.Faults[0].Detail != tt.want {
			t.Errorf("%s is refused by %v, want %q", tt.body, err, tt.want)
		}
	}
}

func TestLenientIgnoresWhatIsNotKnown(t *testing.T) {
	var req api.CreateTask
	if err := decodeObject([]byte(`{"Agent":"other","dealy":"1s","agent":"echo"}`), &req, true); err != nil || req.Agent != "echo" || req.Delay != "" {
		t.Errorf("%+v, %v", req, err)
	}
	h := bare()
	w, p := refusal(t, h, "POST", "/tasks?x=1", `{"instruction":"x","dealy":"90s","timeout":"?"}`, "Prefer", "handling=lenient")
	if p.Code != "validation_failed" || len(p.Errors) != 1 || p.Errors[0].Pointer != "/timeout" {
		t.Errorf("= %d %+v", w.Code, p)
	}
	if _, p := refusal(t, h, "GET", "/tasks?a=1;b=2", "", "Prefer", "handling=lenient"); p.Code != "bad_query" {
		t.Errorf("a malformed query is %s", p.Code)
	}
}

func TestARefusalIsSmallHoweverMuchIsWrong(t *testing.T) {
	labels := map[string]string{}
	for i := range 100_000 {
		labels[fmt.Sprintf("bad label %d", i)] = "x"
	}
	body, _ := json.Marshal(map[string]any{"instruction": "x", "labels": labels})
	unknown, _ := json.Marshal(labels)
	long := `{"instruction":"x","labels":{"` + strings.Repeat("/", 1<<20) + `":"x"},"` + strings.Repeat("z", 1<<20) + `":1}`
	for name, body := range map[string]string{"labels": string(body), "members": string(unknown), "long names": long} {
		w, p := refusal(t, bare(), "POST", "/tasks", body)
		if w.Code != 422 || len(p.Errors) == 0 || len(p.Errors) > 20 || w.Body.Len() > 64<<10 {
			t.Errorf("%s: %d with %d faults in %d bytes", name, w.Code, len(p.Errors), w.Body.Len())
		}
		if name == "labels" && !strings.Contains(p.Detail, "100000") {
			t.Errorf("the others are not counted: %s", p.Detail)
		}
	}
}

// The router leaves what is escaped in a path as it is, where it is unusual.
func TestANameInAPathMayBeEscaped(t *testing.T) {
	for sent, want := range map[string]string{
		"a%2Fb": "a/b", "a%20b": "a b", "%61b": "ab", "a%252Fb": "a%2Fb", "%2e%2e": "..", "a%2Fb%25": "a/b%", "%C3%BC%2F": "\u00fc/",
	} {
		got := ""
		r := chi.NewRouter()
		r.Get("/schedules/{id}", func(_ http.ResponseWriter, r *http.Request) { got = (&call{r: r}).inPath("id") })
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/schedules/"+sent, nil))
		if got != want {
			t.Errorf("%s is %q, want %q", sent, got, want)
		}
	}
	w, p := refusal(t, bare(), "PATCH", "/tasks/a%2Fb", "{}")
	if w.Code != 405 || p.Code != "method_not_allowed" || w.Header().Get("Allow") != "GET, HEAD, DELETE" {
		t.Errorf("a method that an escaped path does not take: %d %+v %v", w.Code, p, w.Header())
	}
}

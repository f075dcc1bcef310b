package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// The client of a store that is away reads what to do, and the operator's log says what
// was not answered.
func TestTheLogSaysWhyTheStoreIsAway(t *testing.T) {
	var log bytes.Buffer
	f := &front{log: slog.New(slog.NewTextHandler(&log, nil))}
	answer := httptest.NewRecorder()
	err := (&route{method: "GET"}).adviseWhenAway(fmt.Errorf("read the registry: %w", task.ErrUnavailable))
	f.writeProblem(answer, httptest.NewRequest("GET", "/agents", nil), err)
	if !strings.Contains(log.String(), "read the registry") {
		t.Errorf("the log says %s", log.String())
	}
	if answer.Code != 503 || strings.Contains(answer.Body.String(), "registry") {
		t.Errorf("the client reads %d %s", answer.Code, answer.Body)
	}
}

// Every refusal names a trace, also one that comes before the request has a span: that of
// its caller, or a new one.
func TestARefusalNamesATraceBeforeThereIsASpan(t *testing.T) {
	f := &front{log: slog.New(slog.DiscardHandler)}
	refuse := f.handle(func(http.ResponseWriter, *http.Request) error { return mesh.Refuse(problem.ErrNotFound, "x") })
	of := func(h http.Handler, traceparent string) string {
		t.Helper()
		r := httptest.NewRequest("GET", "/tasks", nil)
		r.Header.Set("traceparent", traceparent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		return p.TraceID
	}
	const caller = "0af7651916cd43dd8448eb211c80319c"
	own := regexp.MustCompile("^[0-9a-f]{32}$")
	for name, h := range map[string]http.Handler{"no route": refuse, "the lobby": Lobby(func() string { return "NATS" })} {
		if got := of(h, "00-"+caller+"-b7ad6b7169203331-01"); got != caller {
			t.Errorf("%s, in a trace: %q", name, got)
		}
		first, second := of(h, ""), of(h, "nonsense")
		if !own.MatchString(first) || !own.MatchString(second) || first == second {
			t.Errorf("%s, without a trace: %q, %q", name, first, second)
		}
	}
	if !bytes.Contains(noRoom(), []byte(`"trace_id":"`)) {
		t.Errorf("a connection too many: %s", noRoom())
	}
}

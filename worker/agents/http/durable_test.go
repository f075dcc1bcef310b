package http_test

import (
	"encoding/json"
	"errors"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/http"
	"agentmesh/worker/agents/linestest"
)

// durable asks a service that keeps steps.
func durable(t *testing.T, m *linestest.Memory, o http.Options, f nethttp.HandlerFunc) (string, error) {
	t.Helper()
	srv := httptest.NewServer(f)
	defer srv.Close()
	j := job(&reports{}).WithLines(m)
	j.Key = "amt_x"
	v, err := http.New(http.Config{URL: srv.URL}, o)(t.Context(), j)
	raw, _ := json.Marshal(v)
	return string(raw), err
}

// A service keeps steps by the lines of its answer and through the gateway while it
// works, and is asked again when it has waited.
func TestAServiceKeepsStepsAndWaits(t *testing.T) {
	m := &linestest.Memory{Waited: func(m *linestest.Memory) error {
		m.Come(agent.PastStep{Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")})
		return nil
	}}
	var bodies []string
	got, err := durable(t, m, http.Options{GatewayURL: func() string { return "http://gateway" }}, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		raw, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(raw))
		w.Header().Set("Content-Type", "application/x-ndjson")
		if strings.Contains(string(raw), `"kind":"answer"`) {
			_, _ = io.WriteString(w, `{"type":"result","result":"refunded"}`)
			return
		}
		if word, err := m.Send(`{"type":"step","name":"early","value":1}`); err != nil || word != `{"type":"ok","name":"early","n":0}` {
			t.Errorf("%s, %v", word, err)
		}
		_, _ = io.WriteString(w, `{"type":"step","name":"charge","value":2}`+"\n"+`{"type":"ask","name":"approve"}`+"\n")
	})
	end := `,"steps_url":"http://gateway/tasks/tsk_1/steps","lease":"amt_x"}`
	steps := `,"run":2,"steps":[{"name":"early","n":0,"value":1},{"name":"charge","n":0,"value":2},{"name":"approve","n":0,"kind":"answer","value":true}]`
	if err != nil || got != `"refunded"` || len(bodies) != 2 || !strings.HasSuffix(bodies[0], `,"run":1`+end) || !strings.HasSuffix(bodies[1], steps+end) {
		t.Errorf("%s, %v\n%s", got, err, strings.Join(bodies, "\n"))
	}
}

// A service that said through the gateway that it waits ends its answer without a
// result.
func TestAnAnswerBesideAWait(t *testing.T) {
	suspended := errors.New("suspended")
	for _, tt := range []struct{ media, body, err string }{
		{"", "", "suspended"}, {"application/json", "null", "suspended"}, {"application/x-ndjson", `{"type":"progress","percent":5}`, "suspended"},
		{"application/json", `{"a":1}`, "a result beside a sleep"}, {"application/x-ndjson", `{"type":"result","result":1}`, "a result beside a sleep"},
	} {
		m := &linestest.Memory{Waited: func(*linestest.Memory) error { return suspended }}
		_, err := durable(t, m, http.Options{GatewayURL: func() string { return "http://gateway" }}, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			if _, err := m.Send(`{"type":"sleep","name":"nap","for":"1h"}`); err != nil {
				t.Error(err)
			}
			w.Header()["Content-Type"] = []string{tt.media}
			_, _ = io.WriteString(w, tt.body)
		})
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s %s: %v, want %s", tt.media, tt.body, err, tt.err)
		}
	}
}

// A line that is not kept is the fault of the attempt, not that of the way to the
// service.
func TestALineThatIsNotKeptIsNoBrokenAnswer(t *testing.T) {
	lost := errors.New("lost")
	for _, tt := range []struct {
		refusal error
		line    string
		code    string
	}{
		{lost, `{"type":"step","name":"p","value":1}`, ""}, {&agent.Error{Code: "journal_full", Err: lost}, `{"type":"step","name":"p","value":1}`, "journal_full"}, {nil, `{"type":"step","name":"p"}`, task.CodeAgentBadOutput},
	} {
		m := &linestest.Memory{Refuse: func(agent.Line) error { return tt.refusal }}
		_, err := durable(t, m, http.Options{}, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			if raw, _ := io.ReadAll(r.Body); strings.Contains(string(raw), "steps_url") || strings.Contains(string(raw), "lease") {
				t.Errorf("without a gateway: %s", raw)
			}
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, tt.line)
		})
		var e *agent.Error
		if !errors.As(err, &e) || e.Code != tt.code || tt.refusal != nil && !errors.Is(err, lost) {
			t.Errorf("%v: %+v", tt.refusal, err)
		}
	}
}

package worker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/gateway"
	"agentmesh/shared/event"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// crooked are values that encoding/json takes and a strict reader does not, and
// what they are once the mesh keeps them.
var crooked = map[string]string{
	"{\"name\":\"caf\xe9\"}":        "{\"name\":\"caf\uFFFD\"}",
	`{"name":"\ud800 half"}`:        "{\"name\":\"\uFFFD half\"}",
	`{"name":"a","name":"b"}`:       `{"name":"b"}`,
	"{\"\xff\":1,\"\xfe\":[\"é\"]}": "{\"\uFFFD\":[\"é\"]}",
}

// Everything that an agent says and the mesh keeps can be read by everybody, and
// is acceptable as the input of the next agent.
func TestWhatIsAResultHereIsAnInputThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		say := func(raw string) agent.Handler {
			return func(ctx context.Context, job *agent.Job) (any, error) {
				if job.Turn != nil {
					return agent.Reply{Message: "ok", State: json.RawMessage(raw)}, nil
				}
				if err := job.Milestone(ctx, "m", "", json.RawMessage(raw)); err != nil {
					return nil, err
				}
				if _, err := job.Call(ctx, "child", json.RawMessage(raw)); err != nil {
					return nil, err
				}
				return json.RawMessage(raw), nil
			}
		}
		agents := []agent.Agent{meshtest.Named("child", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })}
		names := map[string]string{}
		for raw := range crooked {
			name := "says-" + string(rune('a'+len(names)))
			names[name] = raw
			agents = append(agents, meshtest.Named(name, say(raw)))
		}
		m.Work(agents...)
		for name, raw := range names {
			want := crooked[raw]
			id := m.Create(`{"agent":"` + name + `","instruction":"x"}`)
			v := m.End(id)
			if v.Status != "completed" || string(v.Result) != want || len(v.Milestones) != 1 || string(v.Milestones[0].Data) != want {
				t.Errorf("%q: %s %s %+v %+v", raw, v.Status, v.Result, v.Milestones, v.Error)
			}
			if len(v.Children) != 1 || string(m.Get(v.Children[0]).Result) != want {
				t.Errorf("%q: the child got something else: %v", raw, v.Children)
			}
			session := m.Session(name)
			for range 2 { // the second one reads the state
				if turn := m.Say(http.StatusOK, session, "x"); turn.Message != "ok" {
					t.Errorf("%q: %+v", raw, turn)
				}
			}
			for _, path := range []string{"/tasks/" + id, "/tasks/" + id + "/events", "/tasks", "/tasks/" + id + "/result", "/sessions/" + session} {
				w := m.Do("GET", path, "", "Accept", "application/json")
				if !jsontext.Value(w.Body.Bytes()).IsValid() {
					t.Errorf("%q: GET %s is no JSON that everybody takes: %q", raw, path, w.Body)
				}
			}
			m.Create(`{"agent":"child","input":` + string(v.Result) + `}`)
		}
	})
}

// A result that cannot be kept ends the task at once, with a word on the fault.
func TestResultsBeyondTheBoundsOfJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("deep", func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(strings.Repeat("[", 9990) + strings.Repeat("]", 9990)), nil
		}), meshtest.Named("long", func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(`[1e1000001]`), nil
		}))
		for name, want := range map[string]string{"deep": "nested more than 1000 deep", "long": "exponent"} {
			v := m.End(m.Create(`{"agent":"` + name + `","instruction":"x","max_attempts":3}`))
			if v.Status != "failed" || v.Error.Code != "agent_bad_output" || v.Attempt != 1 || !strings.Contains(v.Error.Message, want) {
				t.Errorf("%s: %+v %+v", name, v, v.Error)
			}
		}
	})
}

// A result that is not what the agent's definition says ends the task at once.
func TestAResultThatBreaksItsSchemaFailsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		a := meshtest.Named("counts", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
		a.OutputSchema = json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`)
		talk := meshtest.Counter()
		talk.OutputSchema = a.OutputSchema
		m.Work(a, talk)
		if v := m.End(m.Create(`{"agent":"counts","input":{"n":1}}`)); v.Status != "completed" {
			t.Errorf("%+v", v.Error)
		}
		v := m.End(m.Create(`{"agent":"counts","input":{"n":"one"},"max_attempts":3}`))
		if v.Status != "failed" || v.Error.Code != "agent_bad_output" || v.Attempt != 1 || !strings.Contains(v.Error.Message, "output_schema: /n got string, want integer") {
			t.Errorf("%+v %+v", v, v.Error)
		}
		if turn := m.Say(http.StatusOK, m.Session("counter"), "x"); turn.Message != "1 x" {
			t.Errorf("a reply is no result: %+v", turn)
		}
	})
}

// A side note that cannot be kept costs a warning, never the result.
func TestBadSideNotesCostAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("chatty", func(ctx context.Context, job *agent.Job) (any, error) {
			for range 2 {
				if err := job.Milestone(ctx, "large", "", strings.Repeat("x", 5000)); err != nil {
					return nil, err
				}
			}
			return "done", job.Milestone(ctx, "odd", "", func() {})
		}))
		w := m.Do("GET", "/tasks/"+m.End(m.Create(`{"agent":"chatty","instruction":"x"}`)).TaskID, "")
		v := meshtest.Decode[struct {
			Status     string
			Result     string
			Milestones []struct{ Name string }
			Warnings   []string
		}](t, w.Body)
		if v.Result != "done" || len(v.Milestones) != 3 || len(v.Warnings) != 2 || !strings.Contains(v.Warnings[0], "milestone large: its data was left out: it has 5002 bytes, allowed are 4096") {
			t.Errorf("%+v", v)
		}
	})
}

// Output costs what it has, not what has gone before.
func TestOutputLinesDoNotCopyTheTail(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("chatty", func(_ context.Context, job *agent.Job) (any, error) {
		for range 20_000 {
			job.Output("a line of output\n")
		}
		return "done", nil
	}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v := m.End(m.Create(`{"agent":"chatty","instruction":"x"}`))
	runtime.ReadMemStats(&after)
	rec := m.Record(v.TaskID)
	if used := after.TotalAlloc - before.TotalAlloc; v.Status != "completed" || used > 500<<20 || len(rec.Output) != 64<<10 || rec.OutputBytes != 340_000 || !strings.HasSuffix(rec.Output, "put\na line of output\n") {
		t.Errorf("%s with %d MB allocated, %d bytes kept of %d", v.Status, used>>20, len(rec.Output), rec.OutputBytes)
	}
}

// Standard error of an agent's program is for its operator: it is in the answer
// about the one task, and nowhere that others read.
func TestErrorDetailIsForTheOperatorOnly(t *testing.T) {
	m := meshtest.New(t)
	fail := func(context.Context, *agent.Job) (any, error) {
		return nil, &agent.Error{Code: "away", Message: "it is away", Detail: "hunter2"}
	}
	m.Work(agent.Agent{Definition: agent.Definition{Name: "fails", Retry: agent.Retry{MaxAttempts: 2, Backoff: 1, MaxBackoff: 1}}, Handler: fail})
	id := m.End(m.Create(`{"agent":"fails","instruction":"x"}`)).TaskID
	if w := m.Do("POST", "/tasks", `{"agent":"fails","instruction":"x"}`, "Prefer", "wait=10"); !strings.Contains(w.Body.String(), "it is away") || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("the answer of POST: %s", w.Body)
	}
	session := m.Session("fails")
	turn := m.Do("POST", "/sessions/"+session+"/messages", `{"text":"x"}`)

	if v := m.Get(id); v.Error.Detail != "hunter2" || v.Attempt != 2 {
		t.Errorf("on loopback: %+v", v.Error)
	}
	for _, path := range []string{"/tasks", "/tasks/" + id + "/events", "/sessions/" + session, "/sessions/" + session + "/messages"} {
		if w := m.Do("GET", path, "", "Accept", "application/json"); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := m.Do("GET", "/tasks/"+id+"/events", ""); strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("the stream: %s", w.Body)
	}
	if strings.Contains(turn.Body.String(), "hunter2") {
		t.Errorf("the turn: %s", turn.Body)
	}
	events, err := event.Of(m.Record(id), 0, func(event.Type) bool { return true }, nil)
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	for _, e := range events {
		if strings.Contains(string(e.Body), "hunter2") {
			t.Errorf("event %s: %s", e.ID, e.Body)
		}
	}

	cfg := gateway.Default()
	cfg.HTTP, cfg.Insecure = "0.0.0.0:0", true
	open, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for query, want := range map[string]bool{"": false, "?include=error_detail": true} {
		if w := meshtest.Call(open.Handler(), "GET", "/tasks/"+id+query, ""); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "hunter2") != want {
			t.Errorf("elsewhere with %q: %d %s", query, w.Code, w.Body)
		}
	}
	if w := m.Do("GET", "/tasks/"+id+"?include=secrets", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "bad_query") {
		t.Errorf("an unknown part: %d %s", w.Code, w.Body)
	}
}

// Metadata that a client sends along for itself reaches the agent, too.
func TestMetadataReachesTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("reads", func(_ context.Context, job *agent.Job) (any, error) {
			line, err := protocol.Encode(job) // as programs and services get it
			return json.RawMessage(line), err
		}))
		v := m.End(m.Create(`{"agent":"reads","instruction":"x","metadata":{"order":{"id":7}}}`))
		var got struct{ Metadata json.RawMessage }
		if err := json.Unmarshal(v.Result, &got); err != nil || string(got.Metadata) != `{"order":{"id":7}}` {
			t.Errorf("%s, %v", v.Result, err)
		}
	})
}

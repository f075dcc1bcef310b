package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/worker/agent"
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
		m := newMesh(t)
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
		agents := []agent.Agent{named("child", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })}
		names := map[string]string{}
		for raw := range crooked {
			name := "says-" + string(rune('a'+len(names)))
			names[name] = raw
			agents = append(agents, named(name, say(raw)))
		}
		m.work(agents...)
		for name, raw := range names {
			want := crooked[raw]
			id := m.create(`{"agent":"` + name + `","instruction":"x"}`)
			v := m.end(id)
			if v.Status != "completed" || string(v.Result) != want || len(v.Milestones) != 1 || string(v.Milestones[0].Data) != want {
				t.Errorf("%q: %s %s %+v %+v", raw, v.Status, v.Result, v.Milestones, v.Error)
			}
			if len(v.Children) != 1 || string(m.get(v.Children[0]).Result) != want {
				t.Errorf("%q: the child got something else: %v", raw, v.Children)
			}
			session := m.session(name)
			for range 2 { // the second one reads the state
				if turn := m.say(http.StatusOK, session, "x"); turn.Message != "ok" {
					t.Errorf("%q: %+v", raw, turn)
				}
			}
			for _, path := range []string{"/tasks/" + id, "/tasks/" + id + "/events", "/tasks", "/tasks/" + id + "/result", "/sessions/" + session} {
				w := m.do("GET", path, "", "Accept", "application/json")
				if !jsontext.Value(w.Body.Bytes()).IsValid() {
					t.Errorf("%q: GET %s is no JSON that everybody takes: %q", raw, path, w.Body)
				}
			}
			m.create(`{"agent":"child","input":` + string(v.Result) + `}`)
		}
	})
}

// What cannot be kept ends the task at once, with a word on what it is.
func TestResultsBeyondTheBoundsOfJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("deep", func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(strings.Repeat("[", 9990) + strings.Repeat("]", 9990)), nil
		}), named("long", func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(`[1e1000001]`), nil
		}))
		for name, want := range map[string]string{"deep": "nested more than 1000 deep", "long": "exponent"} {
			v := m.end(m.create(`{"agent":"` + name + `","instruction":"x","max_attempts":3}`))
			if v.Status != "failed" || v.Error.Code != "agent_bad_output" || v.Attempt != 1 || !strings.Contains(v.Error.Message, want) {
				t.Errorf("%s: %+v %+v", name, v, v.Error)
			}
		}
	})
}

// A side note that cannot be kept costs a warning, never the result.
func TestBadSideNotesCostAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("chatty", func(ctx context.Context, job *agent.Job) (any, error) {
			for range 2 {
				if err := job.Milestone(ctx, "large", "", strings.Repeat("x", 5000)); err != nil {
					return nil, err
				}
			}
			return "done", job.Milestone(ctx, "odd", "", func() {})
		}))
		w := m.do("GET", "/tasks/"+m.end(m.create(`{"agent":"chatty","instruction":"x"}`)).TaskID, "")
		v := decode[struct {
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

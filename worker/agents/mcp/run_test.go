package mcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/mcp"
)

// tool is an agent that is a tool.
func tool(t *testing.T, c *mcp.Client, name string, cfg mcp.AgentConfig) agent.Agent {
	t.Helper()
	a := meshtest.Named(name, mcp.New(c, cfg))
	a.Retry.MaxAttempts, a.Retry.Backoff = 2, 10_000_000
	return a
}

// waits waits until a task has a question, and returns its name and prompt.
func waits(t *testing.T, m *meshtest.Mesh, id string) (name, prompt string) {
	t.Helper()
	natstest.Until(t, "a question of "+id, func() bool {
		v, err := m.Store.Tasks.Get(t.Context(), "default", task.ID(id))
		if err != nil {
			return false // no worker has it yet
		}
		if q := v.Questions(); len(q) > 0 {
			name, prompt = q[0].Name, q[0].Prompt
		}
		return name != "" || v.Status.Terminal()
	})
	if name == "" {
		t.Fatalf("no question: %+v", m.Get(id))
	}
	return name, prompt
}

func answer(t *testing.T, m *meshtest.Mesh, id, value string) {
	t.Helper()
	if w := m.Do("POST", "/tasks/"+id+"/input", `{"value":`+value+`}`); w.Code/100 != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func failure(v client.Task) string {
	if v.Error == nil {
		return ""
	}
	return v.Error.Code + " " + v.Error.Message
}

// One mesh has the agents of all stories.
func TestAnAgentIsOneTool(t *testing.T) {
	b, older := &book{}, &book{}
	c, f := fronted(t, b)
	old := reach(t, mcp.Config{URL: serve(t, older, true, nil)})
	f.mode.Store(func(w http.ResponseWriter, r *http.Request) bool {
		name := r.Header.Get("Mcp-Name")
		if r.Header.Get("Mcp-Method") == "tools/call" && name == "steps" && b.count("busy") < 1 {
			b.mu.Lock()
			b.calls["busy"]++
			b.mu.Unlock()
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if r.Header.Get("Mcp-Method") == "tools/call" && (name == "number" && b.count("cut") < 1 || name == "image") {
			b.mu.Lock()
			b.calls["cut"]++
			b.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		return false
	})
	m := meshtest.New(t)
	m.Work(
		tool(t, c, "upper", mcp.AgentConfig{Tool: "upper", Arguments: map[string]any{"text": "by default"}}),
		tool(t, c, "fails", mcp.AgentConfig{Tool: "fails"}),
		tool(t, c, "asks", mcp.AgentConfig{Tool: "asks"}),
		tool(t, old, "asks-old", mcp.AgentConfig{Tool: "asks"}),
		tool(t, c, "cut", mcp.AgentConfig{Tool: "number"}),
		tool(t, c, "busy", mcp.AgentConfig{Tool: "steps"}),
		tool(t, c, "cut-fail", mcp.AgentConfig{Tool: "image", OnUnknown: mcp.FailUnknown}),
	)
	t.Run("its input is the arguments, and one text is enough for one", func(t *testing.T) {
		for body, want := range map[string]string{
			`{"agent":"upper","input":{"text":"a"}}`: `{"text":"A"}`,
			`{"agent":"upper","instruction":"b"}`:    `{"text":"B"}`,
			`{"agent":"upper","input":{}}`:           `{"text":"BY DEFAULT"}`,
		} {
			if v := m.End(m.Create(body)); string(v.Result) != want {
				t.Errorf("%s: %s %s", body, v.Result, failure(v))
			}
		}
		if v := m.End(m.Create(`{"agent":"upper","input":7}`)); !strings.HasPrefix(failure(v), "bad_input ") || v.Attempt != 1 {
			t.Errorf("%s", failure(v))
		}
	})
	t.Run("an error of the tool is that of the task", func(t *testing.T) {
		if v := m.End(m.Create(`{"agent":"fails","input":{}}`)); failure(v) != "tool_error no such page" || v.Attempt != 1 {
			t.Errorf("%s", failure(v))
		}
	})
	t.Run("its question is one of the task, and its answer goes on", func(t *testing.T) {
		for name, of := range map[string]*book{"asks": b, "asks-old": older} {
			for value, want := range map[string]string{`{"sure":true}`: `{"text":"sure: yes"}`, `{"sure":false}`: `{"text":"sure: no"}`} {
				id := m.Create(`{"agent":"` + name + `","input":{}}`)
				if _, prompt := waits(t, m, id); !strings.HasPrefix(prompt, "http://127.0.0.1:") || !strings.HasSuffix(prompt, " asks: Really?") {
					t.Errorf("%s: %q", name, prompt)
				}
				answer(t, m, id, value)
				if v := m.End(id); string(v.Result) != want || v.Attempt != 1 {
					t.Errorf("%s: %s %s", name, v.Result, failure(v))
				}
			}
			if n := of.count("asks"); n != 4 { // a question and its answer, twice
				t.Errorf("%s: called %d times", name, n)
			}
		}
	})
	t.Run("of an unknown outcome a person is asked", func(t *testing.T) {
		id := m.Create(`{"agent":"cut","input":{}}`)
		if name, prompt := waits(t, m, id); name != "unknown-call" || !strings.HasPrefix(prompt, "Nobody knows") {
			t.Errorf("%s: %s", name, prompt)
		}
		answer(t, m, id, `"retry"`)
		if v := m.End(id); string(v.Result) != `{"n":12345678901234567890}` || v.Attempt != 1 {
			t.Errorf("%s %s", v.Result, failure(v))
		}
		if v := m.End(m.Create(`{"agent":"cut-fail","input":{}}`)); !strings.HasPrefix(failure(v), "tool_outcome_unknown ") || v.Attempt != 1 {
			t.Errorf("%s", failure(v))
		}
	})
	t.Run("what the server did not take is tried again, and nobody is asked", func(t *testing.T) {
		if v := m.End(m.Create(`{"agent":"busy","input":{}}`)); string(v.Result) != `{"text":"done"}` || v.Attempt != 2 {
			t.Errorf("%s %s, attempt %d", v.Result, failure(v), v.Attempt)
		}
	})
	t.Run("all tries of a call have one key", func(t *testing.T) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, key := range b.keys {
			if !strings.HasPrefix(key, "tsk_") || !strings.HasSuffix(key, ".call") {
				t.Errorf("the key %q", key)
			}
		}
	})
}

// The tools of another mesh are tasks there: their ids are kept, their questions are
// ours, and they are canceled with ours.
func TestATaskOfTheServerIsGoneOnWith(t *testing.T) {
	far := meshtest.New(t)
	begun, gone := make(chan string, 8), make(chan struct{}, 8)
	far.Work(
		meshtest.Named("slow", func(ctx context.Context, job *agent.Job) (any, error) {
			begun <- job.TaskID
			select {
			case <-ctx.Done():
				gone <- struct{}{}
				return nil, ctx.Err()
			case <-time.After(time.Second):
			}
			return map[string]int{"n": 7}, nil
		}),
		meshtest.Named("waits", func(ctx context.Context, job *agent.Job) (any, error) {
			begun <- job.TaskID
			<-ctx.Done()
			gone <- struct{}{}
			return nil, ctx.Err()
		}),
		meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Ask[struct {
				Yes bool `json:"yes"`
			}](ctx, job, "sure", agent.Question{Prompt: "Sure?"})
		}),
	)
	srv, _ := far.Serve()
	c := reach(t, mcp.Config{URL: srv.URL + "/mcp"})
	near := meshtest.New(t)
	near.Work(tool(t, c, "slow", mcp.AgentConfig{Tool: "slow"}), tool(t, c, "waits", mcp.AgentConfig{Tool: "waits"}), tool(t, c, "asks", mcp.AgentConfig{Tool: "asks"}))
	t.Run("to its end", func(t *testing.T) {
		if v := near.End(near.Create(`{"agent":"slow","input":{"instruction":"x"}}`)); string(v.Result) != `{"n":7}` {
			t.Errorf("%s %s", v.Result, failure(v))
		}
		<-begun
	})
	t.Run("a question of it is one of ours", func(t *testing.T) {
		id := near.Create(`{"agent":"asks","input":{"instruction":"x"}}`)
		if _, prompt := waits(t, near, id); !strings.HasSuffix(prompt, " asks: Sure?") {
			t.Error(prompt)
		}
		answer(t, near, id, `{"yes":true}`)
		if v := near.End(id); string(v.Result) != `{"yes":true}` || v.Attempt != 1 {
			t.Errorf("%s %s", v.Result, failure(v))
		}
	})
	t.Run("it is canceled with ours", func(t *testing.T) {
		id := near.Create(`{"agent":"waits","input":{"instruction":"x"}}`)
		remote := <-begun
		// The server answers with a task after a moment.
		natstest.Until(t, "the note of the task "+remote, func() bool {
			return strings.Contains(near.Do("GET", "/tasks/"+id+"/steps", "").Body.String(), `"kind":"step"`)
		})
		if w := near.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code/100 != 2 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Errorf("the task of the server goes on: %+v", far.Get(remote))
		}
	})
	if raw, err := json.Marshal(c.Place()); err != nil || !strings.HasSuffix(string(raw), `/mcp"`) {
		t.Errorf("%s", raw)
	}
}

package mcp

import (
	"encoding/json"
	"testing"

	"agentmesh/shared/schema"
	"agentmesh/shared/task"
)

// Whatever a server answers to a call, it is a result that can be kept, a task, a
// question within bounds, or an error.
func FuzzRound(f *testing.F) {
	for _, s := range []string{
		`{"content":[{"type":"text","text":"x"}]}`, `{"resultType":"task","taskId":"a"}`, `{"resultType":"task"}`, `{"structuredContent":1e400}`, `null`, `{"content":[1],"isError":true}`,
		`{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object"}}}},"requestState":"s"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		round, err := roundOf(raw)
		if err != nil {
			return
		}
		if r := round.Result; r != nil {
			_, _ = r.String(), r.failure()
			if v, err := r.Value(); err == nil {
				if b, err := task.Marshal(v); err != nil || !json.Valid(b) {
					t.Errorf("%q is %q, %v", raw, b, err)
				}
			}
		} else if round.Task == "" && len(round.Questions) == 0 {
			t.Errorf("%q is nothing", raw)
		}
		for _, q := range round.Questions {
			if form := answerable(q.Schema); form != nil {
				if _, err := schema.Compile(form); err != nil {
					t.Errorf("%q asks with %q: %v", raw, form, err)
				}
			}
			if len(q.Message) > maxText+16 || nameOf(q.Key) == "" || len(nameOf(q.Key)) > 100 {
				t.Errorf("%q asks %q", raw, q)
			}
		}
	})
}

// Whatever an answer to a question is, it can be sent.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"action":"decline"}`, `{"a":1}`, `null`, `"x"`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // the core keeps JSON
		}
		a := answerOf(raw)
		if b, err := json.Marshal(a.result()); err != nil || !json.Valid(b) || a.Action == "" {
			t.Errorf("%q: %s, %v", raw, b, err)
		}
	})
}

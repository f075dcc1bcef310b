package echo_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// steps counts what a job reports.
type steps []int

func (s *steps) Progress(percent int, _ string) { *s = append(*s, percent) }
func (s *steps) Milestone(context.Context, string, string, json.RawMessage) error {
	return nil
}
func (s *steps) Output(string) {}

func echoed(ctx context.Context, instruction, input string) (string, *steps, error) {
	s := &steps{}
	var raw json.RawMessage
	if input != "" {
		raw = json.RawMessage(input)
	}
	v, err := echo.Agent().Handler(ctx, agent.NewJob(&task.Task{Instruction: instruction}, raw, "", s))
	b, _ := json.Marshal(v)
	return string(b), s, err
}

func TestEcho(t *testing.T) {
	for _, tt := range []struct {
		instruction, input, want, err string
		permanent                     bool
	}{
		{"hello", "", `{"instruction":"hello"}`, "", false},
		{"", `[1,null]`, `[1,null]`, "", false},
		{"hello", `7`, `{"input":7,"instruction":"hello"}`, "", false},
		{"", `{"echo_fail":"away"}`, `null`, "away", false},
		{"", `{"\u0065cho\u005ffail":"away"}`, `null`, "away", false},
		{"", `{"echo_fail_permanent":"broken"}`, `null`, "broken", true},
		{"", `{"echo_delay":"soon"}`, `null`, `echo_delay is no duration, such as "2s"`, true},
	} {
		got, _, err := echoed(t.Context(), tt.instruction, tt.input)
		text := ""
		if err != nil {
			text = err.Error()
		}
		var e *agent.Error
		if got != tt.want || text != tt.err || tt.permanent != (errors.As(err, &e) && e.Permanent) {
			t.Errorf("%q %s: %s, %v", tt.instruction, tt.input, got, err)
		}
	}
}

func TestEchoInASession(t *testing.T) {
	for _, tt := range []struct{ text, want, err string }{
		{"hello", `{"message":"hello"}`, ""},
		{`{"a":1}`, `{"message":"{\"a\":1}"}`, ""},
		{`{"echo_delay":"1ms"}`, `{"message":"{\"echo_delay\":\"1ms\"}"}`, ""},
		{`{"echo_fail":"away"}`, `null`, "away"},
		{`{"echo_fail_permanent":"broken"}`, `null`, "broken"},
	} {
		job := agent.NewJob(&task.Task{Instruction: tt.text}, nil, "", &steps{})
		job.Turn = &agent.Turn{Messages: []agent.Message{{Text: "before"}, {Text: tt.text}}}
		v, err := echo.Agent().Handler(t.Context(), job)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if b, _ := json.Marshal(v); string(b) != tt.want || text != tt.err {
			t.Errorf("%s: %s, %v", tt.text, b, err)
		}
	}
}

func TestEchoTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, s, err := echoed(t.Context(), "", `{"echo_delay":"20s"}`)
		if took := time.Since(began); err != nil || took != 20*time.Second || len(*s) != 10 || (*s)[9] != 100 {
			t.Errorf("took %v, reported %v, %v", took, *s, err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		began = time.Now()
		if _, _, err := echoed(ctx, "", `{"echo_delay":"20s"}`); !errors.Is(err, why) || time.Since(began) != time.Second {
			t.Errorf("ended after %v with %v", time.Since(began), err)
		}
	})
}

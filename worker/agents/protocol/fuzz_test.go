package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// sane fails on what no reader should get.
type sane struct{ t *testing.T }

func (s sane) Progress(percent int, _ string) {
	if percent < 0 || percent > 100 {
		s.t.Errorf("%d%%", percent)
	}
}

func (s sane) Milestone(_ context.Context, name, _ string, data json.RawMessage) error {
	if name == "" || data != nil && !json.Valid(data) {
		s.t.Errorf("milestone %q %s", name, data)
	}
	return nil
}
func (sane) Output(string) {}

// Any output of an agent, in any pieces, has one outcome: a result that is JSON,
// or an error with a code.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "\n\n", "text", `{"type":"result","result":1}`, `{"type":"result"}`, `{"type":"result","result":null}` + "\n{",
		`{"type":"progress","percent":1e999}`, `{"type":"progress","percent":-5}`, `{"type":"milestone","name":"a","data":[1]}`,
		`{"type":"output","text":"\ud800"}`, `{"type":"error","retryable":false}`, `{"type":7}`, "\xff\xfe\x00\n", " {\"type\":\"output\",\"text\":\"a\"} \r\n", strings.Repeat("{", 1000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		job := agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", sane{t})
		outcome := func(o *protocol.Outcome, err error) string {
			var fault *agent.Error
			if err != nil {
				if !errors.As(err, &fault) || fault.Code == "" || !fault.Permanent {
					t.Fatalf("%q: %v", raw, err)
				}
				return fault.Error()
			}
			if !utf8.ValidString(o.Text) {
				t.Fatalf("%q is text %q", raw, o.Text)
			}
			v, err := o.Value()
			b, encode := json.Marshal(v)
			if encode != nil {
				t.Fatalf("%q is %v: %v", raw, v, encode)
			}
			if err != nil {
				return err.Error()
			}
			return string(b)
		}
		whole := outcome(protocol.Read(t.Context(), strings.NewReader(string(raw)), job))
		if len(raw) < 1<<12 {
			if pieces := outcome(protocol.Read(t.Context(), iotest.OneByteReader(strings.NewReader(string(raw))), job)); pieces != whole {
				t.Errorf("%q is %s, in pieces %s", raw, whole, pieces)
			}
		}
	})
}

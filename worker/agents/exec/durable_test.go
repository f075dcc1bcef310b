package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/linestest"
)

// keep runs a script as an agent that keeps steps.
func keep(ctx context.Context, m *linestest.Memory, script string) (string, error) {
	v, err := exec.New(exec.Config{Command: []string{"sh", "-c", script}, Steps: true}, exec.Options{Log: slog.New(slog.DiscardHandler)})(ctx, job(&reports{}).WithLines(m))
	b, _ := json.Marshal(v)
	return string(b), err
}

// A program of the protocol steps is told of its steps, hears that one is kept while
// it runs, and goes on. Another one has the object that it always had, and an input
// that ends.
func TestAProgramHearsThatItsStepIsKept(t *testing.T) {
	m := &linestest.Memory{}
	script := `read -r task; echo '{"type":"step","name":"charge","value":{"receipt":7},"ack":true}'; read -r word; printf '%s\n%s\n' "$task" "$word"`
	for run, steps := range []string{``, `,"steps":[{"name":"charge","n":0,"value":{"receipt":7}}]`} {
		got, err := keep(t.Context(), m, script)
		want := `,"run":` + []string{"1", "2"}[run] + steps + `}` + "\n" + `{"type":"ok","name":"charge","n":` + []string{"0", "1"}[run] + "}\n"
		var text struct{ Text string }
		if err != nil || json.Unmarshal([]byte(got), &text) != nil || !strings.HasSuffix(text.Text, want) {
			t.Errorf("run %d: %s, %v\nwant %s", run+1, text.Text, err, want)
		}
	}
	if len(m.Told()) != 2 {
		t.Errorf("%+v", m.Told())
	}
	got, _, err := sh(t.Context(), `cat; echo '{"type":"step","name":"p","value":1}'`)
	if err != nil || strings.Contains(got, `\"run\"`) || !strings.Contains(got, `{\"type\":\"step\"`) {
		t.Errorf("an old program: %s, %v", got, err)
	}
}

// The words do not wait for a program that does not read them.
func TestAProgramNeedNotReadWhatItAsksFor(t *testing.T) {
	m := &linestest.Memory{}
	got, err := keep(t.Context(), m, `i=0; while [ $i -lt 4000 ]; do echo '{"type":"step","name":"p","value":1,"ack":true}'; i=$((i+1)); done; echo '{"type":"result","result":"done"}'`)
	if err != nil || got != `"done"` || len(m.Told()) != 4000 {
		t.Errorf("%s, %v, %d lines", got, err, len(m.Told()))
	}
}

// A program that waits ends, and is started again when it has waited.
func TestAProgramThatWaitsIsStartedAgain(t *testing.T) {
	m := &linestest.Memory{Waited: func(m *linestest.Memory) error {
		m.Come(agent.PastStep{Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")})
		return nil
	}}
	script := `read -r task; case $task in *'"name":"approve","n":0,"kind":"answer","value":true'*) echo '{"type":"result","result":"refunded"}';; *) echo '{"type":"ask","name":"approve","prompt":"Refund?"}';; esac`
	if got, err := keep(t.Context(), m, script); err != nil || got != `"refunded"` {
		t.Errorf("%s, %v", got, err)
	}
	suspended := errors.New("suspended")
	m = &linestest.Memory{Waited: func(*linestest.Memory) error { return suspended }}
	if got, err := keep(t.Context(), m, script); !errors.Is(err, suspended) || got != "null" {
		t.Errorf("suspended: %s, %v", got, err)
	}
}

// However a program of the protocol steps ends, what it has said is kept, and its end
// is told from a wait.
func TestEndsOfProgramsThatKeepSteps(t *testing.T) {
	for _, tt := range []struct{ name, script, code, err string }{
		{"crash after a step", `echo '{"type":"step","name":"p","value":1}'; kill -9 $$`, task.CodeAgentCrashed, "killed"},
		{"status after an ask", `echo '{"type":"step","name":"p","value":1}'; echo '{"type":"ask","name":"a"}'; exit 3`, task.CodeAgentCrashed, "status 3"},
		{"error after an ask", `echo '{"type":"step","name":"p","value":1}'; echo '{"type":"ask","name":"a"}'; echo '{"type":"error","code":"no","message":"never"}'`, "no", "never"},
		{"result after an ask", `echo '{"type":"step","name":"p","value":1}'; echo '{"type":"ask","name":"a"}'; echo '{"type":"result","result":1}'`, task.CodeAgentBadOutput, "beside a sleep, an ask or a wait"},
		{"a line that is none", `echo '{"type":"step","name":"p","value":1}'; echo '{"type":"sleep","name":"s","for":"long"}'; sleep 60`, task.CodeAgentBadOutput, `the sleep message {"for":"long","name":"s","type":"sleep"} has a "for"`},
	} {
		m := &linestest.Memory{}
		_, err := keep(t.Context(), m, tt.script)
		var e *agent.Error
		if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.err) || len(m.Told()) == 0 || m.Told()[0].Name != "p" {
			t.Errorf("%s: %+v, kept %+v", tt.name, err, m.Told())
		}
	}
	if _, err := exec.New(exec.Config{Command: []string{"true"}, Steps: true}, exec.Options{})(t.Context(), job(&reports{})); err == nil || !strings.Contains(err.Error(), "keeps no steps") {
		t.Errorf("without a journal: %v", err)
	}
}

// A program that waits for input which does not come is ended with its attempt.
func TestAProgramThatReadsOnIsEndedWithItsAttempt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	m := &linestest.Memory{Refuse: func(agent.Line) error { cancel(agent.ErrCanceled); return nil }}
	here := filepath.Join(t.TempDir(), "here")
	_, err := keep(ctx, m, `trap 'echo ended > `+here+`; exit' TERM; read -r task; echo '{"type":"checkpoint","value":1}'; while read -r more; do :; done; exit 4`)
	if raw, _ := os.ReadFile(here); !errors.Is(err, agent.ErrCanceled) || string(raw) != "ended\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

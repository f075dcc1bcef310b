package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/worker/agents/echo"
)

// cli runs a command line against a gateway and returns what a shell would see.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), Root(nil), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTaskCommands(t *testing.T) {
	m := newMesh(t)
	m.Work(echo.Agent())
	srv, _ := m.Serve()
	file := filepath.Join(t.TempDir(), "input.json")
	if err := os.WriteFile(file, []byte(`{"from":"a file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	task := func(args ...string) (int, string, string) {
		return cli(t, append([]string{"task", "--gateway", srv.URL}, args...)...)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string // in stdout
		err  string // in stderr
	}{
		{"completed", []string{"run", "say hello", "--wait"}, 0, `{"instruction":"say hello"}`, ""},
		{"input from a file", []string{"run", "--input", "@" + file, "--wait"}, 0, `{"from":"a file"}`, ""},
		{"followed", []string{"run", "--input", `{"echo_delay":"30ms"}`, "--follow"}, 0, "processing", ""},
		{"failed", []string{"run", "--input", `{"echo_fail_permanent":"broken"}`, "--wait"}, 1, "agent_error: broken (attempt 1)", ""},
		{"agent timed out", []string{"run", "--input", `{"echo_delay":"1m"}`, "--timeout", "20ms", "--max-attempts", "1", "--wait"}, 1, "agent_timeout", ""},
		{"not within the wait", []string{"run", "--input", `{"echo_delay":"1s"}`, "--wait", "--wait-timeout", "20ms"}, 3, "", "it goes on: mesh task watch tsk_"},
		{"a limit of the wait waits", []string{"run", "--input", `{"echo_fail_permanent":"broken"}`, "--wait-timeout", "1m"}, 1, "agent_error: broken (attempt 1)", ""},
		{"labels listed", []string{"run", "x", "--label", "team=search", "--wait"}, 0, "team=search", ""},
		{"list by label", []string{"list", "--label", "team=search"}, 0, "completed  echo", "looked at "},
		{"list of an hour", []string{"list", "--since", "1h", "--label", "team=search"}, 0, "completed  echo", "looked at "},
		{"list by error", []string{"list", "--status", "failed", "--error", "agent_timeout", "--kind", "task", "--order", "created"}, 0, "agent_timeout", "records in "},
		{"list of nothing", []string{"list", "--session", "ses_01a20cd9e03b7276be6a181888e33e52"}, 0, "STATUS", "looked at "},
		{"list of one", []string{"list", "--limit", "1"}, 0, "echo", ""},
		{"list of too many", []string{"list", "--limit", "0"}, 2, "", "allowed is 1 to 200"},
		{"nothing listed", []string{"list", "--status", "input_required", "-o", "json"}, 0, "[]", ""},
		{"unknown agent", []string{"run", "x", "--agent", "nobody"}, 1, "", "known are: echo. (agent_not_found)"},
		{"unknown task", []string{"get", "tsk_01a20cd9e03b7276be6a181888e33e52"}, 1, "", "task_not_found"},
		{"nothing to run", []string{"run"}, 2, "", "needs an instruction or --input"},
		{"input no JSON", []string{"run", "--input", "hello"}, 2, "", `--input '"text"'`},
		{"input file missing", []string{"run", "--input", "@" + file + "x"}, 2, "", "--input: "},
		{"label without value", []string{"run", "x", "--label", "team"}, 2, "", "key=value"},
		{"two instructions", []string{"run", "say", "hello"}, 2, "", "quote it"},
		{"no id", []string{"get"}, 2, "", "one task id"},
		{"bad output", []string{"list", "-o", "xml"}, 2, "", "text and json"},
		{"bad flag", []string{"list", "--nope"}, 2, "", "--help"},
		{"no such command", []string{"start"}, 2, "", "mesh task --help"},
		{"as curl", []string{"run", "it's", "--curl"}, 0, `-d '{"instruction":"it'\''s"}' '` + srv.URL + "/tasks'", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := task(tt.args...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) {
				t.Errorf("exit %d\nstdout %q\nstderr %q\nwant exit %d with %q and %q", code, out, errs, tt.code, tt.out, tt.err)
			}
			if tt.err == "" && errs != "" {
				t.Errorf("unexpected on stderr: %q", errs)
			}
		})
	}
}

// A script starts, cancels, retries and watches with JSON alone.
func TestTaskCommandsInAScript(t *testing.T) {
	m := newMesh(t)
	m.Work(echo.Agent())
	srv, c := m.Serve()
	must := func(want int, args ...string) (v client.Task) {
		t.Helper()
		code, out, errs := cli(t, append([]string{"task", "--gateway", srv.URL, "-o", "json"}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d: %s%s", args, code, want, out, errs)
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v printed %q: %v", args, out, err)
		}
		return v
	}
	started := must(0, "run", "--input", `{"echo_delay":"1m"}`, "--key", "script")
	if again := must(0, "run", "--input", `{"echo_delay":"1m"}`, "--key", "script"); again.TaskID != started.TaskID {
		t.Errorf("the key made %s and %s", started.TaskID, again.TaskID)
	}
	for e, err := range c.Tasks.Events(t.Context(), started.TaskID) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Task != nil && e.Task.Status == "processing" {
			break
		}
	}
	if canceled := must(0, "cancel", started.TaskID, "--wait"); canceled.Status != "canceled" || canceled.StoppedAt.IsZero() {
		t.Errorf("cancel --wait shows %+v", canceled)
	}
	must(1, "watch", started.TaskID)
	retried := must(0, "retry", started.TaskID)
	if retried.RetriedFrom != started.TaskID {
		t.Errorf("retry shows %+v", retried)
	}
	if shown := must(0, "get", retried.TaskID); shown.RetriedFrom != started.TaskID {
		t.Errorf("get shows %+v", shown)
	}
	must(0, "cancel", retried.TaskID)
}

func TestNoGateway(t *testing.T) {
	code, _, errs := cli(t, "task", "run", "x", "--gateway", "http://127.0.0.1:1")
	if code != 1 || !strings.Contains(errs, "no gateway at http://127.0.0.1:1; is `mesh up` running?") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

package exec_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/exec"
)

// TestMain lets the test binary be a worker that is killed.
func TestMain(m *testing.M) {
	if script := os.Getenv("EXEC_TEST_SCRIPT"); script != "" {
		h := exec.New(exec.Config{Command: []string{"sh", "-c", script}}, exec.Options{Log: slog.New(slog.DiscardHandler)})
		if os.Getenv("EXEC_TEST_POOL") != "" {
			var open func() func()
			h, open = exec.NewPool(exec.Config{Command: []string{"sh", "-c", script}, Pool: 1}, exec.Options{Log: slog.New(slog.DiscardHandler)})
			defer open()()
		}
		_, _ = h(context.Background(), job(&reports{}))
		return
	}
	os.Exit(m.Run())
}

// reports is what a job told.
type reports struct {
	mu    sync.Mutex
	lines []string
	text  strings.Builder
}

func (r *reports) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *reports) Progress(percent int, message string) { r.note("%d%% %s", percent, message) }
func (r *reports) Milestone(_ context.Context, name, message string, data json.RawMessage) error {
	r.note("%s %s %s", name, message, data)
	return nil
}

func (r *reports) Output(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.WriteString(text)
}

func job(r *reports) *agent.Job {
	t := &task.Task{ID: "tsk_01a20cd9e03b7276be6a181888e33e52", Kind: task.KindTask, Agent: "a", Attempt: 2, Instruction: "say <hi>", Labels: map[string]string{"k": "v"}}
	return agent.NewJob(t, json.RawMessage(`{"n":1}`), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", r)
}

// sh runs a script as an agent and gives back its result as JSON.
func sh(ctx context.Context, script string, cfg ...func(*exec.Config, *exec.Options)) (string, *reports, error) {
	c, o := exec.Config{Command: []string{"sh", "-c", script}}, exec.Options{Log: slog.New(slog.DiscardHandler)}
	for _, f := range cfg {
		f(&c, &o)
	}
	r := &reports{}
	v, err := exec.New(c, o)(ctx, job(r))
	b, _ := json.Marshal(v)
	return string(b), r, err
}

// Everything that a program can do has an outcome.
func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		result       string
		code, err    string
		permanent    bool
	}{
		{"result", `echo '{"type":"result","result":{"a":1}}'`, `{"a":1}`, "", "", false},
		{"result null", `echo '{"type":"result","result":null}'`, `null`, "", "", false},
		{"last result", `echo '{"type":"result","result":1}'; echo '{"type":"result","result":2}'`, `2`, "", "", false},
		{"free text", `echo hello; echo world`, `{"text":"hello\nworld\n"}`, "", "", false},
		{"output messages", `echo '{"type":"output","text":"a"}'; printf b`, `{"text":"ab"}`, "", "", false},
		{"unknown type is text", `echo '{"type":"joke"}'`, `{"text":"{\"type\":\"joke\"}\n"}`, "", "", false},
		{"other JSON is text", `echo '[1]'`, `{"text":"[1]\n"}`, "", "", false},
		{"nothing", `true`, `{"text":""}`, "", "", false},
		{"no last line break", `printf '{"type":"result","result":7}'`, `7`, "", "", false},
		{"binary", `printf '\377\000\376\n'`, `{"text":"` + "\uFFFD" + `\u0000` + "\uFFFD" + `\n"}`, "", "", false},
		{"error", `echo '{"type":"error","code":"no_model","message":"away"}'; exit 1`, "null", "no_model", "away", false},
		{"permanent error", `echo '{"type":"error","message":"never","retryable":false}'`, "null", "", "never", true},
		{"status", `echo oops >&2; exit 3`, "null", task.CodeAgentCrashed, "status 3", false},
		{"result, then a bad status", `echo '{"type":"result","result":1}'; exit 3`, "null", task.CodeAgentCrashed, "status 3", false},
		{"killed", `kill -9 $$`, "null", task.CodeAgentCrashed, "killed by killed", false},
		{"long line", `printf '{"type":'; head -c 34000000 /dev/zero | tr '\0' ' '; sleep 60`, "null", task.CodeResultTooLarge, "over 33554432 bytes", true},
		{"message without its field", `echo '{"type":"result"}'; sleep 60`, "null", task.CodeAgentBadOutput, `has no "result"`, true},
		{"message that is cut short", `echo '{"type":"progress","percent":'; sleep 60`, "null", task.CodeAgentBadOutput, "progress message", true},
		{"never reads", `exec 0<&-; echo done`, `{"text":"done\n"}`, "", "", false},
		{"leaves a child that holds the output", `(sleep 60 >&1) & echo done`, `{"text":"done\n"}`, "", "", false},
		{"closes its output early", `echo done; exec 1>&- 2>&-; true`, `{"text":"done\n"}`, "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := sh(t.Context(), tt.script)
			var e *agent.Error
			if tt.err == "" {
				if err != nil || got != tt.result {
					t.Errorf("%s, %v, want %s", got, err, tt.result)
				}
			} else if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.err) || e.Permanent != tt.permanent {
				t.Errorf("%+v, want %s with %q, permanent %v", err, tt.code, tt.err, tt.permanent)
			}
		})
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\necho hi\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string][]string{
		"missing": {"no-such-program"}, "missing path": {"./no-such-program"}, "not executable": {plain}, "a folder": {dir},
	} {
		_, err := exec.New(exec.Config{Command: command, Dir: dir}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), job(&reports{}))
		var e *agent.Error
		if !errors.As(err, &e) || e.Code != task.CodeAgentUnreachable || e.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := sh(t.Context(), "true", func(c *exec.Config, _ *exec.Options) { c.Dir = dir + "/nowhere" }); err == nil {
		t.Error("a folder that is not there")
	}
}

func TestWhatAProgramSees(t *testing.T) {
	t.Setenv("NATS_CREDS", "secret")
	t.Setenv("MESH_TENANT", "secret")
	t.Setenv("MODEL", "large")
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		t.Setenv(name, "secret")
	}
	got, _, err := sh(t.Context(), `read -r line; echo "$line"; echo "$MESH_TASK_ID $MESH_ATTEMPT $TRACEPARENT $MESH_GATEWAY_URL $KEY $MODEL [$NATS_CREDS$MESH_TENANT$(env | grep secret)]"; if read -r more; then echo more; fi; pwd`,
		func(c *exec.Config, o *exec.Options) {
			c.Dir, c.Env, o.GatewayURL = "/", map[string]string{"KEY": "value"}, func() string { return "http://127.0.0.1:1" }
		})
	if err != nil {
		t.Fatal(err)
	}
	var result struct{ Text string }
	if err := json.Unmarshal([]byte(got), &result); err != nil {
		t.Fatal(err)
	}
	want := `{"task_id":"tsk_01a20cd9e03b7276be6a181888e33e52","kind":"task","agent":"a","attempt":2,"instruction":"say <hi>","input":{"n":1},"labels":{"k":"v"},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
tsk_01a20cd9e03b7276be6a181888e33e52 2 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 http://127.0.0.1:1 value large []
/
`
	if result.Text != want {
		t.Errorf("the program saw\n%s\nwant\n%s", result.Text, want)
	}
}

// A program has the key of its attempt, unless the file of agents gives it another
// one; the worker's own key is none of its business.
func TestAProgramHasTheKeyOfItsAttempt(t *testing.T) {
	t.Setenv("MESH_API_KEY", "the worker's")
	for _, tt := range []struct {
		key  agent.Secret
		env  map[string]string
		want string
	}{
		{"", nil, "{\"text\":\"none\\n\"}"},
		{"amt_1", nil, "{\"text\":\"amt_1\\n\"}"},
		{"amt_1", map[string]string{"MESH_API_KEY": "amk_own"}, "{\"text\":\"amk_own\\n\"}"},
	} {
		j := job(&reports{})
		j.Key = tt.key
		v, err := exec.New(exec.Config{Command: []string{"sh", "-c", `echo "${MESH_API_KEY:-none}"`}, Env: tt.env}, exec.Options{GatewayURL: func() string { return "http://127.0.0.1:1" }, Log: slog.New(slog.DiscardHandler)})(t.Context(), j)
		got, _ := json.Marshal(v)
		if err != nil || string(got) != tt.want {
			t.Errorf("%q and %v: %s %v, want %s", tt.key.Reveal(), tt.env, got, err, tt.want)
		}
	}
}

// A program answers a turn with a reply message, or with what it prints.
func TestTurns(t *testing.T) {
	for script, want := range map[string]string{
		`read -r line; echo thinking; printf '{"type":"reply","message":"hi","state":%s}\n' "$(printf '%s' "$line" | sed 's/.*"state"://; s/}}$//')"`: `hi {"n":7}`,
		`echo hi; echo you`: "hi\nyou ",
		`echo '{"type":"reply","message":"hi","state":7}'`: "bad reply: the state must be a JSON object",
		`echo '{"type":"reply","message":"hi"}'; exit 3`:   "the program ended with status 3",
	} {
		j := job(&reports{})
		j.Turn = &agent.Turn{SessionID: "ses_1", Messages: []agent.Message{{Role: "user", Text: "x"}}, State: json.RawMessage(`{"n":7}`)}
		v, err := exec.New(exec.Config{Command: []string{"sh", "-c", script}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), j)
		got := ""
		if err == nil {
			var message string
			var state json.RawMessage
			message, state, err = agent.ReplyOf(v)
			got = message + " " + string(state)
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

func TestReports(t *testing.T) {
	got, r, err := sh(t.Context(), `
echo '{"type":"progress","percent":70.9,"message":"most"}'
echo '{"type":"milestone","name":"read","message":"all","data":{"n":1}}'
echo text
echo '{"type":"result","result":"ok"}'`)
	if err != nil || got != `"ok"` || strings.Join(r.lines, "; ") != `70% most; read all {"n":1}` || r.text.String() != "text\n" {
		t.Errorf("%s, %v, %q, %q", got, err, r.lines, r.text.String())
	}
}

func TestStderrGoesToTheLog(t *testing.T) {
	var log bytes.Buffer
	_, _, err := sh(t.Context(), `echo first >&2; printf 'second' >&2; exit 1`, func(_ *exec.Config, o *exec.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	for _, want := range []string{"line=first", "line=second", "task=tsk_01a20cd9e03b7276be6a181888e33e52", "attempt=2"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, log.String())
		}
	}
	if err == nil || err.Error() != "the program ended with status 1" || detail(err) != "first\nsecond" {
		t.Errorf("%v, %q", err, detail(err))
	}
	_, _, err = sh(t.Context(), `head -c 100000 /dev/zero | tr '\0' x >&2; exit 1`)
	if got := detail(err); len(got) < 4000 || len(got) > 5000 {
		t.Errorf("the tail has %d bytes", len(got))
	}
}

func detail(err error) string {
	var e *agent.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return ""
}

// However an attempt fails, what the program said of it is for its operator
// only.
func TestStderrIsNoPartOfTheMessage(t *testing.T) {
	for name, script := range map[string]string{
		"status": `exit 1`, "killed": `kill -9 $$`, "error": `echo '{"type":"error","message":"away"}'`, "bad output": `echo '{"type":"result"}'; sleep 60`, "timeout": `sleep 60`,
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, agent.ErrTimeout)
		_, _, err := sh(ctx, `echo "db password is hunter2" >&2; `+script)
		cancel()
		if err == nil || strings.Contains(err.Error(), "hunter2") || detail(err) != "db password is hunter2" {
			t.Errorf("%s: %v, %q", name, err, detail(err))
		}
	}
	_, err := exec.New(exec.Config{Command: []string{"/opt/secret/agent"}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), job(&reports{}))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(detail(err), "/opt/secret/agent") {
		t.Errorf("not there: %v, %q", err, detail(err))
	}
}

// Standard error without end does not fill the disk.
func TestAFloodOfStderrIsBoundedInTheLog(t *testing.T) {
	var log bytes.Buffer
	_, _, err := sh(t.Context(), `yes "a line of no interest to anybody" | head -c 20000000 >&2; echo the last words >&2; exit 1`, func(_ *exec.Config, o *exec.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	if log.Len() > 4<<20 || !strings.Contains(log.String(), "left out of the log") || !strings.HasSuffix(detail(err), "the last words") {
		t.Errorf("the log has %d bytes, detail %q", log.Len(), detail(err))
	}
}

// A large input that nobody reads does not hold the attempt up, and one that is
// read arrives.
func TestLargeInput(t *testing.T) {
	big := agent.NewJob(&task.Task{ID: "tsk_1"}, json.RawMessage(`"`+strings.Repeat("x", 5<<20)+`"`), "", &reports{})
	for script, want := range map[string]string{"true": "", "wc -c": "5242944\n"} {
		v, err := exec.New(exec.Config{Command: []string{"sh", "-c", script}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), big)
		if got := v.(map[string]string)["text"]; err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %q, %v", script, got, err)
		}
	}
}

// alive reports whether a process runs (a zombie does not).
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// eventually polls what only real processes tell.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the processes %v are gone", pids), func() bool { return !slices.ContainsFunc(pids, alive) })
}

// family is a program that has a child and a grandchild and tells their ids.
const family = `sh -c 'sleep 300 & echo $!; wait' & echo $!; echo $$; `

func pids(t *testing.T, text string, n int) []int {
	t.Helper()
	var all []int
	for _, f := range strings.Fields(text) {
		if pid, err := strconv.Atoi(f); err == nil {
			all = append(all, pid)
		}
	}
	if len(all) != n {
		t.Fatalf("process ids in %q, want %d", text, n)
	}
	return all
}

// Cancel asks the whole family to end, and insists.
func TestCancel(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	why := errors.New("canceled")
	for name, tt := range map[string]struct {
		script string
		least  time.Duration
	}{
		"obeys":   {family + "wait", 0},
		"refuses": {`trap "" TERM; ` + family + `while :; do sleep 1; done`, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			r := &reports{}
			began := make(chan time.Time, 1)
			go func() {
				eventually(t, "the family tells its ids", func() bool {
					r.mu.Lock()
					defer r.mu.Unlock()
					return strings.Count(r.text.String(), "\n") == 3
				})
				began <- time.Now()
				cancel(why)
			}()
			_, err := exec.New(exec.Config{Command: []string{"sh", "-c", tt.script}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(ctx, job(r))
			took := time.Since(<-began)
			if !errors.Is(err, why) || took < tt.least || took > tt.least+4*time.Second {
				t.Errorf("ended after %v with %v", took, err)
			}
			gone(t, pids(t, r.text.String(), 3))
		})
	}
}

// A worker that is killed takes the whole family with it.
func TestNoOrphans(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	for _, pool := range []string{"", "1"} {
		killed(t, pool)
	}
}

// killed kills a worker whose program, in a pool or not, has a family.
func killed(t *testing.T, pool string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "pids")
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXEC_TEST_POOL="+pool, "EXEC_TEST_SCRIPT={ "+family+"} > "+out+"; echo ready >&2; wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	eventually(t, "the family tells its ids", func() bool {
		text, _ = os.ReadFile(out)
		return strings.Count(string(text), "\n") == 3
	})
	family := pids(t, string(text), 3)
	for _, pid := range family {
		if !alive(pid) {
			t.Fatalf("process %d does not run", pid)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	gone(t, family)
}

// BenchmarkExec is one attempt of a program that answers at once, beside the
// bare cost of starting it and reading its answer.
func BenchmarkExec(b *testing.B) {
	command := []string{"sh", "-c", `read -r line; echo '{"type":"result","result":1}'`}
	b.Run("impl=floor", func(b *testing.B) {
		for b.Loop() {
			cmd := osexec.Command(command[0], command[1:]...)
			cmd.Stdin = strings.NewReader("{}\n")
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				b.Fatal(err)
			}
			if !bufio.NewScanner(out).Scan() || cmd.Wait() != nil {
				b.Fatal("no answer")
			}
		}
	})
	b.Run("impl=mesh", func(b *testing.B) {
		h := exec.New(exec.Config{Command: command}, exec.Options{Log: slog.New(slog.DiscardHandler)})
		for b.Loop() {
			if _, err := h(b.Context(), job(&reports{})); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package exec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/linestest"
)

// loop is a program in sh that takes one job after the other: say TYPE MEMBERS says a
// message of the job in $line.
const loop = `
say() { echo "{\"type\":\"$1\",\"id\":\"$id\"${2:+,$2}}"; }
while read -r line; do
	id=${line#*'"id":"'}; id=${id%%\"*}
	case $line in '{"type":"job"'*) ;; *) continue ;; esac
	SCRIPT
	say done
done`

func loopOf(script string) string { return strings.Replace(loop, "SCRIPT", script, 1) }

// poolOf is a handler of so many copies of a program that does this with each job.
func poolOf(t *testing.T, script string, cfg ...func(*exec.Config, *exec.Options)) agent.Handler {
	t.Helper()
	c, o := exec.Config{Command: []string{"sh", "-c", loopOf(script)}, Pool: 1}, exec.Options{Log: slog.New(slog.DiscardHandler)}
	for _, f := range cfg {
		f(&c, &o)
	}
	h, open := exec.NewPool(c, o)
	t.Cleanup(open())
	return h
}

// does runs one job and gives back its result as JSON.
func does(ctx context.Context, h agent.Handler, instruction string) (string, error) {
	v, err := h(ctx, agent.NewJob(&task.Task{ID: "tsk_1", Attempt: 1, Instruction: instruction}, nil, "", &reports{}))
	b, _ := json.Marshal(v)
	return string(b), err
}

// A copy takes one job after the other, until it has done so many; then there is
// another one.
func TestACopyTakesOneJobAfterTheOther(t *testing.T) {
	h := poolOf(t, `say result "\"result\":$$"`, func(c *exec.Config, _ *exec.Options) { c.MaxJobs = 3 })
	var by []string
	for range 7 {
		v, err := does(t.Context(), h, "x")
		if err != nil {
			t.Fatal(err)
		}
		by = append(by, v)
	}
	if by[0] != by[2] || by[2] == by[3] || by[3] != by[5] || by[5] == by[6] {
		t.Errorf("by %v", by)
	}
}

// As many jobs as there are copies run at once, and one more has a copy of its own.
func TestCopiesRunAtOnce(t *testing.T) {
	dir := t.TempDir()
	h := poolOf(t, `: > "$DIR/$$"; while [ "$(ls "$DIR" | wc -l)" -lt 3 ]; do sleep 0.01; done; say result '"result":1'`, func(c *exec.Config, _ *exec.Options) {
		c.Pool, c.Env = 2, map[string]string{"DIR": dir}
	})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if _, err := does(t.Context(), h, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// Everything that a copy can do with a job has an outcome, as of a program that is
// started for it, and the next job has a copy.
func TestOutcomesOfAPool(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		result       string
		code, err    string
		permanent    bool
	}{
		{"result", `say result '"result":{"a":1}'`, `{"a":1}`, "", "", false},
		{"the job", `job=${line#*\"job\":}; say result "\"result\":${job%\}}"`, `{"task_id":"tsk_1","kind":"","agent":"","attempt":1,"instruction":"x"}`, "", "", false},
		{"last result", `say result '"result":1'; say result '"result":2'`, `2`, "", "", false},
		{"output", `say output '"text":"a"'; say output '"text":"b"'`, `{"text":"ab"}`, "", "", false},
		{"nothing", `:`, `{"text":""}`, "", "", false},
		{"reply", `say reply '"message":"hi","state":{"n":1}'`, `{"message":"hi","state":{"n":1}}`, "", "", false},
		{"error", `say error '"code":"no_model","message":"away"'; say result '"result":1'`, "null", "no_model", "away", false},
		{"permanent error", `say error '"message":"never","retryable":false'`, "null", "", "never", true},
		{"a library prints", `echo loading; echo '[1]'; echo '{"level":"info"}'; printf 'a ' ; echo b; say result '"result":1'`, "1", "", "", false},
		{"a line of another job", `say result '"result":1'; echo '{"type":"result","id":"none","result":2}'; echo '{"type":"done","id":"none"}'`, "1", "", "", false},
		{"a line of no job", `echo '{"type":"result","result":2}'; sleep 60`, "null", task.CodeAgentBadOutput, `{"result":2,"type":"result"} has no "id"`, true},
		{"a line cut short", `echo '{"type":"result","id":"'$id'","res'; sleep 60`, "null", task.CodeAgentBadOutput, "is no JSON object", true},
		{"message without its field", `say result; sleep 60`, "null", task.CodeAgentBadOutput, `has no "result"`, true},
		{"long line", `printf '{"type":'; head -c 34000000 /dev/zero | tr '\0' ' '; sleep 60`, "null", task.CodeResultTooLarge, "over 33554432 bytes", true},
		{"long text", `head -c 34000000 /dev/zero | tr '\0' x; echo; say result '"result":1'`, "1", "", "", false},
		{"ends in the middle", `exit 0`, "null", task.CodeAgentCrashed, "status 0 before it was done", false},
		{"status", `say result '"result":1'; exit 3`, "null", task.CodeAgentCrashed, "status 3 before it was done", false},
		{"killed", `printf '{"type":"resu'; kill -9 $$`, "null", task.CodeAgentCrashed, "killed by killed", false},
		{"ends when it is done", `say result '"result":1'; say done; exit`, "1", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := poolOf(t, `case $line in *'"instruction":"again"'*) say result '"result":"next"' ;; *) `+tt.script+` ;; esac`)
			got, err := does(t.Context(), h, "x")
			var e *agent.Error
			if tt.err == "" {
				if err != nil || got != tt.result {
					t.Errorf("%s, %v, want %s", got, err, tt.result)
				}
			} else if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.err) || e.Permanent != tt.permanent {
				t.Errorf("%+v, want %s with %q, permanent %v", err, tt.code, tt.err, tt.permanent)
			}
			if got, err := does(t.Context(), h, "again"); got != `"next"` || err != nil {
				t.Errorf("the next job: %s, %v", got, err)
			}
		})
	}
}

// A copy has the key of each attempt, and hears that a step is kept, under the id of
// its job. One that waits is asked again when it has waited.
func TestACopyKeepsSteps(t *testing.T) {
	m := &linestest.Memory{Waited: func(m *linestest.Memory) error {
		m.Come(agent.PastStep{Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")})
		return nil
	}}
	h := poolOf(t, `case $line in
	*'"kind":"answer"'*) key=${line#*'"api_key":"'}; say result "\"result\":\"${key%%\"*}\"" ;;
	*) say step '"name":"charge","value":7,"ack":true'; read -r word
		[ "$word" = "{\"type\":\"ok\",\"name\":\"charge\",\"n\":0,\"id\":\"$id\"}" ] || say error "\"message\":\"word\""
		say ask '"name":"approve","prompt":"Pay?"' ;;
	esac`, func(c *exec.Config, _ *exec.Options) { c.Steps = true })
	j := job(&reports{}).WithLines(m)
	j.Key = "amt_1"
	v, err := h(t.Context(), j)
	if got, _ := json.Marshal(v); err != nil || string(got) != `"amt_1"` || len(m.Told()) != 2 {
		t.Errorf("%s, %v, kept %+v", got, err, m.Told())
	}
}

// A copy that obeys a cancel goes on with the next job. One that does not is stopped
// with its family, and the next job has another one.
func TestACopyIsToldOfACancel(t *testing.T) {
	why := errors.New("canceled")
	for name, script := range map[string]string{
		"obeys":    `say result "\"result\":$$"; case $line in *'"instruction":"wait"'*) say output '"text":"here"'; read -r line; [ "$line" = "{\"id\":\"$id\",\"type\":\"cancel\"}" ] || sleep 60 ;; esac`,
		"does not": `say result "\"result\":$$"; case $line in *'"instruction":"wait"'*) say output '"text":"here"'; sleep 60 ;; esac`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := poolOf(t, script)
			before, err := does(t.Context(), h, "x")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			here := func() { cancel(why) }
			_, err = h(ctx, agent.NewJob(&task.Task{ID: "tsk_1", Attempt: 1, Instruction: "wait"}, nil, "", &onOutput{do: here}))
			after, next := does(t.Context(), h, "x")
			if !errors.Is(err, why) || next != nil || (before == after) != (name == "obeys") {
				t.Errorf("canceled: %v; before it by %s, after it by %s, %v", err, before, after, next)
			}
		})
	}
}

// onOutput does something when there is output.
type onOutput struct {
	reports
	do func()
}

func (o *onOutput) Output(string) { o.do() }

// The tail of standard error is that of the job, and its log names the task.
func TestStderrOfAPoolIsThatOfTheJob(t *testing.T) {
	var log bytes.Buffer
	h := poolOf(t, `case $line in *'"instruction":"first"'*) echo "secret of the first" >&2 ;; *) echo "the model is away" >&2; say error '"message":"no"' ;; esac`,
		func(_ *exec.Config, o *exec.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 20 {
		if _, err := does(t.Context(), h, "first"); err != nil {
			t.Fatal(err)
		}
		if _, err := does(t.Context(), h, "second"); err == nil || detail(err) != "the model is away" {
			t.Fatalf("%v, %q", err, detail(err))
		}
	}
	if !strings.Contains(log.String(), `line="secret of the first" task=tsk_1`) && !strings.Contains(log.String(), `task=tsk_1 agent="" attempt=1 line="secret of the first"`) {
		t.Errorf("the log:\n%s", log.String())
	}
}

// Copies end with their pool, also those that have a job to do still, and those that
// would not.
func TestCopiesEndWithTheirPool(t *testing.T) {
	for name, tt := range map[string]struct {
		trap  string
		least time.Duration
	}{"obey": {"", 0}, "ignore the end of their input": {"trap : EXIT; ", 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, open := exec.NewPool(exec.Config{Command: []string{"sh", "-c", tt.trap + loopOf(`sleep 300 & say result "\"result\":[$$,$!]"`) + `; sleep 300`}, Pool: 2}, exec.Options{Log: slog.New(slog.DiscardHandler)})
			shut := open()
			v, err := h(t.Context(), job(&reports{}))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := json.Marshal(v)
			shut()
			gone(t, pids(t, strings.NewReplacer("[", "", "]", "", ",", " ").Replace(string(raw)), 2))
		})
	}
}

// A program that ends at once is not started again and again.
func TestACopyThatEndsAtOnceIsNotStartedAgainAndAgain(t *testing.T) {
	var log lockedBuffer
	h, open := exec.NewPool(exec.Config{Command: []string{"sh", "-c", "echo no such module >&2; exit 1"}, Pool: 2}, exec.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	shut := open()
	_, err := h(t.Context(), job(&reports{}))
	var e *agent.Error
	if !errors.As(err, &e) || e.Code != task.CodeAgentCrashed || e.Permanent {
		t.Errorf("%+v", err)
	}
	shut()
	if n := strings.Count(log.String(), "no such module"); n > 3 {
		t.Errorf("it was started %d times", n)
	}
	_, err = exec.New(exec.Config{Command: []string{"no-such-program"}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), job(&reports{}))
	h, open = exec.NewPool(exec.Config{Command: []string{"no-such-program"}, Pool: 2}, exec.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer open()()
	if _, same := h(t.Context(), job(&reports{})); same == nil || same.Error() != err.Error() {
		t.Errorf("%v, want %v", same, err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// BenchmarkPool is one attempt of a program in Python: a process for each, and a copy
// that takes one after the other.
func BenchmarkPool(b *testing.B) {
	if _, err := osexec.LookPath("python3"); err != nil {
		b.Skip("python3 is not there")
	}
	program := func(body string) exec.Config {
		return exec.Config{Command: []string{"python3", "-c", "import json, sys\n" + body}, Pool: 1}
	}
	o := exec.Options{Log: slog.New(slog.DiscardHandler)}
	run := func(name string, h agent.Handler) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := h(b.Context(), job(&reports{})); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("way=process", exec.New(program("json.load(sys.stdin)\nprint(json.dumps({'type': 'result', 'result': 1}))"), o))
	h, open := exec.NewPool(program("for line in sys.stdin:\n  id = json.loads(line)['id']\n  for m in ({'type': 'result', 'result': 1}, {'type': 'done'}):\n    print(json.dumps({**m, 'id': id}), flush=True)"), o)
	defer open()()
	run("way=pool", h)
}

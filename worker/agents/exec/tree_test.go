package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/exec"
)

func needsSetsid(t *testing.T) {
	t.Helper()
	if _, err := osexec.LookPath("setsid"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs Linux and setsid")
	}
}

// runaways is a program that starts processes in sessions of their own, one of
// them a grandchild, and tells their ids.
const runaways = `setsid sh -c 'echo $$; exec sleep 300' & (setsid sh -c 'setsid sh -c "echo \$\$; exec sleep 300" & echo $$; exec sleep 300' &) ; `

// A process that has left the program's group and session ends with the attempt.
func TestWhatLeftTheGroupEndsWithTheAttempt(t *testing.T) {
	needsSetsid(t)
	told := func(r *reports) func() bool {
		return func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return strings.Count(r.text.String(), "\n") >= 3
		}
	}
	for name, script := range map[string]string{"ends": runaways + `read -r x; while ! [ -e "$READY" ]; do sleep 0.02; done`, "is canceled": runaways + `wait; sleep 300`} {
		t.Run(name, func(t *testing.T) {
			ready := filepath.Join(t.TempDir(), "ready")
			ctx, cancel := context.WithCancelCause(t.Context())
			r := &reports{}
			go func() {
				eventually(t, "the runaways tell their ids", told(r))
				if name == "ends" {
					_ = os.WriteFile(ready, nil, 0o600)
				} else {
					cancel(agent.ErrCanceled)
				}
			}()
			_, err := exec.New(exec.Config{Command: []string{"sh", "-c", script}, Env: map[string]string{"READY": ready}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(ctx, job(r))
			if name == "ends" && err != nil || name != "ends" && !errors.Is(err, agent.ErrCanceled) {
				t.Error(err)
			}
			for _, pid := range pids(t, r.text.String(), 3) {
				if alive(pid) {
					t.Errorf("process %d outlives the attempt", pid)
				}
			}
		})
	}
}

// A worker that is killed takes those along, too.
func TestWhatLeftTheGroupEndsWithAKilledWorker(t *testing.T) {
	needsSetsid(t)
	out := filepath.Join(t.TempDir(), "pids")
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXEC_TEST_SCRIPT={ "+runaways+"} > "+out+"; wait; sleep 300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	eventually(t, "the runaways tell their ids", func() bool {
		text, _ = os.ReadFile(out)
		return strings.Count(string(text), "\n") == 3
	})
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	gone(t, pids(t, string(text), 3))
}

// A program that has said all and ended well has done its work, whoever still
// holds its output.
func TestADaemonThatHoldsTheOutputCostsNothing(t *testing.T) {
	needsSetsid(t)
	for name, daemon := range map[string]string{
		"found": `setsid sleep 300`, "hidden": `env -i setsid sh -c 'sleep 300; exit'`, "hidden and noisy": `env -i setsid sh -c 'while :; do echo x; done'`,
	} {
		got, r, err := sh(t.Context(), daemon+` & echo "pid $!"; sleep 0.2; echo '{"type":"result","result":"whole"}'`)
		if err != nil || got != `"whole"` {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		for _, f := range strings.Fields(r.text.String()) {
			if pid := pidOf(f); pid > 0 {
				_ = syscall.Kill(-pid, syscall.SIGKILL) // the hidden ones
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func pidOf(s string) (pid int) {
	_ = json.Unmarshal([]byte(s), &pid)
	return pid
}

// Orphans of a program are reaped, while it runs and after.
func TestNoZombiesAreLeft(t *testing.T) {
	needsSetsid(t)
	before := zombies(t) // of other tests: somebody might wait for them
	if _, _, err := sh(t.Context(), `for i in 1 2 3; do (setsid true &); (true &); (sh -c 'setsid sleep 0.05' &); done; sleep 0.2; echo done`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no zombie is left", func() bool {
		return !slices.ContainsFunc(zombies(t), func(pid string) bool { return !slices.Contains(before, pid) })
	})
}

func zombies(t *testing.T) (all []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Skip("this kernel lists no children")
	}
	for _, name := range lists {
		list, _ := os.ReadFile(name)
		for pid := range strings.FieldsSeq(string(list)) {
			if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && strings.Contains(string(stat), ") Z ") {
				all = append(all, pid)
			}
		}
	}
	return all
}

// slow takes its time over the first milestone.
type slow struct {
	reports
	pause time.Duration
}

func (s *slow) Milestone(ctx context.Context, name, message string, data json.RawMessage) error {
	<-time.After(s.pause)
	s.pause = 0
	return s.reports.Milestone(ctx, name, message, data)
}

// A program's output is read to its end, however long that takes after the
// program has ended.
func TestOutputIsReadToItsEnd(t *testing.T) {
	script := `for i in $(seq 200); do echo '{"type":"milestone","name":"m"}'; done; for i in $(seq 50000); do echo $i; done; echo '{"type":"result","result":"all"}'`
	for _, pause := range []time.Duration{0, 1500 * time.Millisecond} {
		r := &slow{pause: pause}
		j := agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", r)
		v, err := exec.New(exec.Config{Command: []string{"sh", "-c", script}}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), j)
		if raw, _ := v.(json.RawMessage); err != nil || string(raw) != `"all"` || len(r.lines) != 200 || !strings.HasSuffix(r.text.String(), "\n50000\n") {
			t.Errorf("after %v: %s, %v, %d milestones", pause, raw, err, len(r.lines))
		}
	}
	short := &slow{pause: 1500 * time.Millisecond}
	v, err := exec.New(exec.Config{Command: []string{"sh", "-c", `echo '{"type":"milestone","name":"m"}'; echo '{"type":"result","result":"all"}'`}},
		exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", short))
	if raw, _ := v.(json.RawMessage); err != nil || string(raw) != `"all"` {
		t.Errorf("a program that ended long before: %s, %v", raw, err)
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// durableExamples are the example agents that keep steps, with what each needs, and
// how many effects it has before its sleep and in all.
var durableExamples = []struct {
	name, needs string
	before, all int
}{{"refund", "sh", 1, 2}, {"digest", "python3", 2, 3}, {"onboard", "node", 2, 3}}

// killed is a task of a durable example, in a mesh that is killed again and again.
type killed struct {
	t      *testing.T
	dir    string
	args   []string
	ledger string // what the agent's effects did
	mesh   *meshtest.Process
	client *client.Client
	task   string
	kills  int
}

func (k *killed) start() {
	k.t.Helper()
	k.mesh = startUp(k.t, k.dir, k.args...)
	c, err := client.New(k.mesh.Gateway)
	if err != nil {
		k.t.Fatal(err)
	}
	k.client = c
}

// done are the effects so far.
func (k *killed) done() []string {
	raw, _ := os.ReadFile(k.ledger)
	return strings.Fields(string(raw))
}

func (k *killed) status() (t client.Task) {
	k.t.Helper()
	got, err := k.client.Tasks.Get(k.t.Context(), k.task)
	if err != nil {
		k.t.Fatal(err)
	}
	return *got
}

// agents are the processes of the task's agent.
func (k *killed) agents() (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte("MESH_TASK_ID="+k.task+"\x00")) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// killAgent kills the agent where it runs, killMesh everything.
func (k *killed) killAgent() {
	k.kills++
	for _, pid := range k.agents() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func (k *killed) killMesh() {
	k.kills++
	k.mesh.Kill()
	k.start()
}

// reaches waits until so many effects have begun.
func (k *killed) reaches(n int) {
	k.t.Helper()
	natstest.Until(k.t, fmt.Sprintf("%d effects have begun", n), func() bool { return distinct(k.done()) >= n })
}

func distinct(all []string) int {
	seen := map[string]bool{}
	for _, s := range all {
		seen[s] = true
	}
	return len(seen)
}

// waits waits until the task waits as f says, and no process does.
func (k *killed) waits(what string, f func(client.Task) bool) {
	k.t.Helper()
	natstest.Until(k.t, what, func() bool { return f(k.status()) && len(k.agents()) == 0 })
}

func (k *killed) answer() {
	k.t.Helper()
	k.waits("the task asks", func(t client.Task) bool { return t.Status == "input_required" })
	if _, err := k.client.Tasks.Answer(k.t.Context(), k.task, client.Answer{Name: "approve", Value: true}); err != nil {
		k.t.Fatal(err)
	}
}

// TestCrashesOfDurableAgentsRepeatNoFinishedStep kills agents in sh, Python and Node,
// and the whole mesh with its worker, with SIGKILL: inside a step, between two, while
// the task sleeps and while it asks. Each effect is counted outside of the mesh, and
// happens again only where it was cut off; the result is that of a run without
// crashes.
func TestCrashesOfDurableAgentsRepeatNoFinishedStep(t *testing.T) {
	t.Parallel() // it waits for processes
	rounds := 1
	if *meshtest.Chaos {
		rounds = 5
	}
	for _, example := range durableExamples {
		t.Run(example.name, func(t *testing.T) {
			if example.needs != "sh" && !*meshtest.Chaos {
				t.Skip("make steps-crash kills the durable agent in " + example.needs)
			}
			if _, err := osexec.LookPath(example.needs); err != nil {
				t.Skip(example.needs + " is not there: the durable agent in it was not killed")
			}
			k := &killed{t: t, dir: t.TempDir(), ledger: filepath.Join(t.TempDir(), "ledger")}
			k.args = []string{"--agents", k.file(example.name)}
			k.start()
			want := k.whole()
			for range rounds {
				k.begin()
				k.reaches(1)
				k.killAgent()
				k.reaches(example.before)
				k.killMesh()
				k.waits("the task sleeps", func(t client.Task) bool { return t.Status == "pending" && !t.NotBefore.IsZero() })
				k.killMesh()
				k.waits("the task asks", func(t client.Task) bool { return t.Status == "input_required" })
				k.killMesh()
				k.answer()
				k.reaches(example.all)
				k.killAgent()
				k.ended(want, example.all)
			}
		})
	}
}

// file is an agents.yaml with one example, which takes its time and is tried again at
// once.
func (k *killed) file(name string) string {
	k.t.Helper()
	where, err := filepath.Abs(filepath.Dir(examples))
	if err != nil {
		k.t.Fatal(err)
	}
	command := map[string]string{"refund": "./refund.sh", "digest": "python3, digest.py", "onboard": "node, onboard.mjs"}[name]
	return meshtest.WriteFile(k.t, k.t.TempDir(), "agents.yaml", fmt.Appendf(nil, `agents:
  - name: durable
    suspend_after: 100ms
    retry: {max_attempts: 100, backoff: 10ms, max_backoff: 10ms}
    exec: {command: [%s], protocol: steps, dir: %s, env: {LEDGER: %s, DWELL: "0.2", COOL_DOWN: 1s}}
`, command, where, k.ledger))
}

func (k *killed) begin() {
	k.t.Helper()
	_ = os.Remove(k.ledger)
	k.kills = 0
	t, err := k.client.Tasks.Create(k.t.Context(), client.Request{Agent: "durable", Instruction: "x"}, client.CreateOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.task = t.TaskID
}

// whole is the result of a run without crashes.
func (k *killed) whole() string {
	k.t.Helper()
	k.begin()
	k.answer()
	t, err := k.client.Tasks.Wait(k.t.Context(), k.task)
	if err != nil || t.Status != "completed" {
		k.t.Fatalf("without a crash: %+v, %v", t, err)
	}
	if all := k.done(); len(all) != distinct(all) {
		k.t.Fatalf("without a crash it did %v", all)
	}
	return strings.ReplaceAll(string(t.Result), k.task, "TASK")
}

// ended checks what the task came to.
func (k *killed) ended(want string, effects int) {
	k.t.Helper()
	t, err := k.client.Tasks.Wait(k.t.Context(), k.task)
	if err != nil || t.Status != "completed" || strings.ReplaceAll(string(t.Result), k.task, "TASK") != want {
		k.t.Errorf("after %d crashes: %s %s %+v, %v\nwant %s", k.kills, t.Status, t.Result, t.Error, err, want)
	}
	all := k.done()
	if distinct(all) != effects || len(all) > effects+k.kills {
		k.t.Errorf("in %d crashes it did %v, %d effects are its", k.kills, all, effects)
	}
	times := map[string]int{}
	for _, effect := range all {
		if times[effect]++; times[effect] > 1+k.kills {
			k.t.Errorf("in %d crashes %s happened %d times", k.kills, effect, times[effect])
		}
	}
}

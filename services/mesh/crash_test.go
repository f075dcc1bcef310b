package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/natstest"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// startUp runs `mesh up` on dir with free ports and waits until it is ready.
func startUp(t *testing.T, dir string, args ...string) *meshtest.Process {
	t.Helper()
	args = append([]string{"up", "--data", dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--admin", "off", "--lease", "1s", "--log-level", "warn"}, args...)
	p, output := meshtest.Spawn(t, []string{"MESH_TEST_MAIN=1"}, args...)
	p.Data = dir
	for {
		line, err := output.ReadString('\n')
		fields := strings.Fields(line)
		switch {
		case err != nil:
			t.Fatalf("mesh up ended: %s", p.Output)
		case len(fields) > 1 && fields[0] == "gateway":
			p.Gateway = fields[1]
		case len(fields) > 1 && fields[0] == "NATS":
			p.NATS = fields[1]
		case len(fields) > 1 && fields[0] == "Try":
			go p.Drain(output)
			return p
		}
	}
}

// testWorker is a worker process of the tests: its agent kills the process, or
// waits before it answers.
func testWorker(role string) int {
	ctx, stop := proc.Context(context.Background())
	defer stop()
	cfg, log := worker.Default(), slog.New(slog.DiscardHandler)
	cfg.Lease = time.Second
	conn := natsconn.Default("worker")
	conn.URL, conn.Data = os.Getenv("NATS_URL"), os.Getenv("MESH_DATA")
	nc, err := natsconn.Connect(ctx, conn, "test-worker", log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer nc.Close()
	st, err := store.Open(ctx, nc, store.Options{Replicas: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if role == "counter" {
		return serveTests(ctx, cfg, st, meshtest.Counter(), log)
	}
	a := meshtest.Named(role, func(ctx context.Context, job *agent.Job) (any, error) {
		switch role {
		case "poison":
			os.Exit(3)
		case "caller":
			for i := range 2 {
				if _, err := job.Call(ctx, "step", i); err != nil {
					return nil, err
				}
				if job.Attempt == 1 {
					os.Exit(3)
				}
			}
			return "done", nil
		case "asks":
			return agent.Ask[string](ctx, job, "sure", agent.Question{Prompt: "Are you sure?"})
		}
		if role == "streams" {
			job.Output("begun ")
		}
		fmt.Fprintln(os.Stderr, "started")
		select {
		case <-time.After(1500 * time.Millisecond):
		case <-ctx.Done():
			fmt.Fprintln(os.Stderr, "ended", context.Cause(ctx))
			return nil, context.Cause(ctx)
		}
		if role == "streams" {
			return map[string]any{"text": fmt.Sprintf("begun ended %d", job.Attempt)}, nil
		}
		return map[string]any{"pid": os.Getpid(), "attempt": job.Attempt}, nil
	})
	return serveTests(ctx, cfg, st, a, log)
}

func serveTests(ctx context.Context, cfg worker.Config, st *store.Store, a agent.Agent, log *slog.Logger) int {
	w, err := worker.New(ctx, cfg, st, []agent.Agent{a}, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, "ready")
	if err := w.Run(ctx); err != nil {
		return 1
	}
	return 0
}

// spawnWorker starts a worker of the tests beside a mesh, and waits until it is
// ready.
func spawnWorker(t *testing.T, mesh *meshtest.Process, role string) *meshtest.Process {
	t.Helper()
	w, output := meshtest.Spawn(t, append(mesh.Beside(), "MESH_TEST_WORKER="+role))
	meshtest.WaitLine(t, w, output, "ready")
	go w.Drain(output)
	return w
}

// ledger is what the client knows, outside the mesh.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]string // task id -> input
	maybe    map[string]string // key -> input: no answer came
}

// TestACrashLosesNoAcceptedTask kills a real `mesh up` under load, again and again:
// every accepted task reaches one terminal state with its own result (I1, I2),
// and a request whose answer was lost converges on one task when it is sent
// again with its key (I17).
func TestACrashLosesNoAcceptedTask(t *testing.T) {
	natstest.LongUnderRace(t)
	t.Parallel() // it waits for starts
	kills, within := 20, time.Minute
	if *meshtest.Chaos {
		kills, within = 200, 8*time.Minute // a fifth of the tasks takes 300 ms of 16 slots
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "data")
	l := &ledger{accepted: map[string]string{}, maybe: map[string]string{}}
	for n := range kills {
		p := startUp(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for c := range 4 {
			load.Go(func() { l.load(ctx, p.Gateway, fmt.Sprintf("%d-%d", n, c)) })
		}
		<-time.After(time.Duration(20+rnd.IntN(200)) * time.Millisecond)
		p.Kill()
		cancel()
		load.Wait()
		if strings.Contains(p.Output.String(), "data is missing") { // a kill is no damage
			t.Errorf("after %d kills: %s", n, p.Output)
		}
	}
	p := startUp(t, dir)
	c, err := client.New(p.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	for key, input := range l.maybe {
		id, err := post(t.Context(), p.Gateway, key, input)
		if err != nil {
			t.Fatalf("repeat of %s: %v", key, err)
		}
		l.accepted[id] = input
	}
	t.Logf("%d kills, %d accepted, %d of them after a lost answer", kills, len(l.accepted), len(l.maybe))
	if len(l.accepted) < kills {
		t.Fatalf("only %d tasks were accepted: no load", len(l.accepted))
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for id, input := range l.accepted {
		task, err := c.Tasks.Wait(ctx, id)
		if err != nil {
			t.Fatalf("task %s: %v", id, err)
		}
		if kills > 100 && task.Error != nil && task.Error.Code == "worker_lost" && task.Attempt == 100 {
			continue // slower than the kills came, until its attempts were used up
		}
		if task.Status != "completed" || string(task.Result) != input {
			t.Errorf("task %s is %s with %s, want %s; error %+v", id, task.Status, task.Result, input, task.Error)
		}
	}
	seen := map[string]bool{}
	for task, err := range c.Tasks.All(ctx, client.Filter{Limit: 200}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[task.TaskID] || l.accepted[task.TaskID] == "" {
			t.Errorf("task %s is listed twice or unknown to the client", task.TaskID)
		}
		seen[task.TaskID] = true
	}
	if len(seen) != len(l.accepted) {
		t.Errorf("%d tasks are listed, %d were accepted", len(seen), len(l.accepted))
	}
}

// load posts until the mesh is killed.
func (l *ledger) load(ctx context.Context, gateway, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		key, input := fmt.Sprintf("%s-%d", name, i), fmt.Sprintf(`{"n":"%s-%d"}`, name, i)
		if i%5 == 4 {
			input = fmt.Sprintf(`{"echo_delay":"300ms","n":"%s-%d"}`, name, i)
		}
		id, err := post(ctx, gateway, key, input)
		l.mu.Lock()
		if err == nil {
			l.accepted[id] = input
		} else {
			l.maybe[key] = input
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// post sends one request and returns the id of a 202. Many kills may meet one
// task, so it may be tried often.
func post(ctx context.Context, gateway, key, input string) (id string, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", gateway+"/tasks", strings.NewReader(`{"agent":"echo","max_attempts":100,"input":`+input+`}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", `"`+key+`"`)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var got client.Task
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	return got.TaskID, nil
}

// An agent that kills its worker process every time ends as failed, not as an
// endless loop (W1, W4).
func TestATaskThatKillsItsWorkersFails(t *testing.T) {
	t.Parallel() // it waits for processes
	p := startUp(t, t.TempDir())
	c, err := client.New(p.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	env := append(p.Beside(), "MESH_TEST_WORKER=poison")
	var id string
	deaths := 0
	for id == "" || !ended(t, c, id) {
		w, output := meshtest.Spawn(t, env)
		meshtest.WaitLine(t, w, output, "ready")
		if id == "" {
			task, err := c.Tasks.Create(t.Context(), client.Request{Agent: "poison", Instruction: "x"}, client.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			id = task.TaskID
		}
		go w.Drain(output)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		go func() { _, _ = c.Tasks.Wait(ctx, id); cancel() }()
		select {
		case <-w.Done:
			deaths++
		case <-ctx.Done():
			w.Kill()
		}
		cancel()
		if deaths > 5 {
			t.Fatal("the task kills workers without end")
		}
	}
	task, err := c.Tasks.Get(t.Context(), id)
	if err != nil || task.Status != "failed" || task.Error == nil || task.Error.Code != "worker_lost" || deaths != 3 {
		t.Errorf("after %d deaths: %+v %+v, %v", deaths, task, task.Error, err)
	}
}

func ended(t *testing.T, c *client.Client, id string) bool {
	t.Helper()
	task, err := c.Tasks.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task.Done
}

// TestTheHeirsResultStandsWhenAFrozenProcessGoesOn stops a worker process past its lease and resumes it: the
// heir's result stands (W2 with real processes).
func TestTheHeirsResultStandsWhenAFrozenProcessGoesOn(t *testing.T) {
	t.Parallel() // it waits for processes
	p := startUp(t, t.TempDir())
	c, err := client.New(p.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	env := append(p.Beside(), "MESH_TEST_WORKER=slow")
	frozen, frozenErr := meshtest.Spawn(t, env)
	meshtest.WaitLine(t, frozen, frozenErr, "ready")
	task, err := c.Tasks.Create(t.Context(), client.Request{Agent: "slow", Instruction: "x"}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	meshtest.WaitLine(t, frozen, frozenErr, "started")
	frozen.Signal(syscall.SIGSTOP)
	heir, heirErr := meshtest.Spawn(t, env)
	meshtest.WaitLine(t, heir, heirErr, "ready")
	go heir.Drain(heirErr)
	done, err := c.Tasks.Wait(t.Context(), task.TaskID)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"attempt":%d,"pid":%d}`, done.Attempt, heir.Cmd.Process.Pid)
	if string(done.Result) != want || done.Attempt < 2 {
		t.Fatalf("result = %s, want the heir's %s", done.Result, want)
	}
	frozen.Signal(syscall.SIGCONT)
	frozen.Signal(syscall.SIGTERM) // it drains, and writes now whatever it still wants to
	frozen.Drain(frozenErr)
	again, err := c.Tasks.Get(t.Context(), task.TaskID)
	if err != nil || string(again.Result) != want || again.ETag == "" {
		t.Errorf("after the frozen worker resumed: %s, %v", again.Result, err)
	}
}

// A stopped mesh leaves its folder free, exits with 0 and keeps what it
// accepted.
func TestAStoppedMeshLeavesItsFolderFreeAndKeepsTheTasks(t *testing.T) {
	t.Parallel() // it waits for processes
	dir := t.TempDir()
	for n := range 3 {
		p := startUp(t, dir)
		c, err := client.New(p.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		if task, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Input: json.RawMessage(`1`)}, client.CreateOptions{Wait: 5 * time.Second}); err != nil || task.Status != "completed" {
			t.Fatalf("start %d: %+v, %v", n, task, err)
		}
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.Done:
		case <-time.After(20 * time.Second):
			t.Fatalf("it does not stop\n%s", p.Output)
		}
		if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("exit status %d\n%s", code, p.Output)
		}
	}
}

// An error that makes a start impossible is a sentence that names the flag.
func TestAStartThatIsImpossibleNamesTheFlag(t *testing.T) {
	dir := t.TempDir()
	p := startUp(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	taken := strings.TrimPrefix(p.Gateway, "http://")
	for _, tt := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"folder in use", []string{"--data", dir}, "is used by another mesh", 1},
		{"folder is a file", []string{"--data", file}, "choose another with --data", 1},
		{"http taken", []string{"--data", other, "--http", taken}, "listen for --http", 1},
		{"nats taken", []string{"--data", other, "--nats", strings.TrimPrefix(p.NATS, "nats://")}, "listen for --nats", 1},
		{"admin taken", []string{"--data", other, "--admin", taken}, "listen for --admin", 1},
		{"not loopback", []string{"--data", other, "--http", "0.0.0.0:0"}, "without authentication the gateway listens on loopback only", 1},
		{"any address", []string{"--data", other, "--http", ":0"}, "--insecure", 1},
		{"auth that is not there", []string{"--data", other, "--auth", "key"}, `auth is "key"`, 1},
		{"bad sync", []string{"--data", other, "--sync", "often"}, `sync is "often"`, 2},
		{"bad duration", []string{"--drain", "soon"}, "no duration", 2},
		{"unknown flag", []string{"--bogus"}, "--help lists the flags", 2},
		{"argument", []string{"now"}, "takes no arguments", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"up", "--http", "127.0.0.1:0", "--nats", "off", "--admin", "off"}, tt.args...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], args...)
			cmd.Env = append(os.Environ(), "MESH_TEST_MAIN=1")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.code || !strings.Contains(string(out), tt.want) {
				t.Errorf("mesh %s: %v\n%s\nwant status %d and %q", strings.Join(args, " "), err, out, tt.code, tt.want)
			}
		})
	}
}

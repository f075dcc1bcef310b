package agents_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/http"
	"agentmesh/worker/agents/linestest"
)

// kit is a program of a worker kit.
type kit struct {
	needs, program string
	dir            string
}

var hostile = []kit{{"python3", "hostile.py", "testdata"}, {"node", "hostile.mjs", "testdata"}, {"bun", "hostile.mjs", "testdata"}, {"deno", "hostile.mjs", "testdata"}}

// command runs the program.
func (k kit) command() []string {
	if k.needs == "deno" {
		return []string{k.needs, "run", "--allow-all", k.program}
	}
	return []string{k.needs, k.program}
}

// everyWay has each program run in each way, as make sdks does. Without it each kit is
// run in one of them, since processes take their time.
var everyWay = flag.Bool("kits", false, "run the programs of the worker kits in each way")

// ways are those to run a program of a kit.
func (k kit) ways() []string {
	if *everyWay {
		return []string{"exec", "pool", "http"}
	}
	return map[string][]string{"python3": {"pool"}, "node": {"http"}}[k.needs]
}

// handler runs the program in a way.
func (k kit) handler(t *testing.T, way string, steps bool, env map[string]string) agent.Handler {
	t.Helper()
	if _, err := osexec.LookPath(k.needs); err != nil {
		t.Skip(k.needs + " is not there: the programs of its kit were not run")
	}
	cfg := exec.Config{Command: k.command(), Dir: k.dir, Env: env, Steps: steps, Pool: 1}
	o := exec.Options{Log: slog.New(slog.DiscardHandler)}
	switch way {
	case "exec":
		return exec.New(cfg, o)
	case "pool":
		h, open := exec.NewPool(cfg, o)
		t.Cleanup(open())
		return h
	}
	url, _ := k.listen(t, env)
	return http.New(http.Config{URL: url, Headers: map[string]string{"Authorization": "Bearer secret"}}, http.Options{})
}

// listen runs the program as a service.
func (k kit) listen(t *testing.T, env map[string]string) (url string, p *osexec.Cmd) {
	t.Helper()
	command := k.command()
	cmd := osexec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = k.dir, append(os.Environ(), "MESH_AGENT_LISTEN=127.0.0.1:0", "MESH_AGENT_TOKEN=secret")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("it says %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return "http://" + address, cmd
}

// each runs a test for each kit in each way.
func each(t *testing.T, kits []kit, f func(t *testing.T, k kit, way string)) {
	for _, k := range kits {
		for _, way := range k.ways() {
			t.Run(k.needs+"/"+way, func(t *testing.T) {
				t.Parallel()
				f(t, k, way)
			})
		}
	}
}

// listener is an ear that keeps what there was to hear.
type listener struct {
	ear
	mu   sync.Mutex
	text strings.Builder
	here chan struct{}
}

func (l *listener) Output(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() == 0 && l.here != nil {
		close(l.here)
	}
	l.text.WriteString(text)
}

func asked(input map[string]string, l *listener) *agent.Job {
	raw, _ := json.Marshal(input)
	return agent.NewJob(&task.Task{ID: "tsk_1", Kind: task.KindTask, Agent: "renamed", Attempt: 1}, raw, "", l)
}

func asJSON(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// A handler of a kit lives with what is in its process and what comes from outside,
// whichever way it runs.
func TestHandlersOfAKitLiveWithTheirWorld(t *testing.T) {
	each(t, hostile, func(t *testing.T, k kit, way string) {
		h := k.handler(t, way, false, nil)
		try := func(input map[string]string) (string, *listener, error) {
			l := &listener{}
			v, err := h(t.Context(), asked(input, l))
			return asJSON(v), l, err
		}
		if got, _, err := try(map[string]string{"do": "print"}); err != nil || got != `"the result"` {
			t.Errorf("what a library prints: %s, %v", got, err)
		}
		var e *agent.Error
		if got, _, err := try(map[string]string{"do": "never"}); !errors.As(err, &e) || e.Code != "no_way" || e.Message != "never" || !e.Permanent {
			t.Errorf("a permanent error: %s, %+v", got, err)
		}
		if got, _, err := try(map[string]string{"do": "exit"}); !errors.As(err, &e) || !strings.Contains(e.Message, "SystemExit: 0") {
			t.Errorf("a library that exits: %s, %+v", got, err)
		}
		if got, l, err := try(map[string]string{"do": "chunks", "text": "aé€😀\u2028\n"}); err != nil || got != `{"text":"aé€😀\u2028\n"}` || l.text.String() != "aé€😀\u2028\n" {
			t.Errorf("output in pieces: %s, %v, heard %q", got, err, l.text.String())
		}
		// Characters of one to four bytes, and one that some readers take for a line's end,
		// at every place of a chunk.
		text := strings.Repeat("aé€😀\u2028\u0085\r", 10<<20/17)
		sum := sha256.Sum256([]byte(text))
		var back struct{ Text, Sha string }
		got, _, err := try(map[string]string{"do": "echo", "text": text})
		if err != nil || json.Unmarshal([]byte(got), &back) != nil || back.Sha != hex.EncodeToString(sum[:]) || back.Text != text {
			t.Errorf("10 MB there and back: %d bytes of text, sha %s, %v", len(back.Text), back.Sha, err)
		}
	})
}

// A handler hears that its task is canceled, and one that does not listen is ended.
func TestHandlersOfAKitHearOfACancel(t *testing.T) {
	why := errors.New("canceled")
	each(t, hostile, func(t *testing.T, k kit, way string) {
		h := k.handler(t, way, false, nil)
		for _, do := range []string{"cancel", "stubborn"} {
			if do == "stubborn" && !*everyWay {
				continue // it takes as long as a stubborn program may
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			l := &listener{here: make(chan struct{})}
			go func() { <-l.here; cancel(why) }()
			file := filepath.Join(t.TempDir(), "heard")
			v, err := h(ctx, asked(map[string]string{"do": do, "file": file}, l))
			if !errors.Is(err, why) {
				t.Errorf("%s: %s, %v", do, asJSON(v), err)
			}
			if do == "cancel" {
				eventually(t, "the handler hears of the cancel", func() bool {
					raw, _ := os.ReadFile(file)
					return string(raw) == "canceled"
				})
			}
			if v, err := h(t.Context(), asked(map[string]string{"do": "next"}, &listener{})); err != nil || asJSON(v) != `"next"` {
				t.Errorf("after %s: %s, %v", do, asJSON(v), err)
			}
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

// A handler that is killed between two steps does neither of them twice.
func TestAHandlerKilledBetweenStepsDoesNoneTwice(t *testing.T) {
	each(t, hostile, func(t *testing.T, k kit, way string) {
		m, file := &linestest.Memory{}, filepath.Join(t.TempDir(), "ledger")
		h := k.handler(t, way, true, nil)
		if _, err := h(t.Context(), asked(map[string]string{"do": "killed", "file": file}, &listener{}).WithLines(m)); err == nil {
			t.Fatal("it was not killed")
		}
		if way == "http" {
			h = k.handler(t, way, true, nil) // somebody starts the service again
		}
		v, err := h(t.Context(), asked(map[string]string{"do": "killed", "file": file}, &listener{}).WithLines(m))
		done, _ := os.ReadFile(file)
		if err != nil || asJSON(v) != `["first","second"]` || string(done) != "first\nsecond\n" {
			t.Errorf("%s, %v, it did %q", asJSON(v), err, done)
		}
	})
}

// A service of a kit asks who calls, says that it is well, and takes no more than it
// has slots.
func TestAServiceOfAKitKeepsItsDoor(t *testing.T) {
	for _, k := range hostile {
		t.Run(k.needs, func(t *testing.T) {
			t.Parallel()
			_ = k.handler(t, "exec", false, nil) // or it is skipped
			url, cmd := k.listen(t, map[string]string{"MESH_SLOTS": "1"})
			as := func(token string) agent.Handler {
				return http.New(http.Config{URL: url, Headers: map[string]string{"Authorization": "Bearer " + token}}, http.Options{})
			}
			var e *agent.Error
			if _, err := as("guess")(t.Context(), asked(map[string]string{"do": "x"}, &listener{})); !errors.As(err, &e) || e.Code != task.CodeAgentHTTPError || !strings.Contains(e.Message, "401") {
				t.Errorf("a stranger: %+v", err)
			}
			note, err := http.Config{URL: url + "/healthz"}.Check(t.Context())
			if err != nil || !strings.HasPrefix(note, "200") {
				t.Errorf("healthz: %s, %v", note, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l := &listener{here: make(chan struct{})}
			ended := make(chan error, 1)
			go func() {
				_, err := as("secret")(ctx, asked(map[string]string{"do": "cancel", "file": filepath.Join(t.TempDir(), "heard")}, l))
				ended <- err
			}()
			<-l.here
			if _, err := as("secret")(t.Context(), asked(map[string]string{"do": "x"}, &listener{})); !errors.As(err, &e) || e.Permanent || e.RetryAfter != time.Second {
				t.Errorf("with its slot taken: %+v", err)
			}
			// SIGTERM cancels what runs, and the service ends.
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := <-ended; err == nil {
				t.Error("a job outlives its service")
			}
		})
	}
}

// The examples come to the same results whichever way they run.
func TestTheExamplesRunInEachWay(t *testing.T) {
	kits := []kit{{"python3", "wordcount.py", "examples"}, {"python3", "notes.py", "examples"}, {"python3", "digest.py", "examples"}, {"node", "onboard.mjs", "examples"}}
	for _, k := range kits {
		for _, way := range k.ways() {
			t.Run(k.program+"/"+way, func(t *testing.T) {
				t.Parallel()
				ledger := filepath.Join(t.TempDir(), "ledger")
				h := k.handler(t, way, strings.HasPrefix(k.program, "digest") || k.needs == "node", map[string]string{"LEDGER": ledger})
				runExample(t, k.program, h, ledger)
			})
		}
	}
}

func runExample(t *testing.T, program string, h agent.Handler, ledger string) {
	t.Helper()
	l := &listener{}
	job := agent.NewJob(&task.Task{ID: "tsk_1", Kind: task.KindTask, Attempt: 1}, json.RawMessage(`{"text":"the mesh\nthe work, the mesh"}`), "", l)
	want, effects := `{"words":6,"top":[["the",3],["mesh",2],["work",1]]}`, ""
	came := []agent.PastStep{{Name: "rest", Kind: agent.LineSleep}, {Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")}}
	switch program {
	case "notes.py":
		job.Kind, job.Turn = task.KindTurn, &agent.Turn{SessionID: "ses_1", Messages: []session.Message{{Role: session.User, Text: "add two <eggs>"}}, State: json.RawMessage(`{"items":["milk"]}`)}
		want = `{"message":"Noted. 2 on the list.","state":{"items":["milk","two <eggs>"]}}`
	case "digest.py":
		want, effects = `{"pages":["page/0 by tsk_1.page/0.0","page/1 by tsk_1.page/1.0"],"sent":"send by tsk_1.send.0"}`, "page/0 page/1 send"
	case "onboard.mjs":
		came[0].Name = "first-day"
		want, effects = `{"accounts":["mail by tsk_1.mail.0","wiki by tsk_1.wiki.0"],"sent":"welcome by tsk_1.welcome.0"}`, "mail wiki welcome"
	}
	if effects != "" {
		job = job.WithLines(&linestest.Memory{Waited: func(m *linestest.Memory) error { m.Come(came[0]); came = came[1:]; return nil }})
	}
	v, err := h(t.Context(), job)
	done, _ := os.ReadFile(ledger)
	got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(asJSON(v))
	if err != nil || got != want || strings.Join(strings.Fields(string(done)), " ") != effects {
		t.Errorf("%s, %v, it did %q\nwant %s", got, err, done, want)
	}
	if program == "wordcount.py" && strings.Join(l.said, " ") != "progress progress milestone" {
		t.Errorf("it said %v", l.said)
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents"
)

const examples = "../../worker/agents/examples/agents.yaml"

// The example agents run as their file says, in the mesh.
func TestTheExamplesRunAsTheirFileSays(t *testing.T) {
	m := meshtest.New(t)
	srv, c := m.Serve()
	all, err := agents.Load(examples, agents.Options{GatewayURL: func() string { return srv.URL }, Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m.Work(all...)
	for _, tt := range []struct {
		needs, request, result string
		more                   func(t *testing.T, v *client.Task)
	}{
		{"sh", `{"instruction":"say it"}`, "\nSAY IT\n", nil},
		{"sh", `{"instruction":"say \"it\" \\ with 'care' and {}\nor $(not) at all"}`, "SAY \"IT\" \\ WITH 'CARE' AND {}\nOR $(NOT) AT ALL\n", nil},
		{"python3", `{"agent":"wordcount","input":{"text":"the mesh\nthe work, the mesh"}}`, `{"words":6,"top":[["the",3],["mesh",2],["work",1]]}`, func(t *testing.T, v *client.Task) {
			if *v.Percent != 100 || v.Message != "line 2 of 2" || len(v.Milestones) != 1 || string(v.Milestones[0].Data) != `{"distinct":3}` {
				t.Errorf("%+v", v)
			}
		}},
		{"node", `{"agent":"outline","input":{"chapters":["One is here. One is there.","Two is here."]}}`, `{"outline":["One is here.","Two is here."]}`, func(t *testing.T, v *client.Task) {
			if len(v.Children) != 2 {
				t.Errorf("%+v", v)
			}
		}},
	} {
		t.Run(tt.needs, func(t *testing.T) {
			if _, err := osexec.LookPath(tt.needs); err != nil {
				t.Skip(tt.needs + " is not there")
			}
			var r client.Request
			if err := json.Unmarshal([]byte(tt.request), &r); err != nil {
				t.Fatal(err)
			}
			v, err := c.Tasks.Create(t.Context(), r, client.CreateOptions{})
			if err == nil {
				v, err = c.Tasks.Wait(t.Context(), v.TaskID)
			}
			if err != nil || v.Status != "completed" || v.Attempt != 1 {
				t.Fatalf("%+v %+v, %v", v, v.Error, err)
			}
			result := string(v.Result)
			var free struct{ Text string }
			if json.Unmarshal(v.Result, &free) == nil && free.Text != "" {
				result = free.Text
			}
			if !strings.Contains(result, tt.result) {
				t.Errorf("result %s, want %s", result, tt.result)
			}
			if tt.more != nil {
				tt.more(t, v)
			}
		})
	}
}

// A program keeps a conversation in its state.
func TestAProgramKeepsAConversationInItsState(t *testing.T) {
	if _, err := osexec.LookPath("python3"); err != nil {
		t.Skip("python3 is not there")
	}
	m := meshtest.New(t)
	all, err := agents.Load(examples, agents.Options{Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m.Work(all...)
	id := m.Session("notes")
	for _, turn := range [][2]string{
		{"add milk", "Noted. 1 on the list."}, {"add two <eggs>", "Noted. 2 on the list."}, {"done 1", "Done: milk."}, {"list", "1. two <eggs>"}, {"?", "I understand: add SOMETHING, done NUMBER, list."},
	} {
		if v := m.Say(http.StatusOK, id, turn[0]); v.Message != turn[1] {
			t.Errorf("%s: %+v, want %s", turn[0], v, turn[1])
		}
	}
	v := m.End(m.Create(`{"agent":"notes","instruction":"add milk"}`))
	if v.Status != "failed" || v.Error.Code != "bad_input" || v.Attempt != 1 {
		t.Errorf("outside of a session: %+v", v.Error)
	}
}

// A program's mistake ends its task with a code that says so.
func TestWhatAProgramDoesWrongHasACode(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	file := filepath.Join(t.TempDir(), "agents.yaml")
	retry := "retry: {max_attempts: 2, backoff: 1ms, max_backoff: 1ms}"
	if err := os.WriteFile(file, []byte(`
agents:
  - {name: crashes, `+retry+`, exec: {command: [sh, -c, "echo the model is away >&2; exit 7"]}}
  - {name: hangs, timeout: 50ms, `+retry+`, exec: {command: [sleep, "300"]}}
  - {name: missing, `+retry+`, exec: {command: [no-such-program]}}
  - {name: garbles, `+retry+`, exec: {command: [echo, "{\"type\":\"result\"}"]}}
  - {name: nobody, `+retry+`, http: {url: "http://127.0.0.1:1/"}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := agents.Load(file, agents.Options{Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m.Work(all...)
	for name, want := range map[string]struct {
		code, message, detail string
		attempts              int
	}{
		"crashes": {"agent_crashed", "status 7", "the model is away", 2},
		"hangs":   {"agent_timeout", "50ms", "", 2},
		"missing": {"agent_unreachable", "could not be started", "no-such-program", 2},
		"garbles": {"agent_bad_output", `has no "result"`, "", 1},
		"nobody":  {"agent_unreachable", "the agent did not answer", "refused", 2},
	} {
		v, err := c.Tasks.Create(t.Context(), client.Request{Agent: name, Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second})
		if err != nil || v.Status != "failed" || v.Error.Code != want.code || v.Attempt != want.attempts || !strings.Contains(v.Error.Message, want.message) {
			t.Errorf("%s: %+v, %v", name, v.Error, err)
			continue
		}
		if v, err = c.Tasks.Get(t.Context(), v.TaskID); err != nil || !strings.Contains(v.Error.Detail, want.detail) {
			t.Errorf("%s: %+v, %v; want %q in the detail", name, v.Error, err, want.detail)
		}
	}
}

// A parent whose worker is killed between two calls finds what it has called:
// each call ran once.
func TestAParentKilledBetweenCallsFindsWhatItCalled(t *testing.T) {
	t.Parallel() // it waits for processes
	dir := t.TempDir()
	file := filepath.Join(dir, "agents.yaml")
	counts := filepath.Join(dir, "runs")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("agents.yaml", `
agents:
  - {name: step, exec: {command: [sh, -c, 'read -r x; echo run >> runs; echo "{\"type\":\"result\",\"result\":1}"']}}
`)
	mesh := startUp(t, dir, "--agents", file)
	parent := spawnWorker(t, mesh, "caller")
	c, err := client.New(mesh.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the parent is served", func() bool {
		all, err := c.Agents.List(t.Context())
		return err == nil && slices.ContainsFunc(all, func(a client.Agent) bool { return a.Name == "caller" })
	})
	v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "caller", Instruction: "x", MaxAttempts: new(3)}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-parent.Done: // it kills itself after its first call
	case <-time.After(20 * time.Second):
		t.Fatalf("the parent lives: %s", parent.Output)
	}
	spawnWorker(t, mesh, "caller")
	if v, err = c.Tasks.Wait(t.Context(), v.TaskID); err != nil || v.Status != "completed" || v.Attempt != 2 || len(v.Children) != 2 {
		t.Errorf("%+v %+v, %v", v, v.Error, err)
	}
	if runs, err := os.ReadFile(counts); err != nil || strings.Count(string(runs), "run") != 2 {
		t.Errorf("the children ran %q, %v", runs, err)
	}
}

// The file is read again on SIGHUP, and by itself with --watch. A mistake in it
// changes nothing.
func TestTheAgentsFileIsReadAgain(t *testing.T) {
	for _, watch := range []bool{false, true} {
		dir := t.TempDir()
		file := filepath.Join(dir, "agents.yaml")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte("agents:\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("  - {name: one, builtin: echo}\n")
		args := []string{"--agents", file}
		if watch {
			args = append(args, "--watch")
		}
		mesh := startUp(t, dir, args...)
		reload := func() {
			if !watch {
				mesh.Signal(syscall.SIGHUP)
			}
		}
		c, err := client.New(mesh.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		live := func(name string) func() bool {
			return func() bool {
				all, err := c.Agents.List(t.Context())
				return err == nil && slices.ContainsFunc(all, func(a client.Agent) bool { return a.Name == name })
			}
		}
		if !live("one")() || live("two")() {
			t.Fatal("not what the file says")
		}
		write("  - {name: two, builtin: poetry}\n")
		reload()
		natstest.Until(t, "the mistake is reported", func() bool {
			return strings.Contains(mesh.Output.String(), "there is no \\\"poetry\\\"") || strings.Contains(mesh.Output.String(), `there is no "poetry"`)
		})
		write("  - {name: two, builtin: echo}\n")
		reload()
		natstest.Until(t, "the new agent is served", live("two"))
		v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "two", Instruction: "x"}, client.CreateOptions{Wait: 10 * time.Second})
		if err != nil || v.Status != "completed" {
			t.Errorf("%+v, %v", v, err)
		}
		mesh.Kill()
	}
}

func TestAgentsCommands(t *testing.T) {
	m := meshtest.New(t)
	srv, _ := m.Serve()
	all, err := agents.Load(examples, agents.Options{GatewayURL: func() string { return srv.URL }, Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m.Work(all...)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("agents:\n  - name: a\n    timeout: soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check", examples}, 0, "shout: ok\nwordcount: ok\noutline: ok\nnotes: ok\nrefund: ok\ndigest: ok\nonboard: ok\nsummarize: ok\n"},
		{[]string{"check", bad}, 1, `bad.yaml:3: agents[0].timeout: "soon" is not allowed, it must be a duration such as 30s or 5m`},
		{[]string{"check"}, 2, "one file"},
		{[]string{"list", "--gateway", srv.URL}, 0, "wordcount  1.0.0    1"},
		{[]string{"list", "--gateway", srv.URL, "-o", "json"}, 0, `"name":"outline"`},
		{[]string{"schema"}, 0, `"title": "agents.yaml"`},
		{[]string{"nope"}, 2, "mesh agents --help"},
	} {
		code, out, errs := command(t, append([]string{"agents"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("mesh agents %s: exit %d\n%s%s\nwant %d and %s", strings.Join(tt.args, " "), code, out, errs, tt.code, tt.want)
		}
	}
}

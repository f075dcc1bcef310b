package synadia_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/gateway/client"
	"agentmesh/gateway/synadia"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	workersynadia "agentmesh/worker/agents/synadia"
)

var foreign = flag.String("foreign", "", "folder that testdata/prepare.sh has made: the client and agent of others")

// listening is a mesh whose NATS others reach.
func listening(t *testing.T) *meshtest.Mesh {
	t.Helper()
	if *foreign == "" {
		t.Skip("the TypeScript client and agent of the protocol are not here: make synadia-js")
	}
	dir := t.TempDir()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	s := &natstest.Server{Server: srv, Dir: dir}
	t.Cleanup(s.Stop)
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats server not ready")
	}
	return meshtest.NewOn(t, s)
}

// run runs a script of testdata. Its lines come, and say is told of each; what that
// returns is written to the script.
func run(t *testing.T, m *meshtest.Mesh, script string, say func(string) string) (wait func() error, stop func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", script))
	if err == nil {
		err = os.WriteFile(filepath.Join(*foreign, script), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", "--import", "tsx", script, m.Server.ClientURL())
	cmd.Dir = *foreign
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			t.Log(lines.Text())
			if answer := say(lines.Text()); answer != "" {
				_, _ = io.WriteString(in, answer+"\n")
			}
		}
		ended <- cmd.Wait()
	}()
	stop = func() { cancel(); <-ended }
	return func() error { defer cancel(); return <-ended }, stop
}

// foreignAgents are those that the script of the caller prompts.
func foreignAgents() []agent.Agent {
	waits := func(d time.Duration, text string) agent.Handler {
		return func(ctx context.Context, job *agent.Job) (any, error) {
			if text == "begun ended" {
				job.Output("begun ")
			}
			select {
			case <-time.After(d):
				return map[string]string{"text": text}, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	object := meshtest.Named("object", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
	object.InputSchema = json.RawMessage(`{"type":"object"}`)
	again := meshtest.WithRetry(meshtest.Named("again", func(_ context.Context, job *agent.Job) (any, error) {
		job.Output(fmt.Sprintf("try %d", job.Attempt))
		<-time.After(time.Second)
		if job.Attempt == 1 {
			return nil, errors.New("no")
		}
		return nil, nil
	}))
	held := meshtest.Named("waits", waits(time.Hour, "x"))
	held.Timeout, held.Concurrency = task.Duration(2*time.Hour), 300
	long := meshtest.Named("long", waits(90*time.Second, "after 90 s"))
	long.Timeout = task.Duration(time.Hour)
	return []agent.Agent{
		object, again, held, long, meshtest.Named("slow", waits(10*time.Second, "begun ended")),
		meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Instruction, nil }),
		meshtest.Named("files", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }),
		meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
			return nil, &agent.Error{Code: "no_luck", Message: "none today", Permanent: true}
		}),
		meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			yes, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Sure?"})
			return map[bool]string{true: "done", false: "left"}[yes], err
		}),
		meshtest.Named("says", func(ctx context.Context, job *agent.Job) (any, error) {
			job.Progress(70, "reading")
			<-time.After(time.Second) // what comes at once is told as one
			_ = job.Milestone(ctx, "read", "", nil)
			job.Output("one ")
			job.Output("two")
			return map[string]string{"text": "one two three"}, nil
		}),
	}
}

// make synadia-js prepares the folder and runs this.
func TestTheTypeScriptClientOfOthersWorksUnchanged(t *testing.T) {
	m := listening(t)
	m.Work(foreignAgents()...)
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	defer core.Close()
	gateway := func() (cut func()) {
		conn := protocol.New(m.Server.Connect(t), "")
		b, err := synadia.New(synadia.Entry{Conn: conn, Tenant: "default"}, synadia.Options{Mesh: core, Log: meshtest.Quiet(), Hold: 9 * time.Minute, Drain: time.Second, Version: "1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		return conn.Close
	}
	cut := gateway()
	c := protocol.New(m.Server.Connect(t), "")
	all := func(n int) func() bool {
		return func() bool {
			found, err := c.Discover(t.Context(), 300*time.Millisecond)
			return err == nil && len(found) == n
		}
	}
	natstest.Until(t, "all are found", all(10))
	good := false
	wait, _ := run(t, m, "caller.mts", func(line string) string {
		good = good || line == "all good"
		if line != "kill" {
			return ""
		}
		cut() // nothing more comes of it, as of one that was killed
		gateway()
		natstest.Until(t, "all are found again", all(10))
		return "killed"
	})
	if err := wait(); err != nil || !good {
		t.Error(err)
	}
}

// The official agent is an agent of the mesh: what waits while it is away is done when it
// is back, it asks people, and a prompt that it never answers is not sent twice.
func TestTheTypeScriptAgentOfOthersIsAnAgentOfTheMesh(t *testing.T) {
	m := listening(t)
	a := workersynadia.New(workersynadia.Config{Agent: "coder", Owner: "alice", Name: "repo", Inactivity: 5 * time.Second}, func(context.Context, workersynadia.Place) (*protocol.Conn, workersynadia.Signer, error) {
		nc, err := nats.Connect(m.Server.ClientURL())
		return protocol.New(nc, ""), nil, err
	}, nil).Agent(agent.Definition{Name: "repo"})
	m.Work(a)
	first := m.Create(`{"agent":"repo","instruction":"hello"}`)
	if v := m.Get(first); v.Status != "pending" {
		t.Errorf("offline: %s", v.Status)
	}
	var prompts []string
	_, stop := run(t, m, "agent.mts", func(line string) string {
		if text, ok := strings.CutPrefix(line, "prompt "); ok {
			prompts = append(prompts, text)
		}
		return ""
	})
	ended := func(id string) (v client.Task) {
		natstest.Until(t, id+" ends", func() bool { v = m.Get(id); return !v.FinishedAt.IsZero() })
		return v
	}
	if v := ended(first); string(v.Result) != `{"text":"you said hello"}` {
		t.Errorf("back: %s %+v", v.Result, v.Error)
	}
	if v := ended(m.Create(`{"agent":"repo","input":{"text":"see","files":[{"filename":"a.txt","bytes":"aGk="}]}}`)); string(v.Result) != `{"text":"you said see a.txt"}` {
		t.Errorf("a file: %s %+v", v.Result, v.Error)
	}
	asks := m.Create(`{"agent":"repo","instruction":"ask"}`)
	natstest.Until(t, "it asks", func() bool { return len(m.Record(asks).Questions()) == 1 })
	name := m.Record(asks).Questions()[0].Name
	if w := m.Do("POST", "/tasks/"+asks+"/input", `{"name":"`+name+`","value":"main"}`); w.Code/100 != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if v := ended(asks); string(v.Result) != `{"text":"on main"}` {
		t.Errorf("asked: %s %+v", v.Result, v.Error)
	}
	if v := ended(m.Create(`{"agent":"repo","instruction":"fail","max_attempts":1}`)); v.Error == nil || v.Error.Code != "agent_error" {
		t.Errorf("an error: %+v", v.Error)
	}
	stalled := ended(m.Create(`{"agent":"repo","instruction":"stall"}`))
	stop()
	if n := len(slices.DeleteFunc(prompts, func(s string) bool { return s != "stall" })); stalled.Error == nil || stalled.Error.Code != "tool_outcome_unknown" || n != 1 {
		t.Errorf("a stall: %+v, sent %d times", stalled.Error, n)
	}
}

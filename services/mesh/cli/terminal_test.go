package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// evil is what an agent or a client may write to take over an operator's
// terminal: escapes of seven and eight bits, a title, a turned direction, and
// line breaks that draw another row.
const evil = "a\x1b[2J\x1b]0;owned\x07b\u009b31mc\u202ed\re\r\n\tf\x00\x7f"

// talker is an agent that talks like that.
func talker() agent.Agent {
	a := agent.Conversation(func(_ context.Context, job *agent.Job, text string, _ *struct{}) (string, error) {
		job.Output("out" + evil)
		if strings.Contains(text, "fail") {
			return "", &agent.Error{Code: "odd", Message: evil, Permanent: true}
		}
		return "says" + evil, nil
	})
	a.Name, a.Greeting = "talks", "hi"+evil
	return a
}

// tame fails when text could command a terminal.
func tame(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == '\u202e' {
			t.Errorf("%s writes %U:\n%q", what, r, text)
			return
		}
	}
}

func TestNoCommandPassesOnWhatCommandsATerminal(t *testing.T) {
	m := newMesh(t)
	a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		job.Progress(50, evil)
		_ = job.Milestone(ctx, "step"+evil, evil, nil)
		job.Output(evil)
		if job.Instruction == "fail" {
			return nil, &agent.Error{Code: "odd", Message: evil, Permanent: true}
		}
		return map[string]string{"text": evil}, nil
	})
	a.Description, a.Version = "describes"+evil, "v"+evil
	m.Work(a)
	m.Work(talker())
	srv, _ := m.Serve()
	label, _ := json.Marshal(map[string]any{"agent": "a", "instruction": "x", "labels": map[string]string{"team": evil}})
	good := m.Create(string(label))
	m.End(good)
	bad := m.Create(`{"agent":"a","instruction":"fail"}`)
	m.End(bad)
	session := meshtest.Decode[client.Session](t, m.Do("POST", "/sessions", `{"agent":"talks"}`).Body).SessionID
	said, _ := json.Marshal(map[string]string{"text": "hello" + evil})
	m.Do("POST", "/sessions/"+session+"/messages", string(said))
	hook, _ := json.Marshal(map[string]any{"url": "http://127.0.0.1:1/", "description": evil})
	webhook := meshtest.Decode[client.Webhook](t, m.Do("POST", "/webhooks", string(hook)).Body).WebhookID
	for _, args := range [][]string{
		{"task", "get", good}, {"task", "get", bad}, {"task", "list"}, {"task", "watch", good}, {"task", "watch", bad}, {"task", "trace", good}, {"task", "trace", bad},
		{"task", "run", "--agent", "a", "x", "--follow"}, {"task", "run", "--agent", "a", "fail", "--wait"}, {"task", "retry", bad, "--follow"},
		{"session", "show", session}, {"session", "list"}, {"agents", "list"}, {"top", "--once"}, {"webhook", "get", webhook}, {"webhook", "list"},
		{"task", "get", evil}, {"session", "show", evil}, {"agents", "delete", evil}, {"task", "list", "--label", "team=" + evil},
	} {
		for _, output := range []string{"text", "json"} {
			_, stdout, stderr := cli(t, append(args, "--gateway", srv.URL, "-o", output)...)
			tame(t, "mesh "+strings.Join(args, " ")+" -o "+output, stdout+stderr)
			if stdout+stderr == "" {
				t.Errorf("%q writes nothing", args)
			}
		}
	}
}

// A conversation whose lines come from a pipe may still be shown on a terminal.
func TestChatFromAPipeSendsTheTerminalNoControlSequences(t *testing.T) {
	m := newMesh(t)
	m.Work(talker())
	srv, _ := m.Serve()
	for _, output := range []string{"text", "json"} {
		keys, tty := terminal(t)
		var seen meshtest.Transcript
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(&seen, keys)
		}()
		root := Root(nil)
		root.SetOut(tty)
		root.SetErr(tty)
		root.SetIn(strings.NewReader("hello\nfail\n"))
		root.SetArgs([]string{"session", "chat", "--agent", "talks", "--gateway", srv.URL, "-o", output})
		_ = root.ExecuteContext(t.Context())
		_ = tty.Close()
		<-done
		text := strings.ReplaceAll(seen.String(), "\r\n", "\n") // the terminal's own
		tame(t, "mesh session chat -o "+output, text)
		if !strings.Contains(text, "says") || !strings.Contains(text, "turn failed") && !strings.Contains(text, `"failed"`) {
			t.Errorf("it shows %q", text)
		}
	}
}

// A text of several lines stays in its column: it cannot draw a row of its own.
func TestTextsOfSeveralLinesKeepTheirColumns(t *testing.T) {
	var out bytes.Buffer
	task := &client.Task{Task: api.Task{TaskID: "tsk_1", Status: "failed", Message: "one\nstatus    completed", Error: &client.TaskError{Error: api.Error{Code: "c", Message: "two\n\tlines\x1b[A"}}, Labels: map[string]string{"k": "v\nresult  fake"}}}
	if err := showTask(&out, task); err != nil {
		t.Fatal(err)
	}
	if err := showTasks(&out, []client.Task{*task}, task.CreatedAt); err != nil {
		t.Fatal(err)
	}
	newFollower(&out).line("milestone", "a\ncompleted")
	if err := showConversation(&out, &sessionRecord{Transcript: []client.Message{{Role: "user", Text: "a\n2026-01-01 00:00:00.000  agent\nb"}}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, l := range lines {
		for _, fake := range []string{"status    completed", "result  fake", "completed", "2026-01-01"} {
			if strings.HasPrefix(l, fake) {
				t.Errorf("line %d is a row of its own: %q\n%s", i, l, &out)
			}
		}
	}
	want := "id        tsk_1\nstatus    failed\nprogress  one\n          status    completed\nlabel     k=v\n          result  fake\nerror     c: two\n              lines[A (attempt 0)\n"
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("it is\n%s\nwant\n%s", &out, want)
	}
}

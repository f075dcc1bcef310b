package mesh_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// line is a whole second face: a protocol of lines on a pipe. It parses, calls the
// core and renders, and has no decision of its own.
//
//	accept AGENT JSON   -> accepted ID
//	wait ID             -> STATUS RESULT
//	cancel ID           -> canceled ID
//	open AGENT          -> opened ID
//	say SESSION TEXT    -> REPLY
type line struct {
	core *mesh.Mesh
	who  auth.Caller
}

func (l line) serve(ctx context.Context, r io.Reader, w io.Writer) {
	for in := bufio.NewScanner(r); in.Scan(); {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		arg, more, _ := strings.Cut(rest, " ")
		answer, err := l.do(ctx, verb, arg, more)
		if err != nil {
			answer = "refused " + err.Error()
		}
		fmt.Fprintln(w, answer)
	}
}

func (l line) do(ctx context.Context, verb, arg, more string) (string, error) {
	switch verb {
	case "accept":
		a, err := l.core.Tasks.Accept(ctx, l.who, &mesh.Submission{Kind: task.KindTask, Agent: arg, Input: json.RawMessage(more)})
		if err != nil {
			return "", err
		}
		return "accepted " + string(a.TaskID), nil
	case "wait":
		t, err := l.core.Tasks.Get(ctx, l.who, task.ID(arg))
		if err == nil {
			t, err = l.core.Tasks.WaitChange(ctx, t, true, time.Minute)
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s", t.Status, t.Result.Inline), nil
	case "cancel":
		t, err := l.core.Tasks.Cancel(ctx, l.who, task.ID(arg))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s", t.Status, t.ID), nil
	case "open":
		s, err := l.core.Sessions.Open(ctx, l.who, arg, nil)
		if err != nil {
			return "", err
		}
		return "opened " + string(s.SessionID), nil
	case "say":
		a, t, err := l.core.Sessions.Say(ctx, l.who, session.ID(arg), &mesh.Message{Text: more, OnBusy: mesh.Wait, Until: time.Now().Add(time.Minute)})
		if err != nil {
			return "", err
		}
		defer a.Close()
		return l.core.Sessions.Reply(ctx, l.core.Sessions.WaitTurn(ctx, a, t, time.Minute))
	}
	return "", fmt.Errorf("there is no verb %q", verb)
}

// Another face does with the core alone all that the HTTP gateway does.
func TestASecondFaceNeedsNothingOfTheFirst(t *testing.T) {
	h := newHouse(t)
	if _, err := h.st.Registry.Register(t.Context(), task.Definition{Name: "echo"}, "wrk_1"); err != nil {
		t.Fatal(err)
	}
	requests, in := io.Pipe()
	out, answers := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		line{mesh.New(h.st, mesh.Options{Log: quiet()}), auth.Local()}.serve(ctx, requests, answers)
	}()
	defer func() { cancel(); _ = in.Close(); <-served }()
	read := bufio.NewReader(out)
	ask := func(format string, args ...any) string {
		fmt.Fprintf(in, format+"\n", args...)
		answer, err := read.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(answer)
	}
	done := strings.TrimPrefix(ask(`accept echo {"n":1}`), "accepted ")
	h.finish(task.ID(done), `"done"`)
	if got := ask("wait %s", done); got != `completed "done"` {
		t.Errorf("wait: %s", got)
	}
	if got := ask("cancel %s", done); !strings.HasPrefix(got, "refused") {
		t.Errorf("cancel of a finished task: %s", got)
	}
	other := strings.TrimPrefix(ask(`accept echo {}`), "accepted ")
	if got := ask("cancel %s", other); got != "canceled "+other {
		t.Errorf("cancel: %s", got)
	}
	if got := ask("accept nobody {}"); !strings.Contains(got, mesh.ErrAgentNotFound.Code) {
		t.Errorf("an agent that there is not: %s", got)
	}
	opened := strings.TrimPrefix(ask("open echo"), "opened ")
	replied := make(chan struct{})
	go func() { defer close(replied); h.reply(session.ID(opened), "hello yourself") }()
	defer func() { <-replied }()
	if got := ask("say %s hello", opened); got != "hello yourself" {
		t.Errorf("say: %s", got)
	}
}

package main

import (
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents"
)

// An interrupt of a chat that is a real process cancels its turn.
func TestChatProcess(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents.Samples()...)
	srv, c := m.Serve()
	cmd := osexec.Command(os.Args[0], "session", "chat", "--agent", "echo", "--gateway", srv.URL)
	cmd.Env = append(os.Environ(), "MESH_TEST_MAIN=1")
	var out, notes meshtest.Transcript
	cmd.Stdout, cmd.Stderr = &out, &notes
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_, _ = io.WriteString(in, `{"echo_delay":"10m"}`+"\n")
	natstest.Until(t, "the turn runs", func() bool {
		for v, err := range c.Tasks.All(t.Context(), client.Filter{Statuses: []string{"processing"}}) {
			return err == nil && v.Progress == ""
		}
		return false
	})
	_ = cmd.Process.Signal(os.Interrupt)
	natstest.Until(t, "the turn is interrupted", func() bool { return strings.Contains(notes.String(), "interrupted; the message stays") })
	_, _ = io.WriteString(in, "hi\n")
	natstest.Until(t, "the next turn has a reply", func() bool { return strings.HasSuffix(out.String(), "\nhi\n") })
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, notes.String())
	}
}

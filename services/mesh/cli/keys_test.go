//go:build linux

package cli

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"

	"golang.org/x/sys/unix"
)

// mesh top leaves by q, as its kind does, and gives the terminal back.
func TestQLeavesTop(t *testing.T) {
	t.Setenv("TERM", "xterm")
	m := newMesh(t)
	srv, _ := m.Serve()
	keys, tty := terminal(t)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	var seen meshtest.Transcript
	go func() { _, _ = io.Copy(&seen, keys) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	root := Root(nil)
	root.SetIn(tty)
	root.SetOut(tty)
	root.SetErr(tty)
	root.SetArgs([]string{"top", "--gateway", srv.URL})
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	natstest.Until(t, "it shows the mesh", func() bool { return strings.Contains(seen.String(), "mesh at ") })
	if _, err := keys.Write([]byte("xq")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || ctx.Err() != nil {
		t.Errorf("it ended with %v, %v", err, ctx.Err())
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || after.Lflag != before.Lflag {
		t.Errorf("the terminal is left at %#x, it was %#x; %v", after.Lflag, before.Lflag, err)
	}
	if text := seen.String(); !strings.Contains(text, "q leaves") || strings.Contains(text, "xq") {
		t.Errorf("it shows %q", text)
	}
}

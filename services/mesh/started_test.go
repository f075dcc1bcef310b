//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

const started = "../../deploy/GETTING-STARTED.md"

// snippet is one of code on the page: its language, what stands beside it, and its text.
type snippet struct{ language, name, text string }

var fence = regexp.MustCompile("(?ms)^```(\\S+)(?: (\\S+))?\n(.*?)^```$")

func snippetsOf(t *testing.T, page string) (all []snippet) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, snippet{m[1], m[2], m[3]})
	}
	return all
}

// program puts a `mesh` into a folder that is this test binary.
func program(t *testing.T, dir string) {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "mesh"), []byte("#!/bin/sh\nMESH_TEST_MAIN=1 exec "+self+" \"$@\"\n"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The steps of the page, as they stand there: the files are written, the commands run one
// after the other, and each shows what the page promises.
func TestEachStepOfGettingStartedWorks(t *testing.T) {
	natstest.Long(t)
	for _, tool := range []string{"python3", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine: the page was not tried", tool)
		}
	}
	dir := t.TempDir()
	program(t, dir)
	script := "set -e\n"
	for _, b := range snippetsOf(t, started) {
		switch {
		case b.language == "sh" && b.name == "":
			script += b.text
		case b.language == "python", b.language == "yaml":
			meshtest.WriteFile(t, dir, b.name, []byte(b.text))
		}
	}
	var ports []string
	for range 3 {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, address)
	}
	script = strings.NewReplacer("127.0.0.1:8080", ports[0], "127.0.0.1:8099", ports[2]).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a step that waits for ever is a fault
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.WaitDelay, cmd.Dir = time.Second, dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "MESH_HTTP="+ports[0], "MESH_NATS="+ports[1], "MESH_ADMIN=off", "MESH_GATEWAY_URL=http://"+ports[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the page leaves running ends with the test
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		natstest.Until(t, "the mesh of the page has ended", func() bool { return syscall.Kill(-cmd.Process.Pid, 0) != nil })
	})
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"words", `"status":"pending"`, `{"words":3}`, `"message":"line 2 of 2"`, "action.milestone", "action.completed", "2 words, turn 1", "3 words, turn 2"} {
		if err != nil || !strings.Contains(string(out), want) {
			log, _ := os.ReadFile(filepath.Join(dir, "mesh.log"))
			t.Fatalf("%v, it does not show %q:\n%s\n%s", err, want, out, meshtest.Clipped(log))
		}
	}
}

// A program of somebody else's, in a module of its own outside of this tree, is compiled
// against the checkout and works: make started-test.
func TestAGoProgramOfYourOwnWorks(t *testing.T) {
	if !*meshtest.Chaos {
		t.Skip("it compiles a module of its own: make started-test")
	}
	mesh := startUp(t, t.TempDir(), "--sync", "2m")
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "set -e\n"
	for _, b := range snippetsOf(t, started) {
		switch {
		case b.language == "sh" && b.name == "go":
			script += strings.NewReplacer("/tmp/mesh-own", dir, "http://127.0.0.1:8080", mesh.Gateway, "/tmp/mesh-start/data", mesh.Data).Replace(b.text)
		case b.language == "go":
			meshtest.WriteFile(t, dir, b.name, []byte(b.text))
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), append(mesh.Beside(), "CHECKOUT="+checkout, "GOWORK=off", "GOFLAGS=-mod=mod")...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"HELLO"`) {
		t.Errorf("%v:\n%s", err, out)
	}
}

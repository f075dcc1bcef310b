//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// smoke runs deploy/smoke.sh, and returns what it says.
func smoke(t *testing.T, env []string, args ...string) (said string, status int) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl on this machine: deploy/smoke.sh was not run")
	}
	cmd := exec.CommandContext(t.Context(), "../../deploy/smoke.sh", args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestSmokeSeesTheThreePatterns runs the script for operators against a mesh with a
// receiver, then with agents that nobody serves.
func TestSmokeSeesTheThreePatterns(t *testing.T) {
	mesh := startUp(t, t.TempDir(), "--sync", "2m")
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer receiver.Close()
	said, status := smoke(t, []string{"CALLBACK_URL=" + receiver.URL}, mesh.Gateway)
	if status != 0 || strings.Count(said, "ok ") != 11 || !strings.Contains(said, "callback delivered") {
		t.Errorf("exit %d:\n%s", status, said)
	}
	said, status = smoke(t, []string{"AGENT=nobody", "TALKER=nobody", "PATIENCE=1"}, mesh.Gateway)
	if status != 1 || strings.Count(said, "FAILED") != 3 || !strings.Contains(said, "agent_not_found") {
		t.Errorf("without the agents exit %d:\n%s", status, said)
	}
}

func TestSmokeSaysWhatIsWrong(t *testing.T) {
	if said, status := smoke(t, nil); status != 2 || !strings.Contains(said, "usage:") {
		t.Errorf("without a URL: exit %d, %s", status, said)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	if said, status := smoke(t, nil, closed.URL); status != 1 || !strings.Contains(said, "does not answer") {
		t.Errorf("of a mesh that is away: exit %d, %s", status, said)
	}
}

//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/shared/natstest"
)

// The copy of a mesh up goes into a data folder, on which another one goes on: what had
// finished is there, and what waited still waits.
func TestABackupOfMeshUpIsRestoredIntoAFolder(t *testing.T) {
	natstest.Long(t)
	t.Parallel()
	was := filepath.Join(t.TempDir(), "data")
	first := startUp(t, was, "--sync", "2m")
	ask := func(method, path, body string) string {
		t.Helper()
		status, answer := first.Ask(t, 20*time.Second, method, path, body)
		if status >= 300 {
			t.Fatalf("%s %s = %d %s", method, path, status, answer)
		}
		var v struct {
			ID string `json:"task_id"`
		}
		_ = json.Unmarshal([]byte(answer), &v)
		return v.ID
	}
	done := ask("POST", "/tasks?wait=10s", `{"agent":"echo","input":{"n":1}}`)
	later := ask("POST", "/tasks", `{"agent":"echo","input":{"n":2},"delay":"1h"}`)
	ask("POST", "/webhooks", `{"url":"http://127.0.0.1:9/"}`)
	run := func(want int, says string, args ...string) {
		t.Helper()
		code, out, errs := command(t, append(args, "--log-level", "error")...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Errorf("mesh %s: exit %d, want %d with %q\n%s%s", strings.Join(args, " "), code, want, says, out, errs)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	run(0, "copied", "backup", copied, "--nats-url", first.NATS, "--data", was)
	run(1, "is used by another mesh", "restore", copied, "--into", was)
	first.Signal(syscall.SIGTERM)
	<-first.Done
	run(1, "there is a mesh already", "restore", copied, "--into", was)
	run(2, "one embedded server", "restore", copied, "--into", was, "--replicas", "3")

	data := filepath.Join(t.TempDir(), "restored")
	run(1, "is no backup", "restore", t.TempDir(), "--into", data)
	if _, err := os.Stat(data); err == nil {
		t.Error("a restore that was refused has left a folder")
	}
	run(0, "put the secret.key of the mesh", "restore", copied, "--into", data)
	key, err := os.ReadFile(filepath.Join(was, keyFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(data, keyFile), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	first = startUp(t, data, "--sync", "2m")
	for path, want := range map[string]string{
		"/tasks/" + done: `"status":"completed"`, "/tasks/" + later: `"status":"pending"`, "/webhooks": "127.0.0.1:9", "/readyz": "ok",
	} {
		if status, answer := first.Ask(t, 20*time.Second, "GET", path, ""); status != 200 || !strings.Contains(answer, want) {
			t.Errorf("GET %s = %d %s, want %s", path, status, answer, want)
		}
	}
}

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A worker whose file names programs that are not there says which, and serves the others.
func TestAWorkerNamesTheProgramsThatAreMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(file, []byte("agents:\n  - name: gone\n    exec: {command: [./gone.sh]}\n  - name: there\n    exec: {command: [sh, -c, echo]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	r := &workerRole{agents: agentsConfig{Agents: file}}
	err := r.load(slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil || len(r.served) != 2 {
		t.Fatal(r.served, err)
	}
	if text := said.String(); !strings.Contains(text, "agent=gone") || !strings.Contains(text, "there is no program") || strings.Contains(text, "agent=there") {
		t.Errorf("it says %q", text)
	}
}

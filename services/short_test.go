package services

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// short runs the short forms where nothing is installed but the usual commands of a
// system, and these programs.
func short(t *testing.T, programs map[string]string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sh", "cat", "date", "dirname", "mkdir", "mktemp", "rm", "tail", "tr"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./short.sh", args...)
	cmd.Env = []string{"PATH=" + dir, "TMPDIR=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Where no tool is, each part of the short forms says so, and none fails.
func TestShortFormsSayWhatIsMissing(t *testing.T) {
	script, err := os.ReadFile("short.sh")
	if err != nil {
		t.Fatal(err)
	}
	parts := len(regexp.MustCompile(`(?m)^part `).FindAll(script, -1))
	out, err := short(t, nil)
	said := len(regexp.MustCompile(`(?m)^\S+ +skipped: no \S+$`).FindAllString(out, -1))
	if err != nil || said != parts || strings.Count(out, "\n") != parts {
		t.Errorf("%d of %d parts say what is missing, %v\n%s", said, parts, err, out)
	}
}

// A part that fails is told with what it said, and fails the whole.
func TestShortFormsFailWithTheirParts(t *testing.T) {
	out, err := short(t, map[string]string{"node": `[ "$1" = -p ] && echo true || { echo "a test broke"; exit 1; }`}, "node")
	if err == nil || !strings.Contains(out, "FAILED") || !strings.Contains(out, "a test broke") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = short(t, map[string]string{"node": `[ "$1" = -p ] && echo false`}, "node")
	if err != nil || !strings.Contains(out, "skipped: no node") {
		t.Errorf("an old node: %v\n%s", err, out)
	}
}

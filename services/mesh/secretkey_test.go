package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
)

// The mesh does not start with another secret key than the one that its secrets
// were sealed with, and says what to do; a replaced one goes in front of the old.
func TestTheMeshDoesNotStartWithAnotherSecretKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, keyFile)
	log := meshtest.Quiet()
	start := func(st *store.Store, c secretConfig) error {
		_, err := (&callbackConfig{secret: c}).embeddedKeys(t.Context(), st, dir, log)
		return err
	}
	m := meshtest.New(t)
	if err := start(m.Store, secretConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := start(m.Store, secretConfig{}); err != nil {
		t.Errorf("the second start: %v", err)
	}
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	says := func(err error, words ...string) {
		t.Helper()
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the error is %v, it says nothing of %q", err, word)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	says(start(m.Store, secretConfig{}), file, "missing", "backup", "--replace-secret-key", "rotate-secret")
	if _, err := os.Stat(file); err == nil {
		t.Error("a new key was made in silence")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says(start(m.Store, secretConfig{}), file, "empty")
	says(start(m.Store, secretConfig{Replace: true}), file, "empty")
	fresh := secret.NewKey()
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	says(start(m.Store, secretConfig{}), "another key", "--replace-secret-key")
	if err := os.WriteFile(file, []byte(fresh+"\n"+string(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(m.Store, secretConfig{}); err != nil {
		t.Errorf("both keys: %v", err)
	}
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(m.Store, secretConfig{}); err != nil {
		t.Errorf("the new one alone, after both: %v", err)
	}
	if err := start(m.Store, secretConfig{File: file}); err != nil {
		t.Errorf("the same by --secret-key-file: %v", err)
	}
	says(start(m.Store, secretConfig{File: file, Key: "x"}), "choose one")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := start(m.Store, secretConfig{Replace: true}); err != nil {
		t.Errorf("replaced: %v", err)
	}
	// A mesh of an earlier version has noted no key, but has webhooks.
	early := meshtest.New(t)
	early.Subscribe(`{"url":"https://example.com/"}`)
	says(start(early.Store, secretConfig{}), "another key")
	if err := os.WriteFile(file, []byte(meshtest.TestKey), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(early.Store, secretConfig{}); err != nil {
		t.Errorf("the key of an earlier version: %v", err)
	}
	if _, err := (&callbackConfig{}).fleetKeys(t.Context(), early.Store, log); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a fleet without its key: %v", err)
	}
	if left, err := filepath.Glob(file + "*"); err != nil || !slices.Equal(left, []string{file}) {
		t.Errorf("left over: %v, %v", left, err)
	}
}

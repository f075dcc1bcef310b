package cli

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckFindsWhatCouldNotBeRun(t *testing.T) {
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodHead:
			t.Errorf("it was sent a %s", r.Method)
		case r.Header.Get("Authorization") != "Bearer good":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	}))
	defer answers.Close()
	dir := t.TempDir()
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"good.sh": {"#!/bin/sh\n", 0o755}, "plain.sh": {"#!/bin/sh\n", 0o644}, "odd.sh": {"#!/usr/bin/env no-such-thing\n", 0o755},
		"dos.sh": {"#!/bin/sh\r\n", 0o755}, "lost.sh": {"#!/no/such/shell\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	const text = `agents:
  - {name: good, exec: {command: [./good.sh]}}
  - {name: script, exec: {command: [sh, good.sh]}}
  - {name: inline, exec: {command: [sh, -c, "true"]}}
  - {name: plain, exec: {command: [./plain.sh]}}
  - {name: missing, exec: {command: [./missing.sh]}}
  - {name: path, exec: {command: [no-such-program]}}
  - {name: folder, exec: {command: [/]}}
  - {name: dir, exec: {command: [sh, x], dir: nowhere}}
  - {name: file, exec: {command: [sh, missing.sh]}}
  - {name: odd, exec: {command: [./odd.sh]}}
  - {name: dos, exec: {command: [./dos.sh]}}
  - {name: lost, exec: {command: [./lost.sh]}}
  - {name: up, http: {url: "URL/run", headers: {Authorization: Bearer good}}}
  - {name: key, http: {url: "URL/run", headers: {Authorization: Bearer bad}}}
  - {name: down, http: {url: "http://127.0.0.1:1/run?code=hidden"}}
  - {name: sample, builtin: echo}
`
	file := filepath.Join(dir, "agents.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "URL", answers.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	faults := map[string]string{
		"plain": "chmod +x", "missing": "there is no program", "path": "in PATH", "folder": "is a folder", "dir": "set dir", "file": "there is no file",
		"odd": "wants no-such-thing", "dos": "carriage return", "lost": "wants /no/such/shell",
	}
	services := map[string]string{"up": "ok, it answers 405", "key": "see headers", "down": "does not answer"}
	code, stdout, stderr := cli(t, "agents", "check", file)
	if code != ExitFailed || !strings.Contains(stderr, "9 of 16 agents") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	_, connected, _ := cli(t, "agents", "check", file, "--connect")
	for text, of := range map[string]map[string]string{stdout: nil, connected: services} {
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			name, found, _ := strings.Cut(line, ": ")
			if want := cmp.Or(faults[name], of[name], "ok"); !strings.Contains(found, want) || strings.Contains(line, "hidden") {
				t.Errorf("%s: %s, want %s", name, found, want)
			}
		}
	}
	if strings.Count(connected, "\n") != 16 {
		t.Errorf("it lists\n%s", connected)
	}
}

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
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

// An agent of a file is run over the steps of a task: what it would do again is told, and
// is an exit status.
func TestAnAgentOfAFileIsRunOverTheStepsOfATask(t *testing.T) {
	m := newMesh(t)
	m.Work(meshtest.Named("refund", func(ctx context.Context, job *agent.Job) (any, error) {
		if _, err := agent.Step(ctx, job, "charge", func(context.Context, agent.StepInfo) (string, error) { return strings.Repeat("x", 300<<10), nil }); err != nil {
			return nil, err
		}
		return agent.Ask[bool](ctx, job, "approve", agent.Question{Prompt: "Refund?"})
	}))
	srv, c := m.Serve()
	made, err := c.Tasks.Create(t.Context(), client.Request{Agent: "refund", Input: json.RawMessage(`{"a":1}`)}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "it asks", func() bool {
		v, err := c.Tasks.Get(t.Context(), made.TaskID)
		return err == nil && v.Status == "input_required"
	})
	replay := func(script string) (int, string) {
		t.Helper()
		dir := t.TempDir()
		for name, text := range map[string]string{"agent.sh": script, "agents.yaml": "agents:\n  - {name: refund, exec: {command: [sh, agent.sh], protocol: steps}}\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, out, errs := cli(t, "agents", "check", filepath.Join(dir, "agents.yaml"), "--replay", made.TaskID, "--gateway", srv.URL)
		return code, out + errs
	}
	const begin = `[ "$MESH_REPLAY" = 1 ] || exit 9; read -r task; `
	code, out := replay(begin + `case $task in *'"name":"charge","n":0,"value":"xxx'*'"a":1'*|*'"a":1'*'"name":"charge","n":0,"value":"xxx'*) echo '{"type":"ask","name":"approve","prompt":"Refund?"}';; *) exit 8;; esac`)
	if code != 0 || !strings.Contains(out, "kept    step charge #0") || !strings.Contains(out, "waits   ask approve #0") || !strings.Contains(out, "ended   it waits") {
		t.Errorf("the same: %d %s", code, out)
	}
	code, out = replay(begin + `echo '{"type":"step","name":"charge/v2","value":1}'; sleep 60`)
	if code != 1 || !strings.Contains(out, "runs    step charge/v2 #0: the journal does not have it") {
		t.Errorf("renamed: %d %s", code, out)
	}
}

// A program of a kit is its own agents.yaml, and a file that says something else of its
// input is told.
func TestCheckFromAProgram(t *testing.T) {
	program := filepath.Join("..", "..", "..", "worker", "agents", "testdata", "described.sh")
	code, text, errs := cli(t, "agents", "check", "--from", program)
	if code != 0 || !strings.HasPrefix(text, "agents:\n  - name: research\n") {
		t.Fatalf("%d %s%s", code, text, errs)
	}
	file := filepath.Join(t.TempDir(), "agents.yaml")
	for _, tt := range []struct {
		text string
		code int
		want string
	}{
		{text, 0, "research: ok\nplain: ok\n"},
		{strings.Replace(text, `"topic"`, `"other"`, 1), ExitFailed, "research: its input_schema in"},
		{strings.Replace(text, "name: plain", "name: other", 1), ExitFailed, "plain: " + file + " has no such agent"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := cli(t, "agents", "check", file, "--from", program); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%d %s%s, want %s", code, out, errs, tt.want)
		}
	}
	if code, _, errs := cli(t, "agents", "check"); code != ExitUsage || !strings.Contains(errs, "--from") {
		t.Errorf("without anything: %d %s", code, errs)
	}
}

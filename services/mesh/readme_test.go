package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/notifier/signature"
	"agentmesh/shared/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The tables of the README are what the code says: the settings by their tags,
// the codes by their table.
func TestGoldenReadme(t *testing.T) {
	const name = "../../README.md"
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultUp()
	text := section(t, string(raw), "settings", config.Markdown(cfg.settings()...))
	text = section(t, text, "codes", codesTable())
	if text == string(raw) {
		return
	}
	if !*update {
		t.Fatal("the tables of README.md are old: run make golden and read the diff")
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// section replaces what stands between the marks of a section.
func section(t *testing.T, text, name, content string) string {
	t.Helper()
	begin, end := "<!-- "+name+":begin, written by make golden -->\n", "<!-- "+name+":end -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no place for the %s", name)
	}
	return before + begin + content + end + after
}

func codesTable() string {
	var b strings.Builder
	b.WriteString("| code | status | fault | meaning |\n|---|---|---|---|\n")
	for _, p := range api.ProblemPages() {
		status := ""
		if p.Status > 0 {
			status = strconv.Itoa(p.Status)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Code, status, p.Fault, p.Title)
	}
	return b.String()
}

// snippet is the first block of code of a language in the README.
func snippet(t *testing.T, language string) string {
	t.Helper()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "\n```"+language+"\n")
	code, _, ok2 := strings.Cut(rest, "\n```\n")
	if !ok || !ok2 {
		t.Fatalf("README.md has no code in %s", language)
	}
	return code
}

// The receivers that the README shows accept what the mesh signs, and nothing
// else.
func TestReadmeReceivers(t *testing.T) {
	secret := signature.NewSecret()
	body := []byte(`{"type":"action.completed","result":"<é>"}`)
	signed := func(at time.Time, keys ...signature.SigningKey) map[string]string {
		h := http.Header{}
		if err := signature.Sign(h, "dlv_1", at, body, keys...); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for name := range h {
			all[strings.ToLower(name)] = h.Get(name)
		}
		return all
	}
	changed := signed(time.Now(), secret)
	changed["webhook-id"] = "dlv_2"
	malformed := signed(time.Now(), secret)
	malformed["webhook-timestamp"] = "soon"
	type request struct {
		Headers map[string]string `json:"headers"`
		Secret  string            `json:"secret"`
		Body    string            `json:"body"`
	}
	cases := []struct {
		name    string
		headers map[string]string
		want    string
	}{
		{"good", signed(time.Now(), secret), "ok dlv_1"},
		{"rotated", signed(time.Now(), signature.NewSecret(), secret), "ok dlv_1"},
		{"with v1a", signed(time.Now(), signature.NewPrivateKey(), secret), "ok dlv_1"},
		{"another secret", signed(time.Now(), signature.NewSecret()), "refused"},
		{"only v1a", signed(time.Now(), signature.NewPrivateKey()), "refused"},
		{"old", signed(time.Now().Add(-10*time.Minute), secret), "refused"},
		{"from the future", signed(time.Now().Add(10*time.Minute), secret), "refused"},
		{"another id", changed, "refused"},
		{"no time", malformed, "refused"},
	}
	for _, lang := range []struct{ name, program, flag, harness string }{
		{"python", "python3", "-c", `
import json, sys
r = json.load(sys.stdin)
try:
    print("ok", verify(r["secret"], r["headers"], r["body"].encode()))
except Exception:
    print("refused")
`},
		{"js", "node", "--input-type=module", `
import { readFileSync } from "node:fs";
const r = JSON.parse(readFileSync(0, "utf8"));
try {
  console.log("ok " + verify(r.secret, r.headers, Buffer.from(r.body)));
} catch {
  console.log("refused");
}
`},
	} {
		t.Run(lang.name, func(t *testing.T) {
			program, err := exec.LookPath(lang.program)
			if err != nil {
				t.Skipf("%s is not here", lang.program)
			}
			code := snippet(t, lang.name) + "\n" + lang.harness
			for _, tt := range cases {
				in, err := json.Marshal(request{tt.headers, secret.Reveal(), string(body)})
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), program, lang.flag, code)
				if lang.name == "js" {
					cmd = exec.CommandContext(t.Context(), program, lang.flag, "-e", code)
				}
				cmd.Stdin = bytes.NewReader(in)
				out, err := cmd.CombinedOutput()
				if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
					t.Errorf("%s: %q %v, want %q", tt.name, got, err, tt.want)
				}
			}
		})
	}
}

// goldenFile compares a text with what was agreed.
func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s has changed: others rely on it. Run make golden and read the diff.\ngot:\n%s", name, got)
	}
}

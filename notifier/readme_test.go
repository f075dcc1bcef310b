package notifier_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/signature"
)

// The receivers that the page shows accept what the mesh signs, and nothing
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
			code := manualtest.Snippets(t, "README.md", lang.name)[0] + "\n" + lang.harness
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

// The Go that the page shows is in an example that runs.
func TestReadmeShowsTheExample(t *testing.T) {
	manualtest.Shown(t, "README.md", "../shared/signature/signature_test.go")
}

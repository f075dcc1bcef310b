package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/services/mesh/inbox"
	"agentmesh/shared/signature"
)

// What came to the inbox is seen, and how it answers is changed, from a terminal.
func TestInboxCommands(t *testing.T) {
	secret := signature.NewSecret()
	h, err := inbox.New(func(context.Context) []inbox.Key { return []inbox.Key{{Name: "callbacks", Verify: secret}} }).Handler()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	at := strings.TrimPrefix(srv.URL, "http://")
	post := func(body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/done", strings.NewReader(body))
		if err == nil {
			err = signature.Sign(r.Header, "dlv_1", time.Now(), []byte("{}"), secret)
		}
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	post("{}")
	expect := func(args string, exit int, words ...string) {
		t.Helper()
		code, out, errs := cli(t, append([]string{"inbox"}, strings.Fields(args+" --inbox "+at)...)...)
		for _, w := range words {
			if !strings.Contains(out+errs, w) {
				t.Errorf("mesh inbox %s does not say %q: %s%s", args, w, out, errs)
			}
		}
		if code != exit {
			t.Errorf("mesh inbox %s: exit %d, want %d: %s%s", args, code, exit, out, errs)
		}
	}
	expect("list", ExitOK, "POST /done", "callbacks", "It answers 200 after 0s.")
	expect("answer 503 --delay 1ms", ExitOK, "It answers 503 after 1ms.")
	if status := post("changed"); status != 503 {
		t.Errorf("it answers %d", status)
	}
	expect("list -o json", ExitOK, `"status":503`, `"signed_by":"callbacks"`, `"refused"`)
	expect("show 2", ExitOK, "not verified", "changed", "Webhook-Id")
	expect("show 3", ExitFailed, "no request 3")
	expect("answer 99", ExitUsage, "200 to 599")
	expect("answer 200 --delay 1h", ExitUsage, "at most 1m")
	expect("clear", ExitOK)
	expect("show 1", ExitFailed, "no request 1")
	t.Setenv("MESH_INBOX", at)
	if code, out, errs := cli(t, "inbox", "list"); code != ExitOK || !strings.Contains(out, "It answers 503") {
		t.Errorf("by the environment: %d %s%s", code, out, errs)
	}
	srv.Close()
	expect("list", ExitFailed, "mesh up --inbox")
}

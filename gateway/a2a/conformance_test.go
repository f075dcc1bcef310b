package a2a_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/a2a"
	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

var (
	kit = flag.String("kit", "", "folder of the conformance kit, as testdata/kit.sh prepares it")
	sdk = flag.String("sdk", "", "folder with node_modules/@a2a-js/sdk")
)

// conformant is the agent that the kit asks for: what it does follows from the id of
// the message.
func conformant(ctx context.Context, job *agent.Job) (any, error) {
	var meta struct {
		A2A struct {
			MessageID string `json:"message_id"`
		}
	}
	_ = json.Unmarshal(job.Metadata, &meta)
	artifact := func(part map[string]any) any {
		return map[string]any{"artifacts": []any{map[string]any{"artifactId": "artifact-1", "parts": []any{part}}}}
	}
	is := func(prefix string) bool { return strings.HasPrefix(meta.A2A.MessageID, prefix) }
	switch {
	case is("tck-artifact-text"), is("tck-stream"):
		return artifact(map[string]any{"text": "Generated text content"}), nil
	case is("tck-artifact-file-url"):
		return artifact(map[string]any{"url": "https://example.com/output.txt", "mediaType": "text/plain", "filename": "output.txt"}), nil
	case is("tck-artifact-file"):
		return artifact(map[string]any{"raw": "b3V0cHV0", "mediaType": "text/plain", "filename": "output.txt"}), nil
	case is("tck-artifact-data"):
		return artifact(map[string]any{"data": map[string]any{"key": "value", "count": 42}}), nil
	case is("tck-message-response"):
		return map[string]any{"message": map[string]any{"parts": []any{map[string]any{"text": "Direct message response"}}}}, nil
	case is("tck-input-required"):
		for {
			said, err := agent.Ask[string](ctx, job, "more", agent.Question{Prompt: "Please say more."})
			if err != nil || !strings.HasPrefix(said, "TCK history message") {
				return said, err
			}
		}
	}
	return map[string]string{"message": "Hello from TCK"}, nil
}

// listen serves a gateway of the mesh where programs of others reach it.
func listen(t *testing.T, m *meshtest.Mesh, options a2a.Options) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	url := "http://" + srv.Listener.Addr().String()
	srv.Config.Handler = another(t, m, func(c *gateway.Config) {
		c.PublicURL, c.A2A, c.TenantRate, c.TenantBurst = url, options, -1, 0
		c.Guard, c.Keys, c.A2ACompat = m.Guard, m.Keys, *sdk != ""
	}).Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	return url
}

var skipped = regexp.MustCompile(`(?m)^SKIPPED \[(\d+)\] \S+ (.*)$`)

// leftOut says what the kit has skipped, and why.
func leftOut(out []byte) string {
	why := map[string]int{}
	for _, m := range skipped.FindAllStringSubmatch(string(out), -1) {
		n, _ := strconv.Atoi(m[1])
		why[m[2]] += n
	}
	text := ""
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		text += fmt.Sprintf("\n  skipped %d: %s", why[reason], reason)
	}
	return text
}

var failures = regexp.MustCompile(`(\d+) (failed|error)`)

// make a2a-kit prepares the kit and runs this.
func TestTheConformanceKitFindsNoFault(t *testing.T) {
	if *kit == "" {
		t.Skip("the kit of others is not here: make a2a-kit")
	}
	m := meshtest.New(t)
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil) // receivers have sockets
	m.Work(meshtest.Named("tck", conformant))
	m.Notify()
	for name, mode := range map[string]struct {
		options a2a.Options
		args    []string
		passed  string
	}{
		"all on": {a2a.Options{}, nil, "177 passed"},
		"all off": {a2a.Options{NoPush: true, NoStream: true},
			[]string{"--deselect", "tests/compatibility/core_operations/test_transport_behavior.py::TestRestStreaming::test_streaming_content_type"}, "138 passed"},
		"a required extension": {a2a.Options{Required: []string{"urn:a2a:tck:required-extension"}}, []string{"-k", "TestCapabilityExtensionRequired"}, "2 passed"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-m", "pytest", "tests/compatibility", "-q", "-rs", "--tb=line", "-p", "no:cacheprovider",
				"--sut-host=" + listen(t, m, mode.options) + "/agents/tck/a2a", "--transport=jsonrpc,http_json", "--compatibility-report=" + filepath.Join(t.TempDir(), "r")}, mode.args...)
			cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", args...)
			cmd.Dir = filepath.Join(*kit, "kit")
			cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(*kit, "gen"), "PYTHONDONTWRITEBYTECODE=1")
			out, err := cmd.CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Log(lines[len(lines)-1] + leftOut(out))
			if err != nil || failures.Match(out) || !strings.Contains(string(out), mode.passed) {
				t.Errorf("want %s and none failed, %v:\n%s", mode.passed, err, strings.Join(lines[max(0, len(lines)-60):], "\n"))
			}
		})
	}
}

// make a2a-js installs the SDK and runs this.
func TestTheJavaScriptClientOfOthersWorksUnchanged(t *testing.T) {
	if *sdk == "" {
		t.Skip("the JavaScript SDK is not here: make a2a-js")
	}
	m := meshtest.New(t)
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil)
	m.Work(agents()...)
	m.Notify()
	base := listen(t, m, a2a.Options{})
	for _, program := range []string{"client.mjs", "client03.mjs"} {
		script, err := os.ReadFile("testdata/" + program)
		if err == nil {
			err = os.WriteFile(filepath.Join(*sdk, program), script, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, binding := range []string{"JSONRPC", "HTTP+JSON"} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			cmd := exec.CommandContext(ctx, "node", program, base, binding)
			cmd.Dir = *sdk
			out, err := cmd.CombinedOutput()
			cancel()
			t.Logf("%s %s:\n%s", program, binding, out)
			if err != nil || !strings.Contains(string(out), "all good") {
				t.Errorf("%s %s: %v", program, binding, err)
			}
		}
	}
}

package chat_test

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/llm/chat"
)

var mockServer = flag.String("llmock", "", "the program llmock of the npm package @copilotkit/aimock; make llm-interop has it")

const mockFixtures = `{"fixtures":[
{"match":{"userMessage":"hello"},"response":{"content":"Hello from a server of others!"}},
{"match":{"userMessage":"weather"},"response":{"toolCalls":[{"name":"get_weather","arguments":"{\"city\":\"Paris\"}"},{"name":"get_time","arguments":"{\"zone\":\"CET\"}"}]}}]}`

// mock starts the server of others, and returns where it is.
func mock(t *testing.T, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	file := filepath.Join(t.TempDir(), "fixtures.json")
	if err := os.WriteFile(file, []byte(mockFixtures), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*mockServer, append([]string{"-h", host, "-p", port, "-f", file, "-c", "3", "--log-level", "silent"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	natstest.Until(t, "the mock listens", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "http://" + net.JoinHostPort(host, port) + "/v1"
}

// The client speaks with a server that somebody else has written.
func TestInteropWithAServerOfOthers(t *testing.T) {
	if *mockServer == "" {
		t.Skip("make llm-interop runs it: it needs node and the npm registry")
	}
	base := mock(t)
	tools := []chat.Tool{{Name: "get_weather", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "get_time", Parameters: json.RawMessage(`{"type":"object"}`)}}
	for _, api := range []chat.API{chat.Completions, chat.Responses} {
		c := chat.New(chat.Config{BaseURL: base, Model: "gpt-4o", API: api}, nil)
		seen := strings.Builder{}
		a, err := c.Ask(t.Context(), chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "hello"}}}, func(d chat.Delta) { seen.WriteString(d.Text) })
		if err != nil || a.Content != "Hello from a server of others!" || seen.String() != a.Content || a.Usage.Total() == 0 {
			t.Errorf("%s: %+v, saw %q, %v", api, a, &seen, err)
		}
		a, err = c.Ask(t.Context(), chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "weather"}}, Tools: tools}, nil)
		if err != nil || len(a.Calls) != 2 || a.Calls[0].Arguments != `{"city":"Paris"}` || a.Finish != chat.Calls || a.Calls[0].ID == a.Calls[1].ID {
			t.Errorf("%s: %+v, %v", api, a, err)
		}
	}
	for flag, code := range map[string]chat.Code{"--chaos-drop": chat.Unreachable, "--chaos-malformed": chat.Unreachable, "--chaos-disconnect": chat.Unreachable, "--chaos-ratelimit": chat.RateLimited} {
		c := chat.New(chat.Config{BaseURL: mock(t, flag, "1"), Model: "gpt-4o"}, nil)
		if a, err := c.Ask(t.Context(), chat.Request{Messages: []chat.Message{{Role: chat.User, Content: "hello"}}}, nil); !chat.Is(err, code) {
			t.Errorf("%s: %+v, %v", flag, a, err)
		}
	}
}

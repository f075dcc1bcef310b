package mcp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
)

func TestGoldenTools(t *testing.T) {
	m := meshtest.New(t)
	schemed, talk := meshtest.Named("has-a-schema", meshtest.Says("x")), meshtest.Counter()
	schemed.Description, schemed.InputSchema = "Counts", json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
	m.Work(schemed, talk, meshtest.Named("plain", meshtest.Says("x")))
	raw, err := json.MarshalIndent(post(t, m, "/mcp", "tools/list", "", "{}", "").Result["tools"], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	manualtest.File(t, "testdata/tools.json", string(raw)+"\n")
}

func TestATalkOverToolsIsASession(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Counter())
	first := call(t, m, "counter", "{}", `{"text":"a"}`)
	structured, _ := first.Result["structuredContent"].(map[string]any)
	id, _ := structured["session_id"].(string)
	if said(first) != "1 a" || !strings.HasPrefix(id, "ses_") {
		t.Fatalf("%+v", first)
	}
	if second := call(t, m, "counter", "{}", `{"text":"b","session_id":"`+id+`"}`); said(second) != "2 b" {
		t.Errorf("%+v", second)
	}
	if other := call(t, m, "counter", "{}", `{"text":"c"}`); said(other) != "1 c" {
		t.Errorf("without a session: %+v", other)
	}
	gone := call(t, m, "counter", "{}", `{"text":"d","session_id":"ses_01a21a54c5197ef7b5531d46b5a7f6cf"}`)
	if gone.Result["isError"] != true || !strings.Contains(said(gone), "Leave session_id out") {
		t.Errorf("a session that is not there: %+v", gone)
	}
}

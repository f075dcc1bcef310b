package a2a_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
)

var (
	anyID   = regexp.MustCompile(`(tsk|ctx)_[0-9a-f]+`)
	anyTime = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]+Z"`)
	anyHash = regexp.MustCompile(`"trace_id":"[0-9a-f]+"`)
)

// steady is an answer without what differs each time.
func steady(w *httptest.ResponseRecorder) string {
	text := anyHash.ReplaceAllString(anyTime.ReplaceAllString(anyID.ReplaceAllString(w.Body.String(), "${1}_1"), `"(time)"`), `"trace_id":"(id)"`)
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(text))
}

func TestGoldenAnswersToClientsOfTheVersionBefore(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := another(t, m, func(c *gateway.Config) { c.A2ACompat, c.Guard, c.Keys = true, m.Guard, m.Keys })
	var all strings.Builder
	ask := func(what, method, path, body string) string {
		w := meshtest.Call(g.Handler(), method, "/agents/"+path, body)
		fmt.Fprintf(&all, "%s\n%s %s %s\n%s\n\n", what, method, anyID.ReplaceAllString(path, "${1}_1"), anyID.ReplaceAllString(body, "${1}_1"), steady(w))
		return w.Body.String()
	}
	rpc := func(what, agent, method, params string) string {
		return ask(what, "POST", agent+"/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`)
	}
	idOf := func(answer string) string { return regexp.MustCompile(`tsk_[0-9a-f]+`).FindString(answer) }
	message := func(parts, more string) string {
		return `{"message":{"kind":"message","messageId":"m","role":"user","parts":` + parts + more + `}}`
	}
	done := idOf(rpc("A text.", "says", "message/send", message(`[{"kind":"text","text":"hello"}]`, `,"contextId":"c"`)))
	rpc("A value keeps its digits.", "says", "message/send", message(`[{"kind":"data","data":{"n":12345678901234567}}]`, ""))
	rpc("A value that is no object, as it was given.", "says", "message/send", message(`[{"kind":"data","data":{"value":[1]},"metadata":{"data_part_compat":true}}]`, ""))
	rpc("Files.", "says", "message/send", message(`[{"kind":"file","file":{"bytes":"AAE=","mimeType":"a/b","name":"n"}},{"kind":"file","file":{"uri":"https://example.com/x"}}]`, ""))
	rpc("A task.", "says", "tasks/get", `{"id":"`+done+`","historyLength":0}`)
	asked := idOf(rpc("A question.", "asks", "message/send", message(`[{"kind":"text","text":"x"}]`, "")))
	rpc("Its answer.", "asks", "message/send", message(`[{"kind":"text","text":"yes"}]`, `,"taskId":"`+asked+`"`))
	rpc("A stream.", "fails", "message/stream", message(`[{"kind":"text","text":"x"}]`, ""))
	held := idOf(rpc("Not waited for.", "holds", "message/send", strings.TrimSuffix(message(`[{"kind":"text","text":"x"}]`, ""), "}")+`,"configuration":{"blocking":false}}`))
	rpc("A cancel.", "holds", "tasks/cancel", `{"id":"`+held+`"}`)
	rpc("Another cancel.", "holds", "tasks/cancel", `{"id":"`+held+`"}`)
	rpc("A receiver.", "holds", "tasks/pushNotificationConfig/set", `{"taskId":"`+held+`","pushNotificationConfig":{"id":"p","url":"http://127.0.0.1:9/","authentication":{"schemes":["Bearer"],"credentials":"x"}}}`)
	rpc("The receiver.", "holds", "tasks/pushNotificationConfig/get", `{"id":"`+held+`","pushNotificationConfigId":"p"}`)
	rpc("All receivers.", "holds", "tasks/pushNotificationConfig/list", `{"id":"`+held+`"}`)
	rpc("None any more.", "holds", "tasks/pushNotificationConfig/delete", `{"id":"`+held+`","pushNotificationConfigId":"p"}`)
	rpc("A part of 1.0.", "says", "message/send", message(`[{}]`, ""))
	rpc("A method of 1.0.", "says", "GetTask", `{}`)

	rest := "/a2a/v1/"
	content := func(parts, more string) string {
		return `{"message":{"messageId":"m","role":"ROLE_USER","content":` + parts + more + `},"configuration":{"blocking":true}}`
	}
	ask("A text over HTTP+JSON.", "POST", "says"+rest+"message:send", content(`[{"text":"hello"}]`, ""))
	ask("A value, a file that is encoded twice, and one that is not.", "POST", "says"+rest+"message:send",
		content(`[{"data":{"data":{"n":1}}},{"file":{"fileWithBytes":"QUFFPQ==","name":"n"}},{"file":{"fileWithBytes":"AAE="}}]`, ""))
	ask("The prefix may come twice.", "GET", "says"+rest+"v1/tasks/"+done, "")
	held = idOf(ask("Not waited for, as what is false is left out.", "POST", "holds"+rest+"message:send", strings.Replace(content(`[{"text":"x"}]`, ""), `"blocking":true`, "", 1)))
	ask("A cancel.", "POST", "holds"+rest+"tasks/"+held+":cancel", "")
	ask("The canceled ones.", "GET", "holds"+rest+"tasks?status=TASK_STATE_CANCELLED", "")
	ask("A stream.", "POST", "fails"+rest+"message:stream", content(`[{"text":"x"}]`, ""))
	ask("A receiver.", "POST", "holds"+rest+"tasks/"+held+"/pushNotificationConfigs", `{"parent":"tasks/x","configId":"p","config":{"pushNotificationConfig":{"url":"http://127.0.0.1:9/"}}}`)
	ask("Receivers.", "GET", "holds"+rest+"tasks/"+held+"/pushNotificationConfigs", "")
	ask("No task.", "GET", "says"+rest+"tasks/"+unknownTask, "")
	ask("The extended card.", "GET", "says"+rest+"card", "")
	manualtest.File(t, "testdata/compat.txt", all.String())
}

func TestWithoutTheSettingAVersionMustBeNamed(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	body := `{"jsonrpc":"2.0","id":1,"method":"message/send","params":{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"x"}]}}}`
	if e := failed(t, m.Do("POST", "/agents/says/a2a/rpc", body)); e.Code != -32009 {
		t.Errorf("a client of 0.3 = %+v", e)
	}
	g := another(t, m, func(c *gateway.Config) { c.A2ACompat = true })
	if v := sent(t, meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":`+text("x")+`}`, "A2A-Version", "1.0")); v.Status.State != "TASK_STATE_COMPLETED" {
		t.Errorf("a client of 1.0 beside those of 0.3 = %+v", v)
	}
	if e := failed(t, meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", body, "A2A-Version", "2.0")); e.Code != -32009 {
		t.Errorf("a client of 2.0 = %+v", e)
	}
	plain, both := m.Do("GET", "/agents/says/a2a/.well-known/agent-card.json", ""), meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/.well-known/agent-card.json", "")
	var a, b map[string]any
	if json.Unmarshal(plain.Body.Bytes(), &a) != nil || json.Unmarshal(both.Body.Bytes(), &b) != nil || len(a) != len(b) || b["url"] != nil {
		t.Errorf("the card = %s, without the setting %s", both.Body, plain.Body)
	}
}

package a2a_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

// hostile are params of a message that nobody means well with, in the form of 1.0, and of
// 0.3 where that differs. {parts} stands where the parts are.
func hostile() map[string]string {
	message := func(parts, more string) string {
		return `{"message":{"messageId":"m","role":"ROLE_USER","parts":[` + parts + `]` + more + `}}`
	}
	old := func(parts string) string {
		return `{"message":{"messageId":"m","role":"user","parts":[` + parts + `]}}`
	}
	return map[string]string{
		"a key twice":                  message(`{"text":"a","text":"b"}`, ""),
		"a thousand levels":            message(`{"data":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`, ""),
		"a number without end":         message(`{"data":1`+strings.Repeat("0", 500)+`}`, ""),
		"bytes that are none":          message(`{"raw":"?"}`, ""),
		"bytes that are none, of 0.3":  old(`{"kind":"file","file":{"bytes":"?"}}`),
		"two contents":                 message(`{"text":"a","url":"file:///etc/passwd"}`, ""),
		"an empty part, of 0.3":        old(`{"kind":"data"}`),
		"a long text":                  message(`{"text":"`+strings.Repeat("x", 70<<10)+`"}`, ""),
		"a line in a context":          message(`{"text":"a"}`, `,"contextId":"a\nb"`),
		"a subject in a context":       message(`{"text":"a"}`, `,"contextId":"a.*.>"`),
		"a subject as a task":          message(`{"text":"a"}`, `,"taskId":"*.>"`),
		"another tenant":               `{"tenant":"bob",` + strings.TrimPrefix(message(`{"text":"a"}`, ""), "{"),
		"metadata without measure":     message(`{"text":"a"}`, `,"metadata":{"x":"`+strings.Repeat("x", 20<<10)+`"}`),
		"an id without measure":        strings.Replace(message(`{"text":"a"}`, ""), `"messageId":"m"`, `"messageId":"`+strings.Repeat("m", 300)+`"`, 1),
		"a receiver in the cloud":      strings.TrimSuffix(message(`{"text":"a"}`, ""), "}") + `,"configuration":{"taskPushNotificationConfig":{"url":"http://169.254.169.254/latest"}}}`,
		"a receiver in a file":         strings.TrimSuffix(message(`{"text":"a"}`, ""), "}") + `,"configuration":{"taskPushNotificationConfig":{"url":"file:///etc/passwd"}}}`,
		"a header in credentials":      strings.TrimSuffix(message(`{"text":"a"}`, ""), "}") + `,"configuration":{"taskPushNotificationConfig":{"url":"http://127.0.0.1:9/","authentication":{"scheme":"Bearer","credentials":"x\r\nHost: y"}}}}`,
		"a receiver in the cloud, 0.3": strings.TrimSuffix(old(`{"kind":"text","text":"a"}`), "}") + `,"configuration":{"pushNotificationConfig":{"url":"http://169.254.169.254/latest"}}}`,
	}
}

func TestHostileMessagesAreRefusedBeforeAnythingIsAccepted(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := another(t, m, func(c *gateway.Config) { c.A2ACompat, c.Guard, c.Keys = true, m.Guard, m.Keys })
	for name, params := range hostile() {
		for _, method := range []string{"SendMessage", "SendStreamingMessage", "message/send", "message/stream"} {
			version := "1.0"
			if strings.Contains(method, "/") {
				version = "0.3"
			}
			// In 0.3 there are no tenants, the receiver has another name, and so has a part.
			if skipped := version == "0.3" && (name == "another tenant" || name == "two contents" || strings.Contains(params, "taskPush")); skipped {
				continue
			}
			w := meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, "A2A-Version", version)
			if !strings.Contains(w.Body.String(), `"error"`) || w.Code >= 500 || len(w.Body.Bytes()) > 8<<10 {
				t.Errorf("%s by %s = %d %s", name, method, w.Code, meshtest.Clipped(w.Body.Bytes()))
			}
		}
	}
	if all := m.Do("GET", "/tasks", "").Body.String(); strings.Contains(all, "tsk_") {
		t.Errorf("tasks were made: %s", meshtest.Clipped([]byte(all)))
	}
}

// oldOnes are the methods of 0.3 with the operations of 1.0 that they are.
var oldOnes = map[string]string{
	"message/send": "SendMessage", "message/stream": "SendStreamingMessage", "tasks/get": "GetTask", "tasks/cancel": "CancelTask", "tasks/resubscribe": "SubscribeToTask",
	"tasks/pushNotificationConfig/set": "CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/get": "GetTaskPushNotificationConfig",
	"tasks/pushNotificationConfig/list": "ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/delete": "DeleteTaskPushNotificationConfig",
	"agent/getAuthenticatedExtendedCard": "GetExtendedAgentCard",
}

func TestTheMethodsOfTheVersionBeforeNeedTheSameScopes(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	callers := meshtest.Callers{}
	for i, s := range auth.Scopes {
		if s != auth.All {
			rest := slices.DeleteFunc(slices.Clone(auth.Scopes), func(x auth.Scope) bool { return x == s || x == auth.All })
			callers[fmt.Sprintf("but-%d", i)] = auth.Caller{Tenant: "ann", Subject: "but", Scopes: rest}
		}
	}
	g := another(t, m, func(c *gateway.Config) {
		c.A2ACompat, c.Guard, c.Keys, c.Auth, c.Authenticator = true, m.Guard, m.Keys, "keys", callers
	})
	ask := func(method string, headers ...string) *httptest.ResponseRecorder {
		params := `{"id":"` + unknownTask + `","taskId":"` + unknownTask + `","pushNotificationConfig":{"url":"http://127.0.0.1:1/"},"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"x"}]},"configuration":{"blocking":false}}`
		return meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`, headers...)
	}
	for method, operation := range oldOnes {
		if w := ask(method); w.Code != 401 {
			t.Errorf("%s by a stranger = %d %s", method, w.Code, w.Body)
		}
		for token, who := range callers {
			if w := ask(method, meshtest.As(token)...); (w.Code == 403) == who.May(methods[operation].scope) || w.Code == 401 || w.Code >= 500 {
				t.Errorf("%s by %s of %v = %d %s", method, token, who.Scopes, w.Code, w.Body)
			}
		}
	}
}

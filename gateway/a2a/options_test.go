package a2a_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway"
	"agentmesh/gateway/a2a"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// eager tells of progress as fast as it can, for more than a second.
func eager(ctx context.Context, job *agent.Job) (any, error) {
	end := time.After(1200 * time.Millisecond)
	for i := 0; ; i++ {
		select {
		case <-end:
			return "done", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
			job.Progress(i%100, strconv.Itoa(i))
			runtime.Gosched()
		}
	}
}

func failed(t *testing.T, w *httptest.ResponseRecorder) fault {
	t.Helper()
	var a struct{ Error *fault }
	if _ = json.Unmarshal(w.Body.Bytes(), &a); a.Error == nil {
		t.Fatalf("it is no error: %s", w.Body)
	}
	return *a.Error
}

type fault struct {
	Code    int
	Message string
	Data    []struct{ Reason string }
}

// another is a second gateway of a mesh, set up as change says.
func another(t *testing.T, m *meshtest.Mesh, change func(*gateway.Config)) *gateway.Gateway {
	t.Helper()
	cfg := gateway.Default()
	cfg.HTTP = "127.0.0.1:0"
	change(&cfg)
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func ask(g *gateway.Gateway, method, params string, headers ...string) *httptest.ResponseRecorder {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	return meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", body, append([]string{"A2A-Version", "1.0"}, headers...)...)
}

func TestAnExtensionThatIsRequiredMustBeNamed(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	const needed = "urn:test:needed"
	g := another(t, m, func(c *gateway.Config) { c.A2A = a2a.Options{Required: []string{needed}} })
	if e := failed(t, ask(g, "SendMessage", text("x"))); e.Code != -32008 || e.Data[0].Reason != "EXTENSION_SUPPORT_REQUIRED" || !strings.Contains(e.Message, needed) {
		t.Errorf("without it = %+v", e)
	}
	w := ask(g, "SendMessage", text("x"), "A2A-Extensions", "urn:other, "+needed)
	if sent(t, w); w.Result().Header.Get("A2A-Extensions") != needed {
		t.Errorf("applied = %q", w.Result().Header.Get("A2A-Extensions"))
	}
	rest := meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/v1/tasks", "", "A2A-Version", "1.0")
	if rest.Code != 400 || !strings.Contains(rest.Body.String(), "EXTENSION_SUPPORT_REQUIRED") {
		t.Errorf("over HTTP+JSON = %d %s", rest.Code, rest.Body)
	}
	card := meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/.well-known/agent-card.json", "").Body.String()
	if !strings.Contains(card, `"required":true`) || !strings.Contains(card, needed) {
		t.Errorf("card = %s", card)
	}
}

func TestWhatACardDoesNotOfferIsRefused(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := another(t, m, func(c *gateway.Config) { c.A2A = a2a.Options{NoPush: true, NoStream: true} })
	for method, code := range map[string]int{"SendStreamingMessage": -32004, "SubscribeToTask": -32004, "ListTaskPushNotificationConfigs": -32003} {
		if e := failed(t, ask(g, method, text("x"))); e.Code != code {
			t.Errorf("%s = %+v", method, e)
		}
	}
	card := meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/.well-known/agent-card.json", "").Body.String()
	if strings.Contains(card, "streaming") || strings.Contains(card, "pushNotifications") {
		t.Errorf("card = %s", card)
	}
}

func TestAMessageIsWaitedForAsLongAsTheOperatorSays(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := another(t, m, func(c *gateway.Config) { c.A2AHold = time.Second })
	body := `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":` + text("x") + `}`
	w := meshtest.Call(g.Handler(), "POST", "/agents/holds/a2a/rpc", body, "A2A-Version", "1.0")
	v := sent(t, w)
	if v.Status.State == "TASK_STATE_COMPLETED" || v.Status.State == "TASK_STATE_FAILED" {
		t.Errorf("after the hold = %+v", v)
	}
	rpc(m, "holds", "CancelTask", `{"id":"`+v.ID+`"}`)
}

func TestTheCardNamesTheIssuersWhoseTokensCount(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := another(t, m, func(c *gateway.Config) {
		c.Auth, c.Authenticator, c.Issuers = "oidc", meshtest.Callers{"ann": auth.Caller{Tenant: "ann"}}, []string{"https://login.example.com/one/"}
	})
	card := meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/.well-known/agent-card.json", "").Body.String()
	for _, want := range []string{
		`"openIdConnectSecurityScheme":{"openIdConnectUrl":"https://login.example.com/one/.well-known/openid-configuration"}`, `"httpAuthSecurityScheme"`,
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %s: %s", want, card)
		}
	}
}

func TestProgressComesAtMostTenTimesASecond(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("eager", eager))
	began := time.Now()
	w := rpc(m, "eager", "SendStreamingMessage", text("x"))
	if n, most := strings.Count(w.Body.String(), "mesh/progress"), 10+int(10*time.Since(began)/time.Second); n > most {
		t.Errorf("%d updates of progress, at most %d are allowed", n, most)
	}
}

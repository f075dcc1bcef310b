package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/echo"
)

// mesh listen shows what comes and what it answers, refuses what is not signed,
// forwards, and leaves nothing behind.
func TestMeshListenShowsAnswersAndForwardsWhatComes(t *testing.T) {
	m := newMesh(t)
	m.Work(echo.Agent())
	m.Notify()
	srv, c := m.Serve()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Webhook-Signature") == "" {
			t.Error("the signature is not forwarded")
		}
		if strings.Contains(string(body), "teapot") {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer app.Close()
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &meshtest.Transcript{}, make(chan int, 1)
	go func() {
		ended <- Run(ctx, Root(nil), []string{"listen", "--gateway", srv.URL, "--forward-to", app.URL}, out, out)
	}()
	natstest.Until(t, "it listens", func() bool { return strings.Contains(out.String(), "Ready.") })
	_, rest, _ := strings.Cut(out.String(), "Use ")
	callback, _, _ := strings.Cut(rest, " ")
	m.Create(`{"agent":"echo","instruction":"x"}`)
	m.Do("POST", "/actions", `{"agent":"echo","instruction":"teapot","callback_url":"`+callback+`","callback_events":["completed"]}`)
	natstest.Until(t, "both come and are answered", func() bool {
		text := out.String()
		return strings.Contains(text, "-->  task.completed") && strings.Contains(text, "-->  action.completed") &&
			strings.Contains(text, "<--  [200] from "+app.URL) && strings.Contains(text, "<--  [418] from "+app.URL)
	})
	resp, err := http.Post(callback, "application/json", strings.NewReader(`{"type":"forged"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(out.String(), "REFUSED") || strings.Contains(out.String(), "forged") {
		t.Errorf("a forged delivery: %d\n%s", resp.StatusCode, out)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit status %d\n%s", code, out)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if got, err := c.Webhooks.List(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("left behind: %+v, %v", got, err)
	}
}

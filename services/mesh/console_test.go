package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/gateway/console"
	"agentmesh/shared/auth"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// consoleOf mounts the console on the gateway of a mesh.
func consoleOf(t *testing.T, m *meshtest.Mesh, cfg gateway.Config, mode string) http.Handler {
	t.Helper()
	parts, err := mountConsole(m.Gateway, cfg, console.Config{Console: mode}, meshtest.Quiet())
	if err != nil || (len(parts) == 0) != (mode == console.Off) {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	return m.Gateway.Handler()
}

func TestTheConsoleIsServedUnlessItIsOff(t *testing.T) {
	m := meshtest.New(t)
	if w := meshtest.Call(consoleOf(t, m, gateway.Default(), console.Off), "GET", "/console/", ""); w.Code != http.StatusNotFound {
		t.Errorf("off: %d", w.Code)
	}
	h := consoleOf(t, m, gateway.Default(), console.On)
	for path, want := range map[string]int{"/console": http.StatusSeeOther, "/console/": http.StatusOK, "/console/tasks": http.StatusOK, "/console/nowhere": http.StatusNotFound} {
		if w := meshtest.Call(h, "GET", path, ""); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if err := (console.Config{Console: "maybe"}).Validate(); err == nil {
		t.Error("a mode that there is not is taken")
	}
}

// A login holds for as long as the gateway takes its key, and shows what that key may.
func TestALoginOfTheConsoleIsCheckedAsItsKeyIs(t *testing.T) {
	m := meshtest.New(t)
	key := auth.NewKey()
	if err := core.SetOperatorKey(t.Context(), m.Store, "first", key, meshtest.Quiet()); err != nil {
		t.Fatal(err)
	}
	m.Ask(core.NewKeyAuthenticator(m.Store, meshtest.Quiet()))
	cfg := gateway.Default()
	cfg.Auth, cfg.Keys = "keys", m.Keys
	h := consoleOf(t, m, cfg, console.On)
	page := func(cookie string) *httptest.ResponseRecorder {
		return meshtest.Call(h, "GET", "/console/", "", "Cookie", cookie)
	}
	if w := page(""); w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "./login") {
		t.Fatalf("a stranger: %d", w.Code)
	}
	w := meshtest.Call(h, "POST", "/console/login", url.Values{"key": {key.Reveal()}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) == 0 {
		t.Fatalf("the key: %d %s", w.Code, w.Body)
	}
	cookie := w.Result().Cookies()[0].Name + "=" + w.Result().Cookies()[0].Value
	if w := page(cookie); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Waiting") {
		t.Errorf("logged in: %d", w.Code)
	}
	if err := core.SetOperatorKey(t.Context(), m.Store, "first", auth.NewKey(), meshtest.Quiet()); err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the login ends with its key", func() bool { return page(cookie).Code == http.StatusSeeOther })
}

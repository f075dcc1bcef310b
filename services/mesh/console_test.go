package main

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
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

// Every command that a page of the console shows is one that there is, with flags and
// arguments that it takes.
func TestTheCommandsThatTheConsoleShowsAreThere(t *testing.T) {
	m := meshtest.New(t)
	h := consoleOf(t, m, gateway.Default(), console.On)
	pages := map[string]string{}
	look := func(method, path, form string) {
		w := meshtest.Call(h, method, "/console/"+path, form, "Content-Type", "application/x-www-form-urlencoded")
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		pages[path] = w.Body.String()
	}
	for _, path := range []string{"", "tasks", "sessions", "schedules", "hooks", "webhooks", "deliveries", "workers", "agents", "inbox", "playground", "budgets"} {
		look("GET", path, "") // empty ones say how they are filled
	}
	m.Work(meshtest.Named("echo", meshtest.Says("x")))
	natstest.Until(t, "the gateway knows the agent", func() bool { return m.Do("GET", "/agents/echo", "").Code == http.StatusOK })
	look("GET", "tasks/"+m.Create(`{"agent":"echo","instruction":"x"}`)+"?tab=record", "")
	options := url.Values{
		"view": {"json"}, "op": {"json"}, "json": {`{"it's":1}`}, "instruction": {"do it"}, "labels": {"team=search\nenv=prod"}, "delay": {"90s"}, "timeout": {"5m"}, "deadline": {"2099-12-01T12:00:00Z"},
		"attempts": {"2"}, "callback": {"https://example.com/done"}, "wait": {"10"}, "key": {"once"},
	}
	look("POST", "playground/echo", options.Encode())
	commands := regexp.MustCompile(`<pre>(mesh [^<]*)</pre>`)
	seen := 0
	for path, page := range pages {
		for _, found := range commands.FindAllStringSubmatch(page, -1) {
			text := html.UnescapeString(found[1])
			seen++
			cmd, rest, err := rootCommand().Find(words(text)[1:])
			if err == nil && !cmd.HasParent() {
				err = errors.New("there is no such command")
			}
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil {
				t.Errorf("%q shows %s: %v", path, text, err)
			}
		}
	}
	if seen < 14 {
		t.Errorf("%d commands were found", seen)
	}
}

// words are those of a command as a shell reads them.
func words(command string) (all []string) {
	word, quoted, begun := "", false, false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == '\\' && !quoted && i+1 < len(command):
			i++
			word += command[i : i+1]
		case c == ' ' && !quoted:
			if begun {
				all = append(all, word)
			}
			word, begun = "", false
		default:
			word, begun = word+command[i:i+1], true
		}
	}
	if begun {
		all = append(all, word)
	}
	return all
}

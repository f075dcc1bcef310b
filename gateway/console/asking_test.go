package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/gateway/client"
)

// newFake makes a console over the fake.
func newFake(tb testing.TB, f *fakeAPI, change func(*Options)) *Console {
	tb.Helper()
	if f.say == nil {
		f.say = plain
	}
	api, err := client.New("http://api.internal", client.WithHTTPClient(&http.Client{Transport: Inside(f)}))
	if err != nil {
		tb.Fatal(err)
	}
	o := Options{Config: Default(), API: api}
	if f.n > 0 {
		came := httptest.NewServer(http.HandlerFunc(f.inbox))
		tb.Cleanup(came.Close)
		o.Inbox = came.URL
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// get asks a console for a page.
func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	return ask(h, http.MethodGet, path, "", headers...)
}

func ask(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Host = "127.0.0.1:8080"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// pages are the path of each screen.
func allPages() []string {
	return []string{
		"", "tasks", "tasks?status=failed&agent=research&label=team%3Dx", "tasks?id=" + fakeID("tsk", 0), "tasks/" + fakeID("tsk", 0), "tasks/" + fakeID("tsk", 0) + "?tab=input", "tasks/" + fakeID("tsk", 0) + "?tab=events", "tasks/" + fakeID("tsk", 0) + "?tab=attempts",
		"tasks/" + fakeID("tsk", 0) + "?tab=steps", "tasks/" + fakeID("tsk", 0) + "?tab=children", "tasks/" + fakeID("tsk", 0) + "?tab=deliveries", "tasks/" + fakeID("tsk", 0) + "?tab=record", "tasks/bulk?action=cancel&agent=research",
		"sessions", "sessions/" + fakeID("ses", 0), "sessions/" + fakeID("ses", 0) + "?turn=" + fakeID("trn", 1), "schedules", "schedules/" + fakeID("sch", 0), "firehose", "agents", "agents?view=map", "agents?view=table", "agents/research", "workers", "playground", "playground/research", "playground/research?view=json",
		"webhooks", "webhooks/" + fakeID("whk", 0), "deliveries", "deliveries/" + fakeID("dlv", 0), "deliveries/bulk?status=dead", "dead", "dead?tab=tasks", "hooks", "hooks/" + fakeID("hok", 0), "budgets", "inbox", "problems", "problems/agent_failed", "nowhere",
	}
}

package console

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"agentmesh/gateway/client"
	"agentmesh/shared/natstest"
)

// hostile are texts that somebody would like to be more than text.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `<svg onload=alert(1)>`, `javascript:alert(1)`, `</title><script>alert(1)</script>`, `</textarea><script>alert(1)</script>`,
	`<hx-partial hx-target="#main" hx-swap="innerHTML">gone</hx-partial>`, `<div hx-get="/console/logout" hx-trigger="load">`, `{{template "top" .}}`, `${alert(1)}`, `<!--`, `-->`, `]]>`, `<style>*{display:none}</style>`,
	`<base href="https://evil.example/">`, `<meta http-equiv="refresh" content="0;url=https://evil.example">`, `<iframe src="https://evil.example"></iframe>`, `<form action="https://evil.example"><input name=x>`, `<a href="javascript:alert(1)">x</a>`,
	"\u202eevil\u202c", "a\u0000b", "line\u2028sep\u2029", "cr\rlf\r\nend\revent: close\rdata: x", "👩‍👩‍👧‍👦🏴‍☠️", `__proto__`, `constructor`, strings.Repeat("W", 4000), strings.Repeat("wide ", 300), "\xff\xfe\xfd",
	`![x](https://evil.example/pixel.png)`, `[x](javascript:alert(1))`, "[x](data:text/html,<script>alert(1)</script>)", "```html\n<script>alert(1)</script>\n```", `<https://evil.example>`, `# heading`, `| a | b |`, `&lt;script&gt;`, `%3Cscript%3E`, strings.Repeat(`<b>`, 200),
}

func evil(i int) string { return hostile[((i%len(hostile))+len(hostile))%len(hostile)] }

// Each screen, in each state, below any path, is a whole page: what others have written
// is text in it, and nothing in it leads elsewhere.
func TestEveryScreenInEveryStateIsAWholePage(t *testing.T) {
	states := map[string]*fakeAPI{"empty": {}, "one": {n: 1}, "many": {n: 60}, "error": {n: 1, refuses: 503}, "no scopes": {n: 3, scopes: []string{"tasks:read"}}, "with a login": {n: 3, auth: "keys"}}
	for name, f := range states {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, f, nil)
			for _, path := range allPages() {
				checkPage(t, c, path, name == "error" || path == "nowhere")
			}
		})
	}
	t.Run("hostile", func(t *testing.T) {
		for turn := 0; turn < len(hostile); turn += 6 {
			c := newFake(t, &fakeAPI{n: 7, say: func(i int) string { return evil(i + turn) }}, nil)
			for _, path := range allPages() {
				checkPage(t, c, path, false)
			}
		}
	})
}

func checkPage(t *testing.T, h http.Handler, path string, mayFail bool) {
	t.Helper()
	prefixes := []string{""}
	if t.Name() == "TestEveryScreenInEveryStateIsAWholePage/many" {
		prefixes = append(prefixes, "/a/b")
	}
	for _, prefix := range prefixes {
		w := get(http.StripPrefix(prefix, h), prefix+"/console/"+path)
		if w.Code != http.StatusOK && !mayFail && path != "nowhere" && !strings.HasPrefix(path, "agents/") && !strings.HasPrefix(path, "playground/") {
			t.Errorf("%s: %d", path, w.Code)
		}
		for _, fault := range faultsOf(w.Body.Bytes(), prefix+"/console/"+path) {
			t.Errorf("%s: %s", path, fault)
		}
	}
}

// faultsOf looks at a page as a browser would read it.
func faultsOf(page []byte, path string) (faults []string) {
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	ids, labels, headings := map[string]int{}, map[string]bool{}, 0
	var inputs []*html.Node
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		switch n.Data {
		case "h1":
			headings++
		case "label":
			labels[attr(n, "for")] = true
		case "input", "select", "textarea":
			inputs = append(inputs, n)
		case "script":
			if attr(n, "src") == "" || n.FirstChild != nil {
				faults = append(faults, "a script stands in the page")
			}
		case "style", "iframe", "object", "embed", "base":
			faults = append(faults, "the page has <"+n.Data+">")
		case "img":
			faults = append(faults, "an image is loaded from "+attr(n, "src"))
		}
		faults = append(faults, attributes(n, path)...)
	}
	if headings != 1 {
		faults = append(faults, fmt.Sprintf("%d headings of the first order", headings))
	}
	for id, n := range ids {
		if n > 1 {
			faults = append(faults, fmt.Sprintf("the id %.60q is there %d times", id, n))
		}
	}
	for _, n := range inputs {
		if attr(n, "type") != "hidden" && attr(n, "aria-label") == "" && !labels[attr(n, "id")] && !within(n, "label") {
			faults = append(faults, fmt.Sprintf("<%s name=%.60q> has no label", n.Data, attr(n, "name")))
		}
	}
	return faults
}

// attributes looks at those of an element: no script, no style, no other site.
func attributes(n *html.Node, path string) (faults []string) {
	for _, a := range n.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "style":
			faults = append(faults, fmt.Sprintf("<%s> has %s=%.60q", n.Data, a.Key, a.Val))
		case strings.HasPrefix(a.Key, "hx-") && within(n, "[hx-ignore]"):
			faults = append(faults, fmt.Sprintf("what an agent said has %s", a.Key))
		case a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "formaction" || a.Key == "hx-post" || a.Key == "hx-sse:connect":
			if fault := elsewhere(n, a, path); fault != "" {
				faults = append(faults, fault)
			}
		}
	}
	return faults
}

// elsewhere says why a link leads out of the console; empty: it does not. What an agent
// says may link to the web, and says nothing of where it was clicked.
func elsewhere(n *html.Node, a html.Attribute, path string) string {
	u, err := url.Parse(a.Val)
	if err != nil {
		return fmt.Sprintf("%s=%.80q is no URL", a.Key, a.Val)
	}
	if within(n, "[hx-ignore]") {
		if u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" || !strings.Contains(attr(n, "rel"), "noopener noreferrer nofollow") {
			return fmt.Sprintf("what an agent said has %s=%.80q rel=%q", a.Key, a.Val, attr(n, "rel"))
		}
		return ""
	}
	if u.IsAbs() || u.Host != "" || strings.HasPrefix(a.Val, "/") {
		return fmt.Sprintf("%s=%.80q is absolute", a.Key, a.Val)
	}
	from, _ := url.Parse(path)
	if to := from.ResolveReference(u).Path; !strings.Contains(to, "/console/") || strings.Contains(to, "//") {
		return fmt.Sprintf("%s=%.80q leads from %s to %s", a.Key, a.Val, path, to)
	}
	return ""
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// within reports whether an element is in one of a name, or with [an attribute].
func within(n *html.Node, what string) bool {
	name, byAttr := strings.CutPrefix(strings.TrimSuffix(what, "]"), "[")
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == what || byAttr && slices.ContainsFunc(p.Attr, func(a html.Attribute) bool { return a.Key == name }) {
			return true
		}
	}
	return false
}

// A console that hides payloads shows nothing of what others have sent, said or answered.
func TestPayloadsAreHiddenWhereTheOperatorSaysSo(t *testing.T) {
	const mark = "SECRETPAYLOAD"
	f := &fakeAPI{n: 8, say: func(int) string { return "ordinary" }}
	c := newFake(t, f, func(o *Options) { o.HidePayloads = true })
	payload := &fakeAPI{n: 8, say: func(i int) string { return mark }}
	p := newFake(t, payload, func(o *Options) { o.HidePayloads = true })
	id := fakeID("tsk", 0)
	for _, path := range []string{"tasks/" + id, "tasks/" + id + "?tab=input", "tasks/" + id + "?tab=record", "tasks/" + id + "?tab=output", "sessions/" + fakeID("ses", 0), "deliveries/" + fakeID("dlv", 0)} {
		if get(c, "/console/"+path).Code != http.StatusOK {
			t.Errorf("%s is no page", path)
		}
		body := get(p, "/console/"+path).Body.String()
		doc, _ := html.Parse(strings.NewReader(body))
		for n := range doc.Descendants() {
			if n.Type == html.TextNode && strings.Contains(n.Data, mark) && (within(n, "pre") || hasClass(n, "bubble") || hasClass(n, "payload")) {
				t.Errorf("%s shows %.80q", path, n.Data)
			}
		}
	}
	for _, path := range []string{"tasks/" + id + "/result", "tasks/" + id + "/input"} {
		if w := get(c, "/console/"+path); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func hasClass(n *html.Node, class string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if slices.Contains(strings.Fields(attr(p, "class")), class) {
			return true
		}
	}
	return false
}

// What a person makes by a form reaches the API as it was filled in, and what is refused
// is shown again with what was in it, but never a secret.
func TestAHookIsMadeByItsForm(t *testing.T) {
	c, api := onMesh(t)
	w := ask(c, http.MethodPost, "/console/hooks", "style=token&secret=s3cret-of-the-sender&header=X-Token&id=&does=session&agent=talker&key=%2Fchannel&text=%2Fsaid&accept=X-Event%3Dpush%2C+open%0A%2Faction%3Ddone&keep=on")
	to := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "./hooks/hok_") || !strings.HasSuffix(to, "?said=created") {
		t.Fatalf("%d %s %s", w.Code, to, w.Body)
	}
	all, err := api.Hooks.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	h := all[0]
	if h.Verify.Style != "token" || h.Verify.Header != "X-Token" || h.Verify.ID != "none" || h.Session == nil || h.Session.Key != "/channel" || h.Session.Text != "/said" || h.Session.Agent != "talker" || !h.KeepBodies {
		t.Errorf("%+v %+v", h, h.Session)
	}
	if len(h.Accept) != 2 || h.Accept[0].Header != "X-Event" || !slices.Equal(h.Accept[0].In, []string{"push", "open"}) || h.Accept[1].JSON != "/action" {
		t.Errorf("accepts %+v", h.Accept)
	}
	for _, form := range []string{"style=hmac&secret=s3cret&does=task&agent=nobody&instruction=look", "style=github&secret=s3cret&does=task&instruction=look&accept=what"} {
		w = ask(c, http.MethodPost, "/console/hooks", form)
		body := w.Body.String()
		if w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusNotFound || !strings.Contains(body, `role="alert"`) || !strings.Contains(body, ">look</textarea>") || strings.Contains(body, "s3cret") {
			t.Errorf("%s: %d, shown again: %v, with its secret: %v", form, w.Code, strings.Contains(body, ">look</textarea>"), strings.Contains(body, "s3cret"))
		}
	}
	for path, form := range map[string]string{
		"schedules": "name=nightly&when=never&agent=greeter&instruction=look", "webhooks": "url=ftp%3A%2F%2Fx&description=look",
	} {
		w := ask(c, http.MethodPost, "/console/"+path, form)
		if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, "look") || !strings.Contains(body, `role="alert"`) {
			t.Errorf("%s: %d, %.300s", path, w.Code, body)
		}
	}
}

// A filter that names one task shows that one, and offers nothing for all of them.
func TestOneTaskIsFoundByItsID(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 9}, nil)
	body := get(c, "/console/tasks?id="+fakeID("tsk", 0)).Body.String()
	if strings.Count(body, `<tr id="t-tsk_`) != 1 || strings.Contains(body, "tasks/bulk") {
		t.Errorf("%d rows, bulk: %v", strings.Count(body, `<tr id="t-tsk_`), strings.Contains(body, "tasks/bulk"))
	}
	if body := get(c, "/console/tasks?id="+fakeID("tsk", 999)).Body.String(); !strings.Contains(body, "No task matches") {
		t.Error("one that is not there is not told")
	}
	if w := get(c, "/console/tasks/bulk?action=cancel&id="+fakeID("tsk", 0)); w.Code != http.StatusBadRequest {
		t.Errorf("all of one id: %d", w.Code)
	}
}

// The page of a budget says how much is used, and by whom.
func TestBudgetsAreShownWithWhatIsUsedOfThem(t *testing.T) {
	body := get(newFake(t, &fakeAPI{n: 2}, nil), "/console/budgets").Body.String()
	for _, want := range []string{"3 912 400 of 5 000 000", "81 % used", "used up", "20.00 of 20.00", "quota_exceeded", `href="./agents/research"`} {
		if !strings.Contains(strings.ReplaceAll(body, "\u202f", " "), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if body := get(newFake(t, &fakeAPI{}, nil), "/console/budgets").Body.String(); !strings.Contains(body, "period: day") {
		t.Error("an empty page does not say how to make one")
	}
}

// A task that has ended is deleted by the button of its page.
func TestATaskIsDeletedByItsButton(t *testing.T) {
	c, api := onMesh(t)
	made, err := api.Tasks.Create(t.Context(), client.Request{Agent: "greeter", Input: []byte(`{}`)}, client.CreateOptions{})
	if err == nil {
		_, err = api.Tasks.Wait(t.Context(), made.TaskID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if body := get(c, "/console/tasks/"+made.TaskID).Body.String(); !strings.Contains(body, made.TaskID+`/delete"`) {
		t.Error("the page has no button for it")
	}
	natstest.Until(t, "it is deleted", func() bool { // its end may be told to webhooks in this moment
		return ask(c, http.MethodPost, "/console/tasks/"+made.TaskID+"/delete", "x=1").Header().Get("Location") == "../../tasks?said=deleted"
	})
	if _, err := api.Tasks.Get(t.Context(), made.TaskID); !notFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// The page of a session draws the life of the turn that was chosen.
func TestASessionShowsTheTimesOfATurn(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 4}, nil)
	for query, here := range map[string]string{"": fakeID("tsk", 0), "?turn=" + fakeID("trn", 1): fakeID("trn", 1), "?turn=trn_unknown": fakeID("tsk", 0)} {
		body := get(c, "/console/sessions/"+fakeID("ses", 0)+query).Body.String()
		if !strings.Contains(body, `aria-current="true" title="`+here+`"`) || !strings.Contains(body, `class="fall"`) || !strings.Contains(body, "attempt 1") {
			t.Errorf("%q does not show the times of %s", query, here)
		}
	}
}

// An answer that the inbox cannot give is told on its page, with what was typed.
func TestAnImpossibleAnswerOfTheInboxIsTold(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 2}, nil)
	w := ask(c, http.MethodPost, "/console/inbox/answer", "status=99&delay=1h")
	if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, `value="99"`) || !strings.Contains(body, `role="alert"`) {
		t.Errorf("%d %.300s", w.Code, body)
	}
	if w := ask(c, http.MethodPost, "/console/inbox/answer", "status=503&delay=2s"); w.Code != http.StatusSeeOther {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	none := newFake(t, &fakeAPI{}, nil)
	if w := ask(none, http.MethodPost, "/console/inbox/clear", "x=1"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "--inbox 127.0.0.1:8091") {
		t.Errorf("without an inbox: %d", w.Code)
	}
}

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
	states := map[string]*fakeAPI{"empty": {}, "one": {n: 1}, "many": {n: 60}, "error": {n: 1, refuses: 503}, "no scopes": {n: 3, scopes: []string{"tasks:read"}}}
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

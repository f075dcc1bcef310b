package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"agentmesh/gateway/client"
)

//go:embed templates/*.html
var templateFiles embed.FS

// page is what a page shows: the screen's own body, and what stands around it.
type page struct {
	Screen string // the name of its template
	Title  string
	Nav    string // of the screen that the menu marks
	Body   any

	Me       *client.WhoAmI
	LogsIn   bool // somebody has logged in, and can log out
	ReadOnly bool
	Hide     bool // payloads
	Theme    string
	Keys     bool // single keys do something
	Here     string
	Live     string // the URL of the stream that keeps the page up to date; empty: none
	Said     string // what the form before this page has done
	Chart    bool   // the page draws

	v *visit
}

// May reports whether the visitor may change something here.
func (p *page) May(scope string) bool { return p.v.mayChange(scope) }

// Changes reports whether this console changes things.
func (p *page) Changes() bool { return !p.v.readOnly() }

// Reads reports whether the visitor may read something.
func (p *page) Reads(scope string) bool { return p.v.may(scope) }

// Admin reports whether the visitor may see the whole mesh.
func (p *page) Admin() bool { return p.v.may("admin") }

// sets are the templates at each depth of a path: links in them are relative.
var sets struct {
	sync.Mutex
	at map[int]*template.Template
}

// templates are those of pages at a depth.
func templates(depth int) *template.Template {
	sets.Lock()
	defer sets.Unlock()
	if t := sets.at[depth]; t != nil {
		return t
	}
	root := rootAt(depth)
	t := template.New("").Funcs(functions).Funcs(template.FuncMap{
		"root":  func() string { return root },
		"asset": func(name string) string { return root + "assets/" + assetName(name) },
	})
	t = template.Must(t.ParseFS(templateFiles, "templates/*.html"))
	if sets.at == nil {
		sets.at = map[int]*template.Template{}
	}
	sets.at[depth] = t
	return t
}

// fill puts what stands around a body into its page.
func (v *visit) fill(p *page) {
	p.v, p.Me, p.ReadOnly, p.Hide = v, v.me, v.readOnly(), v.c.o.HidePayloads
	p.LogsIn = v.c.o.Sealer != nil && v.me != nil
	p.Theme, p.Keys = "system", true
	if c, err := v.r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		p.Theme = c.Value
	}
	if c, err := v.r.Cookie(keysCookie); err == nil && c.Value == "off" {
		p.Keys = false
	}
	q := v.r.URL.Query()
	p.Said = saids[q.Get("said")]
	for _, name := range []string{"said", "live", "begun"} { // of this request, and not of the page
		q.Del(name)
	}
	p.Here = strings.TrimPrefix(v.r.URL.Path, "/")
	if v.r.Method == http.MethodPost { // what was sent is shown again: its page is above
		p.Here = strings.TrimSuffix(strings.TrimSuffix(p.Here, "/change"), "/verify")
	}
	if len(q) > 0 {
		p.Here += "?" + q.Encode()
	}
}

// saids are what forms have done, by the word that the URL says.
var saids = map[string]string{
	"canceled": "The task is canceled.", "answered": "The answer is given. The task goes on.", "retried": "The task runs again, as this new one.",
	"deleted": "It is deleted.", "saved": "It is saved.", "created": "It is made.", "tested": "A test event was sent. It is the newest delivery.",
	"redelivered": "It is sent again.", "paused": "It is paused.", "resumed": "It goes on.", "triggered": "A run was started.", "forked": "This is the fork.",
	"enabled": "Events are sent to it again.", "disabled": "It is disabled: its events are parked.", "done": "Done.", "cleared": "The inbox is empty.",
}

// show writes a page.
func (v *visit) show(p *page) {
	v.fill(p)
	var b bytes.Buffer
	if err := templates(depthOf(v.r.URL.Path)).ExecuteTemplate(&b, p.Screen, p); err != nil {
		v.c.o.Log.Error("a page was not rendered", "screen", p.Screen, "error", err)
		http.Error(v.w, "This page could not be rendered. The log of the gateway says why.", http.StatusInternalServerError)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Accept-Encoding, Cookie")
	body := b.Bytes()
	if !v.secret && len(body) > 1024 && strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = zipped(body)
	}
	if v.status != 0 {
		v.w.WriteHeader(v.status)
	}
	_, _ = v.w.Write(body) // a reader that has gone
}

func zipped(raw []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.DefaultCompression) // a level that there is
	_, _ = z.Write(raw)                                      // to memory
	_ = z.Close()
	return b.Bytes()
}

// region renders one part of a page.
func (v *visit) region(p *page, name string) ([]byte, error) {
	var b bytes.Buffer
	err := templates(depthOf(v.r.URL.Path)).ExecuteTemplate(&b, name, p)
	return b.Bytes(), err
}

// with is a query with one parameter set, or taken out where the value is empty; a
// cursor of another listing goes.
func with(q url.Values, name, value string) string {
	next := url.Values{}
	for k, all := range q {
		if k != "cursor" && k != "said" && k != "live" {
			next[k] = all
		}
	}
	if next.Del(name); value != "" {
		next.Set(name, value)
	}
	return "?" + next.Encode()
}

// pair is a template's arguments, where it takes two.
func pair(a, b any) map[string]any { return map[string]any{"A": a, "B": b} }

// class makes a word of a value that a style sheet can name.
func class(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
}

// icon draws one of the symbols that every page has.
func icon(name string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="icon" aria-hidden="true"><use href="#i-%s"></use></svg>`, class(name))) //nolint:gosec // class leaves letters, digits and -
}

package console

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/pause"
)

var (
	inBrowser = flag.Bool("browser", false, "run the stories in a browser (make console-test)")
	shotsInto = flag.String("shots", "", "write pictures of all screens into this folder (make console-shots)")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if (*inBrowser || *shotsInto != "") && chrome() == "" {
		fmt.Fprintln(os.Stderr, "console: there is no browser here (CHROME, chromium-headless-shell, chromium or google-chrome), so its stories, axe-core, the walk by keys and pictures are LEFT OUT; the other tests run")
	}
	meshtest.Main(m)
}

// prefix is where the console is below, in a browser: nothing in it may know.
const prefix = "/a/b"

// some are the pages that are looked at: all of them, or every so many of the short form.
func some(pages []string) []string {
	if !testing.Short() {
		return pages
	}
	var few []string
	for i := 0; i < len(pages); i += 9 {
		few = append(few, pages[i])
	}
	return few
}

// chrome finds a browser.
func chrome() string {
	if named := os.Getenv("CHROME"); named != "" {
		return named
	}
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if at, err := exec.LookPath(name); err == nil {
			return at
		}
	}
	return ""
}

// tab is a page in a browser. What goes wrong in it is gathered all the while.
type browserTab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string
	allows []string // faults that the test makes itself
}

// open opens a browser on a server; the test is skipped where there is none.
func openBrowser(t *testing.T, h http.Handler) *browserTab {
	t.Helper()
	return openBrowserBelow(t, prefix, h)
}

func openBrowserBelow(t *testing.T, prefix string, h http.Handler) *browserTab {
	t.Helper()
	if !*inBrowser && *shotsInto == "" {
		t.Skip("stories in a browser are run by: make console-test")
	}
	at := chrome()
	if at == "" {
		t.Skip("there is no browser here: set CHROME, or install chromium-headless-shell")
	}
	srv := httptest.NewServer(http.StripPrefix(prefix, h))
	t.Cleanup(srv.Close)
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(at), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &browserTab{t: t, ctx: ctx, base: srv.URL + prefix + Path + "/"}
	b.do(chromedp.Navigate("about:blank"))
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.quiet)
	return b
}

// hear gathers what a console of a browser would show as an error.
func (b *browserTab) hear(ev any) {
	fault := ""
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		fault = ev.ExceptionDetails.Text
		if ev.ExceptionDetails.Exception != nil {
			fault += " " + ev.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" {
			fault = "console: "
			for _, a := range ev.Args {
				fault += string(a.Value) + a.Description + " "
			}
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == "error" {
			fault = ev.Entry.Text + " " + ev.Entry.URL
		}
	}
	if fault != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fault)
	}
}

// quiet fails a story in which something went wrong that it does not tell of.
func (b *browserTab) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		if !slices.ContainsFunc(b.allows, func(a string) bool { return strings.Contains(f, a) }) {
			b.t.Errorf("the browser says: %s", f)
		}
	}
}

func (b *browserTab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text("body"))
	}
}

// visit opens a page of the console.
func (b *browserTab) visit(page string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+page), chromedp.WaitVisible("#main"))
}

// js evaluates an expression.
func js[T any](b *browserTab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true, on whatever page that comes meanwhile.
func (b *browserTab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	for {
		if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			b.t.Fatalf("never: %s\n%s: %s", expression, js[string](b, "location.href"), b.text("body"))
		}
	}
}

func (b *browserTab) text(of string) string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("(document.querySelector(%q)?.innerText || '').slice(0, 1500)", of)))
	return text
}

func (b *browserTab) says(of, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(document.querySelector(%q)?.innerText || '').includes(%q)", of, text))
}

func (b *browserTab) dark(on bool) {
	b.t.Helper()
	value := "light"
	if on {
		value = "dark"
	}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}}}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browserTab) size(w, h int64) { b.t.Helper(); b.do(chromedp.EmulateViewport(w, h)) }

// shownPages are the pages that are looked at: those of allPages, and an empty mesh.
func shownPages() []string {
	return slices.DeleteFunc(allPages(), func(p string) bool { return p == "nowhere" })
}

// Every screen holds on a phone, and at 320 pixels, with long words in it.
func TestNoScreenScrollsSidewaysOnAPhone(t *testing.T) {
	b := openBrowser(t, newFake(t, &fakeAPI{n: 12, say: func(i int) string {
		return []string{plain(i), strings.Repeat("Donaudampfschifffahrtsgesellschaft", 6), "a/very/long/path" + strings.Repeat("/segment", 30)}[i%3]
	}}, nil))
	for _, w := range []int64{390, 320} {
		b.size(w, 844)
		for _, p := range some(shownPages()) {
			b.visit(p)
			if wide := js[int](b, "document.documentElement.scrollWidth"); wide > int(w) {
				who := js[string](b, `[...document.querySelectorAll('#main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.table,.payload,.map,.cmd,pre,svg')).slice(0, 3).map(e => e.tagName + '.' + e.className + ' ' + (e.textContent || '').slice(0, 40)).join(' | ')`)
				t.Errorf("%q is %d wide at %d: %s", p, wide, w, who)
			}
		}
	}
}

// axe-core finds no fault of WCAG 2.2 AA in any screen, in both themes.
func TestEveryScreenIsAccessible(t *testing.T) {
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	many, none := newFake(t, &fakeAPI{n: 12}, nil), newFake(t, &fakeAPI{}, nil)
	for name, c := range map[string]*Console{"many": many, "empty": none} {
		b := openBrowser(t, c)
		for _, dark := range []bool{false, true} {
			b.dark(dark)
			for _, p := range some(shownPages()) {
				if name == "empty" && strings.Contains(p, "_0") || name == "empty" && (strings.HasPrefix(p, "agents/") || strings.HasPrefix(p, "playground/")) {
					continue
				}
				accessible(b, axe, name, p)
			}
		}
	}
	b := openBrowser(t, atIssuer(t))
	b.allows = []string{"401"}
	for _, p := range []string{"login", "signed-in?state=x"} {
		accessible(b, axe, "login", p)
	}
}

// accessible opens a page and asks axe-core for its faults.
func accessible(b *browserTab, axe []byte, name, p string) {
	b.t.Helper()
	b.visit(p)
	b.do(func(ctx context.Context, tg *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[bool](string(axe)+"; true")(ctx, tg)
		return chromedp.Void{}, err
	})
	found := js[[]string](b, `axe.run(document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa']}).then(r => r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message || n.all[0]?.message || n.failureSummary || '').slice(0, 160)).join(' | ')))`)
	for _, f := range found {
		b.t.Errorf("%s, %q, dark %v: %s", name, p, js[bool](b, "matchMedia('(prefers-color-scheme: dark)').matches"), f)
	}
}

// A login ends when its key does, also on a page that is open.
func TestAPageThatIsOpenLearnsThatItsKeyWasRevoked(t *testing.T) {
	k, c := withLogin(t)
	b := openBrowser(t, c)
	b.allows = []string{"401"}
	b.visit("tasks")
	b.until("location.pathname.endsWith('/login')")
	b.do(chromedp.SendKeys("#key", k.key.Reveal()), chromedp.Click("main button.btn.main"))
	b.until("location.pathname.endsWith('/console/tasks') && !!document.querySelector('#lamp[data-state=live]')")
	k.end(true)
	b.until("location.pathname.endsWith('/login')")
	k.end(false)
	b.visit("tasks?status=failed")
	js[bool](b, "document.querySelector('form[action$=logout]').requestSubmit(), true")
	b.until("location.pathname.endsWith('/login')")
}

// A stream whose first connection is refused heals, and one that is cut goes on.
func TestAStreamThatIsRefusedOrCutHeals(t *testing.T) {
	f := &fakeAPI{n: 3}
	c := newFake(t, f, nil)
	var mu sync.Mutex
	refuse, cut := 2, func() {}
	b := openBrowser(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wantsStream(r) {
			mu.Lock()
			if refuse > 0 {
				refuse--
				mu.Unlock()
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			ctx, end := context.WithCancel(r.Context())
			cut = end
			mu.Unlock()
			r = r.WithContext(ctx)
		}
		c.ServeHTTP(w, r)
	}))
	b.allows = []string{"503", "net::ERR"}
	b.visit("tasks")
	b.until("document.querySelector('#lamp')?.dataset.state === 'live'")
	mu.Lock()
	cut()
	mu.Unlock()
	f.more(40)
	b.until("document.querySelectorAll('#tasks-rows tbody tr').length === 40")
	if ids := js[int](b, "new Set([...document.querySelectorAll('#tasks-rows tbody tr')].map(r => r.id)).size"); ids != 40 {
		t.Errorf("%d rows of 40 are their own", ids)
	}
}

// Pictures of all screens, for a person to look at.
func TestShots(t *testing.T) {
	if *shotsInto == "" {
		t.Skip("pictures are made by: make console-shots")
	}
	full, none := newFake(t, &fakeAPI{n: 12, subject: "ada@example.com"}, nil), newFake(t, &fakeAPI{}, nil)
	b := openBrowser(t, full)
	shoot := func(name string) {
		t.Helper()
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*shotsInto, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.size(1200, 760)
	b.dark(false)
	for name, p := range map[string]string{"overview": "", "task": "tasks/" + fakeID("tsk", 0)} { // those of the README
		b.visit(p)
		b.until("document.querySelector('#lamp')?.dataset.state === 'live'")
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*shotsInto, "readme-"+name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := shownPages()
	for _, look := range []struct {
		name string
		w, h int64
		dark bool
	}{{"light", 1360, 850, false}, {"dark", 1360, 850, true}, {"phone", 390, 844, false}} {
		b.size(look.w, look.h)
		b.dark(look.dark)
		for _, p := range all {
			b.visit(p)
			shoot(look.name + "-" + pictureOf(p))
		}
	}
	b.size(1360, 850)
	for _, p := range []string{"hooks", "schedules", "webhooks"} { // their forms
		b.visit(p)
		b.do(chromedp.Click("#main details.more > summary"))
		shoot("form-" + pictureOf(p))
	}
	b = openBrowser(t, newFake(t, &fakeAPI{n: 10_000, subject: "ada@example.com", say: func(i int) string {
		return []string{plain(i), strings.Repeat("Donaudampfschifffahrtsgesellschaft", 6), "a/very/long/path" + strings.Repeat("/segment", 30)}[i%3]
	}}, nil))
	b.size(1360, 850)
	for _, p := range []string{"", "tasks", "tasks/" + fakeID("tsk", 0), "agents", "workers", "schedules", "hooks", "webhooks", "deliveries", "sessions"} {
		b.visit(p)
		shoot("many-" + pictureOf(p))
	}
	b = openBrowser(t, atIssuer(t))
	b.size(1360, 850)
	b.visit("login")
	shoot("light-login")
	b = openBrowser(t, none)
	b.size(1360, 850)
	for _, p := range []string{"", "tasks", "sessions", "agents", "webhooks", "deliveries", "dead", "schedules", "hooks", "workers", "budgets", "inbox", "playground"} {
		b.visit(p)
		shoot("empty-" + pictureOf(p))
	}
}

// pictureOf is the name of a page's picture.
func pictureOf(page string) string {
	if page == "" {
		return "overview"
	}
	return strings.Trim(class(strings.NewReplacer("00000000000000000000000001a21", "").Replace(page)), "-")
}

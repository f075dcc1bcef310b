package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
	"agentmesh/shared/keyring"
	"agentmesh/shared/secret"
)

// The files of others are those that were looked at, byte for byte.
func TestVendoredFilesAreThoseOfSHA256SUMS(t *testing.T) {
	list, err := os.ReadFile("SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		known[name] = true
		raw, err := assetFiles.ReadFile(name)
		if err != nil {
			raw, err = os.ReadFile(name) // for tests only, not embedded
		}
		got := sha256.Sum256(raw)
		if err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s: %x, %v; want %s", name, got, err, sum)
		}
	}
	for base, name := range map[string]string{"htmx.min.js": "assets/vendor/htmx.min.js", "hx-sse.min.js": "assets/vendor/ext/hx-sse.min.js", "uPlot.iife.min.js": "assets/vendor/uPlot.iife.min.js", "uPlot.min.css": "assets/vendor/uPlot.min.css"} {
		if !known[name] || assetName(base) == "" {
			t.Errorf("%s is not among them, or not served", name)
		}
	}
	for _, licence := range []string{"assets/vendor/licenses/htmx.txt", "assets/vendor/licenses/uPlot.txt", "testdata/axe.LICENSE.txt"} {
		if _, err := os.Stat(licence); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryAnswerSaysWhatABrowserMayDo(t *testing.T) {
	c := newFake(t, &fakeAPI{n: 1}, nil)
	for _, p := range []string{"/console", "/console/", "/console/tasks", "/console/nowhere", "/console/assets/nothing.js", "/console/assets/" + assetName("keys.js")} {
		w := get(c, p)
		h := w.Header()
		if h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" {
			t.Errorf("%s: %v", p, h)
		}
		want := "no-store"
		if path.Base(p) == assetName("keys.js") {
			want = "public, max-age=31536000, immutable"
		}
		if h.Get("Cache-Control") != want {
			t.Errorf("%s may be kept: %q", p, h.Get("Cache-Control"))
		}
	}
}

// Pages of other sites change nothing, also not those of the same host on another port.
func TestOtherSitesChangeNothing(t *testing.T) {
	f := &fakeAPI{n: 1}
	c := newFake(t, f, func(o *Options) { o.Origins = []string{"https://mesh.example.com"} })
	const cancel = "/console/tasks/tsk_1/cancel"
	for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "http://127.0.0.1:9"}, {"Origin", "null"}} {
		f.asked = nil
		if w := ask(c, http.MethodPost, cancel, "x=1", from...); w.Code != http.StatusForbidden || len(f.asked) > 0 {
			t.Errorf("%v: %d, the API was asked %v", from, w.Code, f.asked)
		}
	}
	for _, from := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://127.0.0.1:8080"}, {"Origin", "https://mesh.example.com"}} {
		if w := ask(c, http.MethodPost, cancel, "x=1", from...); w.Code != http.StatusSeeOther {
			t.Errorf("%v: %d", from, w.Code)
		}
	}
}

func TestAReadOnlyConsoleChangesNothing(t *testing.T) {
	f := &fakeAPI{n: 3}
	c := newFake(t, f, func(o *Options) { o.Console = ReadOnly })
	for p := range actions() { // the inbox is not asked either
		f.asked = nil
		p = strings.ReplaceAll(p, "{id}", "x")
		if w := ask(c, http.MethodPost, "/console"+p, "x=1"); w.Code != http.StatusForbidden || len(f.asked) > 1 {
			t.Errorf("%s: %d, the API was asked %v", p, w.Code, f.asked)
		}
	}
	for _, page := range allPages() {
		if body := get(c, "/console/"+page).Body.String(); strings.Contains(body, "/cancel\"") || strings.Contains(body, "value=\"run\"") || strings.Contains(body, "/redeliver\"") {
			t.Errorf("%s offers to change something", page)
		}
	}
}

// keyAPI knows one key, as a gateway does.
type keyAPI struct {
	fakeAPI
	key   auth.Key
	state sync.Mutex
	ends  bool // it was revoked
}

func (k *keyAPI) end(yes bool) {
	k.state.Lock()
	defer k.state.Unlock()
	k.ends = yes
}

func (k *keyAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	shown, _ := auth.Carried(r.Context())
	ok := shown.Bearer == k.key.Reveal() || shown.Kept != nil && shown.Kept.ID == k.key.ID() && k.key.Matches(shown.Kept.Hash)
	k.state.Lock()
	ends := k.ends
	k.state.Unlock()
	if !ok || ends {
		writeJSON(w, 401, api.Problem{Title: "Who asks?", Status: 401, Code: "unauthenticated"})
		return
	}
	k.fakeAPI.ServeHTTP(w, r)
}

func withLogin(t *testing.T) (*keyAPI, *Console) {
	t.Helper()
	k := &keyAPI{fakeAPI: fakeAPI{n: 2, auth: "keys", say: plain}, key: auth.NewKey()}
	keeper, err := secret.New(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.New("http://api.internal", client.WithHTTPClient(&http.Client{Transport: Inside(k)}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Config: Default(), API: a, Sealer: keyring.New(keeper)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return k, c
}

// cookieOf is the login that an answer sets, as a browser sends it.
func cookieOf(t *testing.T, h http.Header) (text string, c *http.Cookie) {
	t.Helper()
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Name == loginCookie {
			return c.Name + "=" + c.Value, c
		}
	}
	t.Fatalf("no login is kept: %v", h)
	return "", nil
}

// The whole life of a login: to the form, in, and out when the key is revoked.
func TestALoginLastsAsLongAsItsKey(t *testing.T) {
	k, c := withLogin(t)
	if w := get(c, "/console/tasks?status=failed"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./login?next=tasks%3Fstatus%3Dfailed" {
		t.Fatalf("a stranger: %d, %s", w.Code, w.Header().Get("Location"))
	}
	if w := ask(c, http.MethodPost, "/console/login", "key="+auth.NewKey().Reveal()); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) > 0 {
		t.Errorf("another key: %d", w.Code)
	}
	w := ask(c, http.MethodPost, "/console/login", "next=tasks%3Fstatus%3Dfailed&key="+k.key.Reveal())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./tasks?status=failed" {
		t.Fatalf("the key: %d, %s", w.Code, w.Header().Get("Location"))
	}
	text, cookie := cookieOf(t, w.Header())
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "" || cookie.MaxAge != int(loginFor/time.Second) {
		t.Errorf("the cookie: %+v", cookie)
	}
	if strings.Contains(text, k.key.ID()) || strings.Contains(w.Body.String(), k.key.Reveal()) {
		t.Error("the key is to be seen")
	}
	if w := get(c, "/console/tasks", "Cookie", text); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Log out") {
		t.Errorf("logged in: %d", w.Code)
	}
	broken := text[:len(text)-4] + "AAAA"
	if w := get(c, "/console/tasks", "Cookie", broken); w.Code != http.StatusSeeOther {
		t.Errorf("a cookie that was changed: %d", w.Code)
	}
	k.end(true)
	if w := get(c, "/console/tasks", "Cookie", text); w.Code != http.StatusSeeOther {
		t.Errorf("a key that was revoked: %d", w.Code)
	}
	if w := get(c, "/console/tasks?live=1", "Cookie", text); w.Code != http.StatusUnauthorized {
		t.Errorf("its stream: %d, a browser must learn that it is over", w.Code)
	}
	k.end(false)
	c.now = func() time.Time { return time.Now().Add(loginFor + time.Minute) }
	if w := get(c, "/console/tasks", "Cookie", text); w.Code != http.StatusSeeOther {
		t.Errorf("after its time: %d", w.Code)
	}
	c.now = time.Now
	if w := ask(c, http.MethodPost, "/console/logout", "", "Cookie", text); w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d, %v", w.Code, w.Result().Cookies())
	}
}

func TestTheCookieIsSecureButOnLoopback(t *testing.T) {
	k, c := withLogin(t)
	for host, want := range map[string]bool{"127.0.0.1:8080": false, "localhost": false, "[::1]:1": false, "mesh.example.com": true, "192.168.0.5:8080": true} {
		r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, "/console/login", strings.NewReader("key="+k.key.Reveal()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Host = host
		v := &visit{c: c, r: r}
		if got := secure(v.r) || !loopback(v.r.Host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// After a login and after a change of the theme a browser stays in the console.
func TestNextPagesAreThoseOfTheConsole(t *testing.T) {
	for to, want := range map[string]string{
		"tasks": "tasks", "tasks/tsk_1?tab=input": "tasks/tsk_1?tab=input", "tasks?status=failed": "tasks?status=failed", "": "",
		"//evil.example": "", "https://evil.example": "", "/etc": "", "../../admin": "", "tasks/../../x": "", "javascript:alert(1)": "", `tasks\..\x`: "", "tasks\r\nX: y": "",
	} {
		if got := nextPage(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

// The answer of a stream has no line break that ends a line early, whatever was said.
func TestAStreamCarriesAnyText(t *testing.T) {
	w := &recorder{header: http.Header{}}
	s := newStream(w)
	if err := s.send("", "7", []byte("<p>a\rdata: x\r\nevent: close\nb</p>")); err != nil {
		t.Fatal(err)
	}
	if got := w.text.String(); got != "id: 7\ndata: <p>a&#13;data: x&#13;\ndata: event: close\ndata: b</p>\n\n" {
		t.Errorf("%q", got)
	}
}

type recorder struct {
	header http.Header
	text   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(b []byte) (int, error) { return r.text.Write(b) }
func (r *recorder) Flush()                      {}

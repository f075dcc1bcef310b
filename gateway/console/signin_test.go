package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth/oidc"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// idp is an OpenID Connect issuer at which a person signs in by a click.
type idp struct {
	url string
	key *ecdsa.PrivateKey

	mu    sync.Mutex
	codes map[string]url.Values // what each was given for
}

func (i *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		writeJSON(w, 200, map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token"})
	case "/keys":
		writeJSON(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Use: "sig"}}})
	case "/authorize":
		code := rand.Text()
		i.codes[code] = r.URL.Query()
		w.Header().Set("Content-Type", "text/html")
		back := r.URL.Query().Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {r.URL.Query().Get("state")}}.Encode()
		_, _ = w.Write([]byte(`<!doctype html><title>Issuer</title><a id="yes" href="` + strings.ReplaceAll(back, "&", "&amp;") + `">Yes, it is me</a>`))
	case "/token":
		_ = r.ParseForm()
		given, sum := i.codes[r.PostForm.Get("code")], sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		delete(i.codes, r.PostForm.Get("code"))
		if given.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			writeJSON(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		writeJSON(w, 200, map[string]any{"access_token": i.sign("agentmesh", ""), "id_token": i.sign("console", given.Get("nonce"))})
	default:
		http.NotFound(w, r)
	}
}

func (i *idp) sign(audience, nonce string) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k"}}, nil)
	if err != nil {
		panic(err)
	}
	raw, _ := json.Marshal(map[string]any{"iss": i.url, "aud": audience, "sub": "ada", "tenant": "acme", "scope": "tasks:read agents:read", "exp": time.Now().Add(time.Hour).Unix(), "nonce": nonce})
	jws, err := s.Sign(raw)
	if err != nil {
		panic(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

// atIssuer is a console on a gateway that asks an issuer who calls.
func atIssuer(t *testing.T) *Console {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &idp{key: key, codes: map[string]url.Values{}}
	srv := httptest.NewServer(i)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	cfg := oidc.Default()
	cfg.Issuer, cfg.Audience, cfg.ClientID = i.url, "agentmesh", "console"
	who, err := oidc.New(cfg, oidc.Options{Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m := meshtest.New(t)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	running.Go(func() { _ = who.Run(t.Context()) })
	m.Ask(who)
	api, err := client.New("http://api.internal", client.WithHTTPClient(&http.Client{Transport: Inside(m.Gateway.Handler())}))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Config: Default(), API: api, Sealer: m.Keys}
	o.SignIn = who
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	natstest.Until(t, "the issuer is known", func() bool { _, _, err := who.Begin("http://x/"); return err == nil })
	return c
}

// A person signs in at the issuer, and is led to the page that was asked for; nobody does
// with what another browser has begun, nor twice.
func TestAPersonSignsInAtTheIssuer(t *testing.T) {
	c := atIssuer(t)
	form := get(c, "/console/login?next=tasks%3Fstatus%3Dfailed").Body.String()
	if !strings.Contains(form, `href="./signin?next=tasks%3fstatus%3dfailed"`) {
		t.Fatalf("the login does not lead there: %.1500s", form[strings.Index(form, "Log in"):])
	}
	w := get(c, "/console/signin?next=tasks%3Fstatus%3Dfailed")
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther || to.Query().Get("redirect_uri") != "http://127.0.0.1:8080/console/signed-in" {
		t.Fatalf("%d %s", w.Code, w.Header().Get("Location"))
	}
	cookie := w.Result().Cookies()[0]
	if cookie.Name != signInCookie || cookie.SameSite != http.SameSiteLaxMode || !cookie.HttpOnly || cookie.MaxAge != 600 || strings.Contains(cookie.Value, to.Query().Get("state")) {
		t.Errorf("the sign-in is kept as %+v", cookie)
	}
	code := func() string {
		resp, err := http.Get(to.String()) //nolint:noctx // of the test's issuer
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		page := make([]byte, 4096)
		n, _ := resp.Body.Read(page)
		_, rest, _ := strings.Cut(string(page[:n]), "code=")
		text, _, _ := strings.Cut(rest, "&")
		return text
	}
	kept := cookie.Name + "=" + cookie.Value
	swapped := httptest.NewRequest(http.MethodGet, "/console/", nil)
	swapped.AddCookie(&http.Cookie{Name: loginCookie, Value: cookie.Value})
	if k, ok := c.openLogin(swapped); ok {
		t.Errorf("what is kept of a sign-in counts as a login: %+v", k)
	}
	back := "/console/signed-in?state=" + to.Query().Get("state") + "&code="
	for name, w := range map[string]*httptest.ResponseRecorder{
		"another browser": get(c, back+code()), "another state": get(c, "/console/signed-in?state=x&code="+code(), "Cookie", kept), "no code of the issuer": get(c, back+"x", "Cookie", kept),
	} {
		if w.Code != http.StatusUnauthorized || strings.Contains(w.Header().Get("Set-Cookie"), loginCookie) || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	once := code()
	w = get(c, back+once, "Cookie", kept)
	if w.Code != http.StatusOK || w.Header().Get("Refresh") != "0; url=./tasks?status=failed" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	login, keptLogin := cookieOf(t, w.Header())
	if keptLogin.SameSite != http.SameSiteStrictMode || keptLogin.MaxAge != int(loginFor/time.Second) {
		t.Errorf("the login is kept as %+v", keptLogin)
	}
	if page := get(c, "/console/tasks", "Cookie", login); page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "tenant acme") || !strings.Contains(page.Body.String(), ">ada<") {
		t.Errorf("logged in: %d", page.Code)
	}
	if w := get(c, back+once, "Cookie", kept); w.Code != http.StatusUnauthorized {
		t.Errorf("a code that was used: %d", w.Code)
	}
	c.now = func() time.Time { return time.Now().Add(11 * time.Minute) }
	if w := get(c, back+code(), "Cookie", kept); w.Code != http.StatusUnauthorized {
		t.Errorf("a sign-in that began long ago: %d", w.Code)
	}
	none := newFake(t, &fakeAPI{n: 1}, nil)
	if w := get(none, "/console/signin"); w.Code != http.StatusNotFound {
		t.Errorf("without an issuer: %d", w.Code)
	}
}

// The same in a browser, for which the issuer is another site.
func TestAPersonSignsInInABrowser(t *testing.T) {
	if !*inBrowser {
		t.Skip("stories in a browser are run by: make console-test")
	}
	b := openBrowserBelow(t, "", atIssuer(t)) // behind a prefix --public-url says where it comes back to
	b.allows = []string{"401"}
	b.base = strings.Replace(b.base, "127.0.0.1", "localhost", 1)
	b.visit("tasks?status=failed")
	b.until("location.pathname.endsWith('/login') && document.readyState === 'complete'")
	js[bool](b, "document.querySelector('a[href*=signin]').click(), true")
	b.until("document.title === 'Issuer' && location.hostname === '127.0.0.1'")
	js[bool](b, "document.getElementById('yes').click(), true")
	b.until("location.hostname === 'localhost' && location.pathname.endsWith('/tasks') && location.search === '?status=failed'")
	b.says(".who", "ada")
}

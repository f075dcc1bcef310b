package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
)

// kept is what a browser keeps of a login, sealed: of an API key its id and the hash of
// its secret, so that each request is checked as if the key were shown; of a token
// who it was for.
type kept struct {
	KeyID   string       `json:"k,omitempty"`
	KeyHash string       `json:"h,omitempty"`
	Tenant  string       `json:"t,omitempty"`
	Subject string       `json:"s,omitempty"`
	Scopes  []auth.Scope `json:"sc,omitempty"`
	Until   time.Time    `json:"e"`
}

// into puts a login into what a request shows.
func (k kept) into(c *auth.Credentials) {
	if k.KeyID != "" {
		c.Kept = &auth.KeptKey{ID: k.KeyID, Hash: k.KeyHash}
		return
	}
	c.Vouched = &auth.Caller{Tenant: k.Tenant, Subject: k.Subject, Scopes: k.Scopes}
}

const (
	loginCookie = "mesh_console"
	themeCookie = "mesh_theme"
	keysCookie  = "mesh_keys"
	loginFor    = 12 * time.Hour
	prefsFor    = 365 * 24 * time.Hour
)

// openLogin reads the login of a request.
func (c *Console) openLogin(r *http.Request) (k kept, ok bool) {
	cookie, err := r.Cookie(loginCookie)
	if err != nil {
		return k, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return k, false
	}
	plain, err := c.o.Sealer.OpenLogin(sealed)
	if err != nil || json.Unmarshal(plain, &k) != nil || !c.now().Before(k.Until) {
		return kept{}, false
	}
	return k, true
}

// loginForm is what the page of the login shows.
type loginForm struct {
	Next   string
	Fault  string
	SignIn bool // people may sign in at an issuer
	Plain  bool // the page came over plain http from elsewhere: the browser will not keep a login
	Locked bool
}

func loginPage(v *visit) error {
	return v.showLogin(loginForm{Next: v.q("next")})
}

func (v *visit) showLogin(f loginForm) error {
	if v.c.o.Sealer == nil {
		redirect(v.w, v.root())
		return nil
	}
	f.SignIn = v.c.o.SignIn != nil
	f.Plain = !secure(v.r) && !loopback(v.r.Host)
	v.show(&page{Screen: "login", Title: "Log in", Body: f})
	return nil
}

// login checks a key, or a token, by asking the API who it is for.
func login(v *visit) error {
	f := loginForm{Next: v.form("next")}
	secret := v.form("key")
	if v.c.o.Sealer == nil || secret == "" {
		f.Fault = "Paste an API key."
		v.status = http.StatusUnprocessableEntity
		return v.showLogin(f)
	}
	shown := v.c.credentials(v.r)
	shown.Kept, shown.Vouched, shown.Bearer = nil, nil, secret
	me, err := v.api.WhoAmI(auth.Carry(v.ctx(), shown))
	var p *client.Problem
	if errors.As(err, &p) {
		f.Fault, v.status = "This key is not known here: it has a typo, has expired or was revoked. An admin makes one with: mesh keys create", p.Status
		if p.Status != http.StatusUnauthorized {
			f.Fault = p.Title + ". " + p.Detail
		}
		return v.showLogin(f)
	}
	if err != nil {
		return err
	}
	v.loggedIn(secret, me)
	redirect(v.w, v.root()+nextPage(f.Next))
	return nil
}

// loggedIn has the browser keep a login.
func (v *visit) loggedIn(secret string, me *client.WhoAmI) {
	v.setCookie(loginCookie, v.c.seal(keep(secret, me, v.now())), loginFor, true)
}

// keep is what is kept of credentials that the API knows.
func keep(secret string, me *client.WhoAmI, now time.Time) kept {
	k := kept{Until: now.Add(loginFor)}
	if key, err := auth.ParseKey(secret); err == nil {
		k.KeyID, k.KeyHash = key.ID(), key.Hash()
		return k
	}
	k.Tenant, k.Subject = me.Tenant, me.Subject
	for _, s := range me.Scopes {
		k.Scopes = append(k.Scopes, auth.Scope(s))
	}
	if ends := tokenEnds(secret); !ends.IsZero() && ends.Before(k.Until) {
		k.Until = ends
	}
	return k
}

// tokenEnds is when a token that was verified says that it ends.
func tokenEnds(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Exp == 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

func (c *Console) seal(k kept) string {
	plain, _ := json.Marshal(k) // of texts and a time
	return base64.RawURLEncoding.EncodeToString(c.o.Sealer.SealLogin(plain))
}

func logout(v *visit) error {
	v.setCookie(loginCookie, "", -1, true)
	redirect(v.w, v.root()+"login")
	return nil
}

// setTheme keeps how the pages look.
func setTheme(v *visit) error {
	theme := v.form("theme")
	if theme != "light" && theme != "dark" {
		theme = "system"
	}
	v.setCookie(themeCookie, theme, prefsFor, false)
	redirect(v.w, v.root()+nextPage(v.form("next")))
	return nil
}

// setKeys keeps whether single keys do something (WCAG 2.1.4).
func setKeys(v *visit) error {
	value := "off"
	if v.form("keys") == "on" {
		value = "on"
	}
	v.setCookie(keysCookie, value, prefsFor, false)
	redirect(v.w, v.root()+nextPage(v.form("next")))
	return nil
}

// setCookie sets a cookie without a path: a browser takes that of the console, whatever
// is in front of it. A lifetime below 0 deletes it.
func (v *visit) setCookie(name, value string, life time.Duration, login bool) {
	c := &http.Cookie{Name: name, Value: value, MaxAge: int(life / time.Second), SameSite: http.SameSiteStrictMode, HttpOnly: true, Secure: secure(v.r) || !loopback(v.r.Host)}
	if life < 0 {
		c.MaxAge = -1
	}
	if !login { // a preference is no secret, and is kept over plain http, too
		c.Secure = secure(v.r)
	}
	http.SetCookie(v.w, c)
}

// secure reports whether a request came over TLS, here or at a proxy.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

var pageName = regexp.MustCompile(`^[a-z][a-zA-Z0-9/_.-]*(\?.*)?$`)

// nextPage is a page of this console, the first one for anything else.
func nextPage(to string) string {
	if !pageName.MatchString(to) || strings.Contains(to, "..") || strings.ContainsAny(to, "\\\r\n") || len(to) > 2048 {
		return ""
	}
	return to
}

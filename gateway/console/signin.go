package console

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
)

// signInCookie keeps a sign-in until the browser comes back. The way back begins at
// another site, so it is Lax; a login is Strict, and never comes along with such a request.
const (
	signInCookie = "mesh_signin"
	signInFor    = 10 * time.Minute
	signInMark   = "sign-in " // begins what is sealed: neither cookie counts as the other
)

// begun is what a browser keeps, sealed, while somebody signs in elsewhere.
type begun struct {
	Kept  []byte    `json:"k"`
	Next  string    `json:"n"`
	Until time.Time `json:"e"`
}

// signIn leads a browser to the issuer. It is no form: a page may send those only to
// itself.
func signIn(v *visit) error {
	if v.c.o.SignIn == nil || v.c.o.Sealer == nil {
		return errNoPage
	}
	to, kept, err := v.c.o.SignIn.Begin(v.base() + Path + "/signed-in")
	if err != nil {
		return signInFailed(v, err, v.q("next"))
	}
	raw, err := json.Marshal(begun{kept, nextPage(v.q("next")), v.now().Add(signInFor)})
	if err != nil {
		return err
	}
	keepSignIn(v, base64.RawURLEncoding.EncodeToString(v.c.o.Sealer.SealLogin(append([]byte(signInMark), raw...))), signInFor)
	redirect(v.w, to)
	return nil
}

// keepSignIn sets that cookie, or deletes it.
func keepSignIn(v *visit, value string, life time.Duration) {
	http.SetCookie(v.w, &http.Cookie{Name: signInCookie, Value: value, MaxAge: max(-1, int(life/time.Second)), SameSite: http.SameSiteLaxMode, HttpOnly: true, Secure: secure(v.r) || !loopback(v.r.Host)})
}

// signedIn takes a browser back. The login that it keeps from now on is sent with requests
// of the console's own pages only, so that the page goes on by itself.
func signedIn(v *visit) error {
	if v.c.o.SignIn == nil || v.c.o.Sealer == nil {
		return errNoPage
	}
	b := begunIn(v)
	keepSignIn(v, "", -time.Second)
	tokens, err := v.c.o.SignIn.Finish(v.ctx(), b.Kept, v.r.URL.Query())
	if err != nil {
		return signInFailed(v, err, b.Next)
	}
	for _, token := range tokens {
		shown := v.c.credentials(v.r)
		shown.Kept, shown.Vouched, shown.Bearer = nil, nil, token
		var me *client.WhoAmI
		if me, err = v.api.WhoAmI(auth.Carry(v.ctx(), shown)); err == nil {
			v.loggedIn(token, me)
			v.w.Header().Set("Refresh", "0; url="+v.root()+b.Next)
			v.show(&page{Screen: "signed-in", Title: "Logged in", Body: b.Next})
			return nil
		}
	}
	return signInFailed(v, err, b.Next)
}

// begunIn is what the browser has kept of a sign-in; empty: nothing that counts.
func begunIn(v *visit) (b begun) {
	cookie, err := v.r.Cookie(signInCookie)
	if err != nil {
		return b
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return b
	}
	opened, err := v.c.o.Sealer.OpenLogin(sealed)
	raw, marked := strings.CutPrefix(string(opened), signInMark)
	if err != nil || !marked || json.Unmarshal([]byte(raw), &b) != nil || !v.now().Before(b.Until) {
		return begun{}
	}
	return b
}

// signInFailed shows the login again, and says why.
func signInFailed(v *visit, err error, next string) error {
	v.c.o.Log.Info("a sign-in at the issuer failed", "error", err)
	f := loginForm{Next: nextPage(next), Fault: "The issuer did not say who you are, or it says so for somebody whom the mesh does not know. Try again; the log of the gateway has the reason."}
	v.status = http.StatusUnauthorized
	var refusal *client.Problem
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		f.Fault, v.status = "The issuer does not answer. Try again in a moment, or log in with an API key.", http.StatusBadGateway
	case errors.As(err, &refusal) && refusal.Status != http.StatusUnauthorized:
		f.Fault, v.status = refusal.Title+". "+refusal.Detail, refusal.Status
	}
	return v.showLogin(f)
}

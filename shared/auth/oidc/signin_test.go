package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"agentmesh/shared/auth"
	"agentmesh/shared/auth/oidc"
	"agentmesh/shared/natstest"
)

const comesBack = "https://mesh.example.com/console/signed-in"

// signsIn is an issuer at which people sign in, and what begins there.
func signsIn(t *testing.T) (*issuer, *oidc.Authenticator) {
	t.Helper()
	i := newIssuer()
	srv := httptest.NewServer(i)
	t.Cleanup(srv.Close)
	i.url = srv.URL
	cfg := configOf(i)
	cfg.ClientID, cfg.LoginScope = "console", "openid mesh"
	a := run(t, cfg, oidc.Options{ClientSecret: "s3:cret"})
	natstest.Until(t, "the issuer is known", func() bool { _, _, err := a.Begin(comesBack); return err == nil })
	return i, a
}

// A person who comes back with a code is known by the tokens that it is exchanged for,
// and the exchange shows what only this sign-in knows.
func TestASignInByACodeGivesTokens(t *testing.T) {
	i, a := signsIn(t)
	to, kept, err := a.Begin(comesBack)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(to)
	q := u.Query()
	if !strings.HasPrefix(to, i.url+"/authorize?") || q.Get("x") != "1" || q.Get("response_type") != "code" || q.Get("client_id") != "console" || q.Get("redirect_uri") != comesBack || q.Get("scope") != "openid mesh" || q.Get("code_challenge_method") != "S256" {
		t.Errorf("the browser goes to %s", to)
	}
	i.change(func() {
		i.grants = func(r *http.Request) (int, m) {
			_ = r.ParseForm()
			sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
			user, password, _ := r.BasicAuth()
			if base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || r.PostForm.Get("code") != "c0de" || r.PostForm.Get("redirect_uri") != comesBack || user != "console" || password != "s3%3Acret" {
				return 400, m{"error": "invalid_grant"}
			}
			return 200, m{"access_token": i.token(), "id_token": i.token(m{"aud": "console", "nonce": q.Get("nonce")}), "token_type": "Bearer"}
		}
	})
	tokens, err := a.Finish(t.Context(), kept, url.Values{"state": {q.Get("state")}, "code": {"c0de"}})
	if err != nil || len(tokens) != 2 {
		t.Fatalf("%d tokens, %v", len(tokens), err)
	}
	if who, err := ask(t, a, tokens[0]); err != nil || who.Tenant != "acme" {
		t.Errorf("%+v %v", who, err)
	}
	if _, err := ask(t, a, tokens[1]); err == nil {
		t.Error("an ID token for the client counts where the audience is another")
	}
	if strings.Contains(to, string(kept)) || strings.Contains(to, verifierOf(t, kept)) {
		t.Error("what only the browser keeps is in the URL")
	}
}

func verifierOf(t *testing.T, kept []byte) string {
	t.Helper()
	var s struct {
		V string `json:"v"`
	}
	if err := json.Unmarshal(kept, &s); err != nil || len(s.V) < 43 {
		t.Fatalf("the verifier has %d characters, %v", len(s.V), err)
	}
	return s.V
}

// Nobody signs in by what belongs to another sign-in, or by an answer that is none.
func TestNoOtherSignInCounts(t *testing.T) {
	i, a := signsIn(t)
	to, kept, err := a.Begin(comesBack)
	if err != nil {
		t.Fatal(err)
	}
	_, other, _ := a.Begin(comesBack)
	u, _ := url.Parse(to)
	state, nonce := u.Query().Get("state"), u.Query().Get("nonce")
	good := m{"access_token": i.token(), "id_token": i.token(m{"nonce": nonce})}
	came := url.Values{"state": {state}, "code": {"c"}}
	for name, one := range map[string]struct {
		kept   []byte
		came   url.Values
		status int
		answer m
		want   error
	}{
		"good":                   {kept, came, 200, good, nil},
		"nothing kept":           {nil, came, 200, good, auth.ErrUnauthenticated},
		"another's state":        {other, came, 200, good, auth.ErrUnauthenticated},
		"no state":               {kept, url.Values{"code": {"c"}}, 200, good, auth.ErrUnauthenticated},
		"the person says no":     {kept, url.Values{"state": {state}, "error": {"access_denied"}}, 200, good, auth.ErrUnauthenticated},
		"the issuer says no":     {kept, came, 400, m{"error": "invalid_grant"}, auth.ErrUnauthenticated},
		"the issuer is broken":   {kept, came, 503, m{}, auth.ErrUnavailable},
		"no ID token":            {kept, came, 200, m{"access_token": i.token()}, auth.ErrUnauthenticated},
		"another nonce":          {kept, came, 200, m{"access_token": i.token(), "id_token": i.token(m{"nonce": "x"})}, auth.ErrUnauthenticated},
		"no nonce":               {kept, came, 200, m{"access_token": i.token(), "id_token": i.token()}, auth.ErrUnauthenticated},
		"an ID token that is no": {kept, came, 200, m{"access_token": i.token(), "id_token": "a.b.c"}, auth.ErrUnauthenticated},
	} {
		i.change(func() { i.grants = func(*http.Request) (int, m) { return one.status, one.answer } })
		tokens, err := a.Finish(t.Context(), one.kept, one.came)
		if one.want == nil && (err != nil || len(tokens) != 2) || one.want != nil && (!errors.Is(err, one.want) || len(tokens) > 0) {
			t.Errorf("%s: %d tokens, %v", name, len(tokens), err)
		}
	}
}

// Where the issuer was never reached nobody is led anywhere.
func TestNobodySignsInAtAnIssuerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := oidc.Default()
		cfg.Issuer, cfg.Audience, cfg.ClientID = "https://login.example.com", "agentmesh", "console"
		a, err := oidc.New(cfg, oidc.Options{})
		if err != nil || !a.SignsIn() {
			t.Fatal(err)
		}
		if to, _, err := a.Begin(comesBack); !errors.Is(err, auth.ErrUnavailable) || to != "" {
			t.Errorf("%q %v", to, err)
		}
	})
	cfg := oidc.Default()
	cfg.Issuer, cfg.Audience, cfg.ClientID, cfg.LoginScope = "https://login.example.com", "agentmesh", "x", "profile"
	if cfg.Validate() == nil {
		t.Error("a sign-in without openid is taken")
	}
}

package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"agentmesh/shared/auth"
)

// A person signs in at the issuer by an authorization code with PKCE (RFC 7636, RFC 9700):
// Begin says where the browser goes, and Finish takes what it comes back with. What ties
// the two together is kept by the browser, sealed by the caller, and by nobody here: so it
// may come back to another gateway.

// signing is what is kept of a sign-in until the browser comes back.
type signing struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Redirect string `json:"r"`
}

// endpoints are where an issuer signs people in.
type endpoints struct {
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
}

// SignsIn reports whether people can sign in: there is a client for it.
func (a *Authenticator) SignsIn() bool { return a.cfg.ClientID != "" }

// Begin begins a sign-in. redirect is where the browser comes back to, kept what Finish
// needs then: whoever has it may finish, so it must be sealed. It fails with
// auth.ErrUnavailable where the issuer has not answered yet.
func (a *Authenticator) Begin(redirect string) (to string, kept []byte, err error) {
	at, err := a.signIn().endpoints()
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(at.Authorize)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", nil, errors.New("the issuer names no authorization_endpoint")
	}
	s := signing{rand.Text(), rand.Text(), rand.Text() + rand.Text(), redirect}
	if kept, err = json.Marshal(s); err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256([]byte(s.Verifier))
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": a.cfg.ClientID, "redirect_uri": redirect, "scope": a.cfg.LoginScope, "state": s.State, "nonce": s.Nonce,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), kept, nil
}

// Finish redeems what a browser came back with. The tokens are those that may say who
// signs in: each is to be authenticated like any other, and the first that is accepted
// counts. Its error is wrapped in auth.ErrUnauthenticated where the browser, the issuer or
// the person has said no.
func (a *Authenticator) Finish(ctx context.Context, kept []byte, came url.Values) (tokens []string, err error) {
	var s signing
	if json.Unmarshal(kept, &s) != nil || s.State == "" || subtle.ConstantTimeCompare([]byte(s.State), []byte(came.Get("state"))) != 1 {
		return nil, fmt.Errorf("it was not begun in this browser, or long ago: %w", auth.ErrUnauthenticated)
	}
	if code := came.Get("error"); code != "" {
		return nil, fmt.Errorf("the issuer says %.60q: %w", code, auth.ErrUnauthenticated)
	}
	got, err := a.redeem(ctx, s, came.Get("code"))
	if err != nil {
		return nil, err
	}
	if err := a.answers(got.ID, s); err != nil {
		return nil, fmt.Errorf("%w: %w", err, auth.ErrUnauthenticated)
	}
	for _, token := range []string{got.Access, got.ID} {
		if strings.Count(token, ".") == 2 {
			tokens = append(tokens, token)
		}
	}
	return tokens, nil
}

// answers reports whether an ID token, which came straight from the issuer, is for this
// sign-in.
func (a *Authenticator) answers(token string, s signing) error {
	if strings.Count(token, ".") != 2 {
		return errors.New("the issuer gives no ID token")
	}
	c, err := a.read(token)
	if err != nil {
		return fmt.Errorf("the ID token: %w", err)
	}
	if nonce, _ := c.text("nonce"); subtle.ConstantTimeCompare([]byte(nonce), []byte(s.Nonce)) != 1 {
		return errors.New("the issuer answers another sign-in")
	}
	return nil
}

// given is the answer of a token endpoint.
type given struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// redeem exchanges a code for tokens.
func (a *Authenticator) redeem(ctx context.Context, s signing, code string) (got given, err error) {
	from := a.signIn()
	at, err := from.endpoints()
	if err != nil {
		return got, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {s.Redirect}, "client_id": {a.cfg.ClientID}, "code_verifier": {s.Verifier}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return got, fmt.Errorf("token_endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if a.secret != "" {
		req.SetBasicAuth(url.QueryEscape(a.cfg.ClientID), url.QueryEscape(a.secret))
	}
	resp, err := from.client.Do(req)
	if err != nil {
		return got, fmt.Errorf("token_endpoint: %w: %w", err, auth.ErrUnavailable)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode >= http.StatusInternalServerError:
		return got, fmt.Errorf("token_endpoint: %s: %w", resp.Status, auth.ErrUnavailable)
	case resp.StatusCode != http.StatusOK || json.Unmarshal(body, &got) != nil:
		return got, fmt.Errorf("token_endpoint: %s: %w", resp.Status, auth.ErrUnauthenticated)
	}
	return got, nil
}

// signIn is the issuer at which people sign in: the first.
func (a *Authenticator) signIn() *issuer { return a.issuers[list(a.cfg.Issuer)[0]] }

// endpoints are those that the issuer has named last.
func (i *issuer) endpoints() (endpoints, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at == (endpoints{}) {
		return endpoints{}, fmt.Errorf("%s has not said where people sign in: %w", i.name, auth.ErrUnavailable)
	}
	return i.at, nil
}

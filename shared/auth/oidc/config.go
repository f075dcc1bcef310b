package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"agentmesh/shared/auth"
)

// Config says whose tokens are accepted, and what their claims mean.
type Config struct {
	Issuer     string   `flag:"oidc-issuer" env:"MESH_OIDC_ISSUER" help:"URL of the OpenID Connect issuer whose tokens are accepted; several, separated by commas, are trusted alike"`
	Audience   string   `flag:"oidc-audience" env:"MESH_OIDC_AUDIENCE" help:"audience that a token must name, such as agentmesh"`
	Algorithms string   `flag:"oidc-algorithms" env:"MESH_OIDC_ALGORITHMS" help:"how tokens may be signed: of RS256, ES256 and EdDSA"`
	Tenant     string   `flag:"oidc-tenant" env:"MESH_OIDC_TENANT" help:"tenant of every token, in place of a claim"`
	Claim      string   `flag:"oidc-tenant-claim" env:"MESH_OIDC_TENANT_CLAIM" help:"claim with the tenant; dots lead into objects"`
	Prefix     string   `flag:"oidc-tenant-prefix" env:"MESH_OIDC_TENANT_PREFIX" help:"values of that claim count only with this prefix, which is cut off: mesh- makes acme of the group mesh-acme"`
	ScopeClaim string   `flag:"oidc-scope-claim" env:"MESH_OIDC_SCOPE_CLAIM" help:"claim with the scopes, a list or words; dots lead into objects"`
	Scopes     ScopeMap `flag:"oidc-scopes" env:"MESH_OIDC_SCOPES" help:"what values of that claim mean: value=scope scope; value=... . When left out, values that are scopes of the mesh count, but * and admin"`
	CA         string   `flag:"oidc-ca" env:"MESH_OIDC_CA" help:"file with the certificate authority of the issuer, in place of the system's"`
	// People sign in to the console at the first issuer, where it has a client for them.
	ClientID   string `flag:"oidc-client-id" env:"MESH_OIDC_CLIENT_ID" help:"client at the first issuer by which people log in to the console (authorization code with PKCE); its redirect URL is that of the mesh and /console/signed-in. Left out: the console asks for a key or a token"`
	LoginScope string `flag:"oidc-login-scope" env:"MESH_OIDC_LOGIN_SCOPE" help:"what the console asks the issuer for, in words of the issuer; openid must be among them"`

	PlainHTTP bool `flag:"oidc-plain-http" env:"MESH_OIDC_PLAIN_HTTP" help:"take an issuer without TLS: whoever is on the way there can then make tokens. Loopback needs no leave"`
}

// Default is the configuration without settings.
func Default() Config {
	return Config{Algorithms: "RS256,ES256,EdDSA", Claim: "tenant", ScopeClaim: "scope", LoginScope: "openid"}
}

// algorithms are those that a token may be signed with. Of these a key says itself
// which it is for; with HS256 a public key would be a password.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

// Validate names the first setting that is out of its range.
func (c Config) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("configure oidc: %w", err)
	}
	return nil
}

func (c Config) validate() error {
	if c.Issuer == "" || c.Audience == "" {
		return errors.New("auth oidc needs oidc-issuer and oidc-audience")
	}
	for _, issuer := range list(c.Issuer) {
		u, err := url.Parse(issuer)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("oidc-issuer has %q, it must be like https://login.example.com/realms/one, without a query", issuer)
		}
	}
	for _, alg := range list(c.Algorithms) {
		if !slices.Contains(algorithms, alg) {
			return fmt.Errorf("oidc-algorithms has %q, allowed are %s", alg, strings.Join(algorithms, ", "))
		}
	}
	switch {
	case len(list(c.Algorithms)) == 0:
		return fmt.Errorf("oidc-algorithms is empty, allowed are %s", strings.Join(algorithms, ", "))
	case c.Tenant == "" && c.Claim == "":
		return errors.New("auth oidc needs oidc-tenant or oidc-tenant-claim")
	case c.Tenant != "" && !auth.ValidTenant(c.Tenant):
		return fmt.Errorf("oidc-tenant is %q, a tenant's name has up to 64 letters, digits, - and _", c.Tenant)
	case c.ClientID != "" && !slices.Contains(strings.Fields(c.LoginScope), "openid"):
		return fmt.Errorf("oidc-login-scope is %q, openid must be among its words", c.LoginScope)
	case c.ScopeClaim == "":
		return errors.New("oidc-scope-claim is empty, it must name the claim with the scopes")
	}
	return nil
}

// Issuers are those whose tokens are accepted.
func (c Config) Issuers() []string { return list(c.Issuer) }

// list is what a setting names, separated by commas.
func list(text string) (all []string) {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// ScopeMap says what the values of a claim mean. Its text form is
// "value=scope scope; value=scope"; a line's end separates like a semicolon.
type ScopeMap map[string][]auth.Scope

// String is the text form.
func (m ScopeMap) String() string {
	var all []string
	for value, scopes := range m {
		words := make([]string, len(scopes))
		for i, s := range scopes {
			words[i] = string(s)
		}
		all = append(all, value+"="+strings.Join(words, " "))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// UnmarshalText reads the text form. A value may have equals signs, as the names
// of directories do; a scope has none.
func (m *ScopeMap) UnmarshalText(text []byte) error {
	*m = ScopeMap{}
	for entry := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ';' || r == '\n' }) {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		at := strings.LastIndexByte(entry, '=')
		value, words := strings.TrimSpace(entry[:max(at, 0)]), strings.Fields(entry[at+1:])
		if at < 0 || value == "" || len(words) == 0 {
			return fmt.Errorf("%q must be like value=tasks:read tasks:write", entry)
		}
		for _, word := range words {
			if !auth.Scope(word).Valid() {
				return fmt.Errorf("%q gives %q, which is no scope; there are %v", entry, word, auth.Scopes)
			}
			(*m)[value] = append((*m)[value], auth.Scope(word))
		}
	}
	return nil
}

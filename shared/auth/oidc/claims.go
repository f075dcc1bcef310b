package oidc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// claims are the members of a token's payload.
type claims map[string]jsontext.Value

// own are the names that must not stand there in another case, which readers of
// JSON may take for the same.
var own = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "alg", "kid", "crit", "typ", "b64"}

// read looks at a token before its signature is: its header must name a pinned
// algorithm and ask for nothing that is not known, and each name stands once.
func (a *Authenticator) read(token string) (claims, error) {
	if len(token) > MaxToken {
		return nil, fmt.Errorf("it has %d bytes, allowed are %d", len(token), MaxToken)
	}
	parts := strings.Split(token, ".")
	header, err := object(parts[0])
	if err != nil {
		return nil, fmt.Errorf("its header %w", err)
	}
	alg, _ := header.text("alg")
	typ, hasType := header.text("typ")
	kid, hasKey := header.text("kid")
	switch {
	case !slices.Contains(a.algorithms, alg):
		return nil, errors.New("its algorithm is none of oidc-algorithms")
	case header["crit"] != nil || header["b64"] != nil:
		return nil, errors.New("it has critical extensions, and none is known")
	case header["typ"] != nil && (!hasType || !slices.Contains([]string{"jwt", "at+jwt", "application/at+jwt"}, strings.ToLower(typ))):
		return nil, errors.New("it is no access token by its typ")
	case header["kid"] != nil && (!hasKey || !printable(kid)):
		return nil, errors.New("its kid must have 1 to 255 printable characters")
	}
	c, err := object(parts[1])
	if err != nil {
		return nil, fmt.Errorf("its payload %w", err)
	}
	return c, c.timely()
}

// timely looks at what the library takes in other forms, or with another leeway.
func (c claims) timely() error {
	if c["exp"].Kind() != '0' || c["nbf"] != nil && c["nbf"].Kind() != '0' {
		return errors.New("it needs exp, a number, and so must nbf be")
	}
	var begins float64
	if c["nbf"] != nil {
		if err := json.Unmarshal(c["nbf"], &begins); err != nil {
			return errors.New("nbf is no time")
		}
	}
	if begins > float64(time.Now().Add(Leeway).Unix()) {
		return errors.New("it is not valid yet")
	}
	return nil
}

// object decodes one part of a token.
func object(part string) (claims, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	d, c := jsontext.NewDecoder(bytes.NewReader(raw)), claims{}
	if err := json.UnmarshalDecode(d, &c); err != nil || c == nil {
		return nil, errors.New("is no JSON object with each name once")
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after its object")
	}
	for name := range c {
		if plain := strings.ToLower(name); plain != name && slices.Contains(own, plain) {
			return nil, fmt.Errorf("has %s in another case", plain)
		}
	}
	return c, nil
}

// text is a member that is a string.
func (c claims) text(name string) (string, bool) {
	var s string
	if c[name].Kind() != '"' || json.Unmarshal(c[name], &s) != nil {
		return "", false
	}
	return s, true
}

// find follows a path: a name, or names with dots between them.
func (c claims) find(path string) (at claims, name string) {
	for c[path] == nil {
		outer, rest, ok := strings.Cut(path, ".")
		var inner claims
		if !ok || c[outer].Kind() != '{' || json.Unmarshal(c[outer], &inner) != nil {
			return nil, ""
		}
		c, path = inner, rest
	}
	return c, path
}

// values are the strings of a claim: itself, or the elements of its array.
func (c claims) values(path string) []string {
	at, name := c.find(path)
	if s, ok := at.text(name); ok {
		return []string{s}
	}
	var several []string
	if at[name].Kind() != '[' || json.Unmarshal(at[name], &several) != nil {
		return nil
	}
	return several
}

// words are the words of a claim: those of a string, or the elements of an array
// as they are. One with a blank is one: whoever may name a group must not name two.
func (c claims) words(path string) []string {
	if at, name := c.find(path); at[name].Kind() == '"' {
		s, _ := at.text(name)
		return strings.Fields(s)
	}
	return c.values(path)
}

// printable reports whether a name of a token's may stand in a log.
func printable(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"strings"

	"agentmesh/shared/signature"
)

// Style is how requests are verified.
type Style string

// The styles.
const (
	Standard Style = "standard" // Standard Webhooks
	GitHub   Style = "github"
	Stripe   Style = "stripe"
	Slack    Style = "slack"
	HMAC     Style = "hmac"  // any other HMAC over the body
	Token    Style = "token" // a shared text: no integrity, no freshness
)

// Styles lists them.
var Styles = []Style{Standard, GitHub, Stripe, Slack, HMAC, Token}

// IDNone is the ID of a Verify whose deliveries have none: every call is new.
const IDNone = "none"

// Verify says how requests are verified and told apart. All but Style, ID and the
// secrets is for HMAC and Token.
type Verify struct {
	Style Style `json:"style"`
	// ID is where the id of a delivery is: a header, a JSON pointer into the body,
	// or IDNone.
	ID        string `json:"id,omitempty"`
	Header    string `json:"header,omitempty"`    // of the signature, or the token
	Prefix    string `json:"prefix,omitempty"`    // before it
	Encoding  string `json:"encoding,omitempty"`  // hex or base64
	Algorithm string `json:"algorithm,omitempty"` // sha256 or sha512
	Key       string `json:"key,omitempty"`       // text or base64: how a secret becomes the key
	Content   string `json:"content,omitempty"`   // what is signed, with {id}, {timestamp} and {body}
	Timestamp string `json:"timestamp,omitempty"` // its header, in Unix seconds
	Username  string `json:"username,omitempty"`  // of Token: the secret is the password of HTTP Basic
}

// defaultIDs are where the styles have the id of a delivery.
var defaultIDs = map[Style]string{Standard: signature.HeaderID, GitHub: "X-GitHub-Delivery", Stripe: "/id", Slack: "/event_id"}

func (v Verify) withDefaults() Verify {
	if v.ID == "" {
		v.ID = defaultIDs[v.Style]
	}
	if v.Style == HMAC {
		for _, d := range []struct {
			to    *string
			value string
		}{{&v.Encoding, "hex"}, {&v.Algorithm, "sha256"}, {&v.Key, "text"}, {&v.Content, "{body}"}} {
			if *d.to == "" {
				*d.to = d.value
			}
		}
	}
	if v.Style == Token && v.Username != "" && v.Header == "" {
		v.Header = "Authorization"
	}
	return v
}

func (v *Verify) check(f *faults) {
	if !slices.Contains(Styles, v.Style) {
		f.add("/verify/style", "it must be standard, github, stripe, slack, hmac or token")
		return
	}
	v.checkID(f)
	if v.Style != HMAC && v.Style != Token {
		for name, value := range map[string]string{"header": v.Header, "prefix": v.Prefix, "encoding": v.Encoding, "algorithm": v.Algorithm, "key": v.Key, "content": v.Content, "timestamp": v.Timestamp, "username": v.Username} {
			if value != "" {
				f.add("/verify/"+name, "the style says it; leave it out, or use the style hmac")
			}
		}
		return
	}
	if f.header("/verify/header", v.Header); len(v.Prefix) > maxText {
		f.add("/verify/prefix", "it has at most "+strconv.Itoa(maxText)+" bytes")
	}
	if v.Style == HMAC {
		v.checkHMAC(f)
		return
	}
	for name, value := range map[string]string{"encoding": v.Encoding, "algorithm": v.Algorithm, "key": v.Key, "content": v.Content, "timestamp": v.Timestamp} {
		if value != "" {
			f.add("/verify/"+name, "a token signs nothing; leave it out")
		}
	}
	if v.Username != "" && (v.Prefix != "" || v.Header != "Authorization" || strings.ContainsAny(v.Username, ":\r\n") || len(v.Username) > maxText) {
		f.add("/verify/username", "it is that of HTTP Basic, without a colon; leave header and prefix out")
	}
}

func (v *Verify) checkID(f *faults) {
	const at = "/verify/id"
	switch {
	case v.ID == "":
		f.add(at, `say where the id of a delivery is, so that a repeat starts nothing: a header, a JSON pointer, or "none" where there is none`)
	case v.Style == Standard && v.ID != signature.HeaderID:
		f.add(at, "it is "+signature.HeaderID+"; leave it out")
	case strings.HasPrefix(v.ID, "/"):
		f.pointer(at, v.ID)
	default:
		f.header(at, v.ID)
	}
}

func (v *Verify) checkHMAC(f *faults) {
	for name, one := range map[string]struct {
		value   string
		allowed []string
	}{"encoding": {v.Encoding, []string{"hex", "base64"}}, "algorithm": {v.Algorithm, []string{"sha256", "sha512"}}, "key": {v.Key, []string{"text", "base64"}}} {
		if !slices.Contains(one.allowed, one.value) {
			f.add("/verify/"+name, "it must be "+strings.Join(one.allowed, " or "))
		}
	}
	if v.Username != "" {
		f.add("/verify/username", "it is for the style token")
	}
	if len(v.Content) > maxText || strings.Count(v.Content, "{body}") != 1 || strings.Count(v.Content, "{id}") > 1 || strings.Count(v.Content, "{timestamp}") > 1 {
		f.add("/verify/content", "it has {body} once, and {id} and {timestamp} once at most")
	}
	if strings.Contains(v.Content, "{timestamp}") != (v.Timestamp != "") {
		f.add("/verify/timestamp", "name the header of the timestamp, and have {timestamp} in content: one that is not signed says nothing")
	} else if v.Timestamp != "" {
		f.header("/verify/timestamp", v.Timestamp)
	}
	if strings.Contains(v.Content, "{id}") && (v.ID == IDNone || strings.HasPrefix(v.ID, "/")) {
		f.add("/verify/id", "content has {id}, so it must be a header")
	}
}

// CheckSecrets returns what is wrong with the secrets of a hook.
func (v *Verify) CheckSecrets(secrets []string) []Fault {
	var f faults
	const at = "/verify/secrets"
	if len(secrets) == 0 || len(secrets) > MaxSecrets {
		f.add(at, "there must be one, or two while one takes the place of the other")
		return f
	}
	for i, s := range secrets {
		if err := v.checkSecret(s); err != "" {
			f.add(at+"/"+strconv.Itoa(i), err)
		}
	}
	return f
}

func (v *Verify) checkSecret(s string) string {
	const most = 1024
	switch {
	case strings.TrimSpace(s) == "":
		return "it is empty"
	case s != strings.TrimSpace(s) || strings.ContainsAny(s, "\r\n\x00"):
		return "it has blanks or line ends around it or in it: was more copied than the secret?"
	case len(s) > most:
		return "it has at most " + strconv.Itoa(most) + " bytes"
	}
	if v.Style == Standard {
		if _, err := standardKey(s); err != nil {
			return strings.TrimPrefix(err.Error(), "webhook key: ")
		}
	}
	if v.Style == HMAC && v.Key == "base64" {
		if raw, err := base64.StdEncoding.DecodeString(s); err != nil || len(raw) == 0 {
			return "it must be base64, as verify.key says"
		}
	}
	return ""
}

// standardKey reads a key of Standard Webhooks: whsec_ or whpk_.
func standardKey(text string) (signature.VerifyingKey, error) {
	if strings.HasPrefix(text, "whpk_") {
		return signature.ParsePublicKey(text)
	}
	return signature.ParseSecret(text)
}

// mac is the HMAC of what is signed, under a secret.
func (v *Verify) mac(secret string, content []byte) []byte {
	key := []byte(secret)
	if v.Style == HMAC && v.Key == "base64" {
		key, _ = base64.StdEncoding.DecodeString(secret) // it was checked
	}
	of := func() hash.Hash { return sha256.New() }
	if v.Algorithm == "sha512" {
		of = sha512.New
	}
	h := hmac.New(of, key)
	h.Write(content)
	return h.Sum(nil)
}

// encode is the text form of a signature.
func (v *Verify) encode(mac []byte) string {
	if v.Encoding == "base64" {
		return base64.StdEncoding.EncodeToString(mac)
	}
	return hex.EncodeToString(mac)
}

// decode reads it. Hex may be in upper case; base64 has one form.
func (v *Verify) decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder of base64 leaves out
		return nil, ErrMalformed
	}
	if v.Encoding == "base64" {
		return base64.StdEncoding.Strict().DecodeString(text)
	}
	return hex.DecodeString(text)
}

// fill is a template with its values. The order of replacing does not matter: a
// value is never looked at for placeholders.
func fill(template, id, stamp string, body []byte) []byte {
	var out []byte
	for template != "" {
		i := strings.IndexByte(template, '{')
		if i < 0 {
			return append(out, template...)
		}
		out, template = append(out, template[:i]...), template[i:]
		switch {
		case strings.HasPrefix(template, "{id}"):
			out, template = append(out, id...), template[len("{id}"):]
		case strings.HasPrefix(template, "{timestamp}"):
			out, template = append(out, stamp...), template[len("{timestamp}"):]
		case strings.HasPrefix(template, "{body}"):
			out, template = append(out, body...), template[len("{body}"):]
		default:
			out, template = append(out, '{'), template[1:]
		}
	}
	return out
}

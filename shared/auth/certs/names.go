package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"agentmesh/shared/auth"
)

// entry is one line of the file: a name of a certificate, and who that is.
type entry struct {
	URI    string       `yaml:"uri"`
	DNS    string       `yaml:"dns"`
	Email  string       `yaml:"email"`
	SPKI   string       `yaml:"spki"` // SHA-256 of the public key, in base64
	Tenant string       `yaml:"tenant"`
	Scopes []auth.Scope `yaml:"scopes"`
}

// names are the callers of certificates by their names, in the order of the file.
type names map[string]named

type named struct {
	place  int
	caller auth.Caller
}

// parseNames reads the file: a list of entries.
func parseNames(texts [][]byte) (names, error) {
	d := yaml.NewDecoder(bytes.NewReader(texts[0]))
	d.KnownFields(true)
	var entries []entry
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	all := names{}
	for place, e := range entries {
		name, err := e.name()
		if err == nil {
			err = e.check()
		}
		if _, twice := all[name]; err == nil && twice {
			err = errors.New("it stands there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", place+1, err)
		}
		all[name] = named{place, auth.Caller{Tenant: e.Tenant, Subject: name, Scopes: e.Scopes}}
	}
	return all, nil
}

// name is the one name of an entry, with its kind.
func (e entry) name() (name string, err error) {
	for _, one := range []string{prefixed("uri:", e.URI), prefixed("dns:", plainDNS(e.DNS)), prefixed("email:", plainEmail(e.Email)), prefixed("spki:", e.SPKI)} {
		switch {
		case one == "":
		case name != "":
			return "", errors.New("it must have one of uri, dns, email and spki, not two")
		default:
			name = one
		}
	}
	if name == "" {
		return "", errors.New("it must have one of uri, dns, email and spki")
	}
	if sum, err := base64.StdEncoding.DecodeString(e.SPKI); e.SPKI != "" && (err != nil || len(sum) != sha256.Size) {
		return "", errors.New("spki must be the SHA-256 of the public key in base64")
	}
	return name, nil
}

func (e entry) check() error {
	if !auth.ValidTenant(e.Tenant) {
		return fmt.Errorf("tenant is %q, it must have up to 64 letters, digits, - and _", e.Tenant)
	}
	if len(e.Scopes) == 0 {
		return fmt.Errorf("it must have scopes, of %v", auth.Scopes)
	}
	for _, s := range e.Scopes {
		if !s.Valid() {
			return fmt.Errorf("%q is no scope, there are %v", s, auth.Scopes)
		}
	}
	return nil
}

// caller is the first in the file that a certificate has the name of.
func (all names) caller(leaf *x509.Certificate) (auth.Caller, error) {
	var first *named
	for _, name := range namesOf(leaf) {
		if found, ok := all[name]; ok && (first == nil || found.place < first.place) {
			first = &found
		}
	}
	if first == nil {
		return auth.Caller{}, fmt.Errorf("client-cert-map names none of %.300q", namesOf(leaf))
	}
	return first.caller, nil
}

func namesOf(leaf *x509.Certificate) (all []string) {
	for _, u := range leaf.URIs {
		all = append(all, "uri:"+u.String())
	}
	for _, host := range leaf.DNSNames {
		all = append(all, "dns:"+plainDNS(host))
	}
	for _, address := range leaf.EmailAddresses {
		all = append(all, "email:"+plainEmail(address))
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return append(all, "spki:"+base64.StdEncoding.EncodeToString(sum[:]))
}

func prefixed(kind, value string) string {
	if value == "" {
		return ""
	}
	return kind + value
}

func plainDNS(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// plainEmail has the host in small letters; the part before it is left as its owner
// spells it.
func plainEmail(address string) string {
	at := strings.LastIndexByte(address, '@') + 1
	return address[:at] + strings.ToLower(address[at:])
}

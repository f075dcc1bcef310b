// Package certs is the TLS of a listener, and knows callers by their certificates.
//
// It promises that renewed files count without a restart and that bad ones change
// nothing; that a certificate is a caller only when an authority of the operator's
// has signed it and the operator's file names it; and that what is taken out of the
// files counts no more, also on connections that are open. It knows no HTTP.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/reread"
)

// Config says which certificates a listener shows and takes.
type Config struct {
	Cert       string `flag:"tls-cert" env:"MESH_TLS_CERT" help:"certificate of the gateway with its chain (PEM): it then speaks TLS. This file and those beside it are read again when they change"`
	Key        string `flag:"tls-key" env:"MESH_TLS_KEY" help:"key of that certificate (PEM)"`
	ClientCA   string `flag:"client-ca" env:"MESH_CLIENT_CA" help:"authorities of client certificates (PEM): the gateway then asks for one"`
	ClientCert string `flag:"client-cert" env:"MESH_CLIENT_CERT" help:"whether a client must have a certificate: optional or required"`
	ClientMap  string `flag:"client-cert-map" env:"MESH_CLIENT_CERT_MAP" help:"file (YAML) that says which tenant and scopes a client certificate means"`
}

// Default is the configuration without settings: no TLS.
func Default() Config { return Config{ClientCert: optional} }

// Whether a client must have a certificate.
const (
	optional = "optional"
	required = "required"
)

// On reports whether the listener speaks TLS.
func (c Config) On() bool { return c.Cert != "" }

// Callers reports whether certificates are callers.
func (c Config) Callers() bool { return c.ClientMap != "" }

// Validate names the first setting that does not fit the others.
func (c Config) Validate() error {
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("configure tls: tls-cert and tls-key need each other")
	case c.ClientCA != "" && c.Cert == "":
		return errors.New("configure tls: client-ca needs tls-cert and tls-key")
	case c.ClientCert != optional && c.ClientCert != required:
		return fmt.Errorf("configure tls: client-cert is %q, allowed are optional and required", c.ClientCert)
	case c.ClientCert == required && c.ClientCA == "":
		return errors.New("configure tls: client-cert required needs client-ca")
	case c.ClientMap != "" && c.ClientCA == "":
		return errors.New("configure tls: client-cert-map needs client-ca")
	}
	return nil
}

// Certs are the certificates of a listener and of its clients.
type Certs struct {
	shown *reread.Files[tls.Certificate]
	taken *reread.Files[authorities] // nil: clients are asked for none
	names *reread.Files[names]       // nil: they are no callers
	base  tls.Config
}

// Open reads the files. It is for a configuration that is on.
func Open(cfg Config, log *slog.Logger) (c *Certs, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c = &Certs{base: tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}}
	if c.shown, err = reread.Open("tls-cert and tls-key", log, pair, cfg.Cert, cfg.Key); err != nil {
		return nil, err
	}
	if cfg.ClientCA == "" {
		return c, nil
	}
	c.base.ClientAuth = tls.VerifyClientCertIfGiven
	if cfg.ClientCert == required {
		c.base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.base.SessionTicketsDisabled = true // a ticket would outlive the authority
	if c.taken, err = reread.Open("client-ca", log, parseAuthorities, cfg.ClientCA); err != nil || cfg.ClientMap == "" {
		return c, err
	}
	c.names, err = reread.Open("client-cert-map", log, parseNames, cfg.ClientMap)
	return c, err
}

// TLS is what the listener shows and asks for: at each handshake what the files
// say then.
func (c *Certs) TLS() *tls.Config {
	config := c.base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := c.base.Clone()
		now.Certificates = []tls.Certificate{c.shown.Get()}
		if c.taken != nil {
			now.ClientCAs = c.taken.Get().pool
		}
		return now, nil
	}
	return config
}

// Authenticate makes a caller of a client's certificate. A request that has a
// bearer token besides is for others.
func (c *Certs) Authenticate(_ context.Context, shown auth.Credentials) (auth.Caller, error) {
	if c.names == nil || shown.Bearer != "" || len(shown.Certs) == 0 {
		return auth.Caller{}, auth.ErrNoCredentials
	}
	caller, err := c.caller(shown.Certs)
	if err != nil {
		err = fmt.Errorf("certificate: %w: %w", err, auth.ErrUnauthenticated)
	}
	return caller, err
}

// caller looks again at a chain that was verified when the connection began.
func (c *Certs) caller(chain []*x509.Certificate) (auth.Caller, error) {
	leaf, root := chain[0], chain[len(chain)-1]
	switch {
	case !c.taken.Get().raw[string(root.Raw)]:
		return auth.Caller{}, errors.New("its authority is no longer in client-ca")
	case time.Now().After(leaf.NotAfter):
		return auth.Caller{}, errors.New("it has expired")
	}
	return c.names.Get().caller(leaf)
}

// pair reads a certificate and its key.
func pair(texts [][]byte) (tls.Certificate, error) { return tls.X509KeyPair(texts[0], texts[1]) }

// authorities are those who sign client certificates.
type authorities struct {
	pool *x509.CertPool
	raw  map[string]bool
}

func parseAuthorities(texts [][]byte) (authorities, error) {
	a := authorities{x509.NewCertPool(), map[string]bool{}}
	for rest := texts[0]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return a, fmt.Errorf("certificate %d: %w", len(a.raw)+1, err)
		}
		a.pool.AddCert(cert)
		a.raw[string(cert.Raw)] = true
	}
	if len(a.raw) == 0 {
		return a, errors.New("it has no certificate in PEM form")
	}
	return a, nil
}

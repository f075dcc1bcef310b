package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// secure is whom a client trusts and what it shows, as files.
type secure struct {
	CA      string `json:"ca,omitempty"`       // in place of the system's authorities
	Cert    string `json:"cert,omitempty"`     // of the client
	CertKey string `json:"cert_key,omitempty"` // of that certificate
}

func (s *secure) bind(p *pflag.FlagSet) {
	p.StringVar(&s.CA, "ca", "", "file with the certificate authority of the gateway, in place of the system's (env MESH_CA)")
	p.StringVar(&s.Cert, "cert", "", "file with a client certificate (env MESH_CERT)")
	p.StringVar(&s.CertKey, "cert-key", "", "file with the key of the client certificate (env MESH_CERT_KEY)")
}

// or fills what flags leave out: from the environment, else from a context.
func (s *secure) or(context secure) {
	s.CA = cmp.Or(s.CA, os.Getenv("MESH_CA"), context.CA)
	if s.Cert == "" && s.CertKey == "" { // they belong together
		s.Cert, s.CertKey = os.Getenv("MESH_CERT"), os.Getenv("MESH_CERT_KEY")
	}
	if s.Cert == "" && s.CertKey == "" {
		s.Cert, s.CertKey = context.Cert, context.CertKey
	}
}

// absolute has the files found from every folder.
func (s secure) absolute() (secure, error) {
	for _, file := range []*string{&s.CA, &s.Cert, &s.CertKey} {
		if *file == "" {
			continue
		}
		full, err := filepath.Abs(*file)
		if err != nil {
			return s, fmt.Errorf("find %s: %w", *file, err)
		}
		*file = full
	}
	return s, nil
}

// config reads the files; nil when there are none.
func (s secure) config() (*tls.Config, error) {
	if s == (secure{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (s.Cert == "") != (s.CertKey == "") {
		return nil, Usage("--cert and --cert-key need each other")
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.CertKey)
		if err != nil {
			return nil, Usage("--cert and --cert-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, Usage("--ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Usage("--ca: %s has no certificate in PEM form", s.CA)
		}
	}
	return c, nil
}

// http makes a client that trusts and shows what the files say.
func (s secure) http() (*http.Client, error) {
	config, err := s.config()
	if err != nil || config == nil {
		return http.DefaultClient, err
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("the default transport is %T", http.DefaultTransport)
	}
	t = t.Clone()
	t.TLSClientConfig = config
	return &http.Client{Transport: t}, nil
}

// curl is the files as flags of curl.
func (s secure) curl() (parts []string) {
	for _, one := range [][2]string{{"--cacert", s.CA}, {"--cert", s.Cert}, {"--key", s.CertKey}} {
		if one[1] != "" {
			parts = append(parts, one[0], shellQuote(one[1]))
		}
	}
	return parts
}

// distrust says what to do where a client and a gateway do not trust each other;
// empty where that is not what an error means.
func distrust(err error) string {
	var unverified *tls.CertificateVerificationError
	var asked *url.Error
	var step *net.OpError
	onTheWay := errors.As(err, &step) && step.Op == "dial"
	switch {
	case !errors.As(err, &asked) || !strings.HasPrefix(asked.URL, "https://") || asked.Timeout() || onTheWay:
		return ""
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the gateway speaks plain HTTP; write http:// before its address"
	case errors.As(err, &unverified):
		return "the gateway's certificate is not trusted; name its authority with --ca"
	}
	// A server that takes no client without a certificate says so after the handshake:
	// often the client is writing by then, and sees the connection end only.
	return "the gateway ended the connection; where it wants a client certificate, or another one, name it with --cert and --cert-key"
}

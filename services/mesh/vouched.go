package main

import (
	"fmt"
	"log/slog"

	"agentmesh/gateway"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/auth"
	"agentmesh/shared/auth/certs"
	"agentmesh/shared/auth/oidc"
	"agentmesh/shared/config"
	"agentmesh/shared/egress"
	"agentmesh/shared/proc"
)

// vouched is who calls by the word of others: of OIDC issuers, and of authorities
// of certificates. The gateway's own certificate is with these.
type vouched struct {
	ClientSecret config.Secret `flag:"oidc-client-secret" env:"MESH_OIDC_CLIENT_SECRET" help:"secret of the client of --oidc-client-id, where the issuer gives it one. Set it by the environment: a command line is seen by others"`

	oidc  oidc.Config
	certs certs.Config

	files   *certs.Certs        // once they are open; nil: no TLS
	issuers *oidc.Authenticator // once there is one; nil: none is asked
}

func defaultVouched() vouched { return vouched{oidc: oidc.Default(), certs: certs.Default()} }

func (v *vouched) settings() []any { return []any{&v.certs, &v.oidc, v} }

// validate names a setting that does not fit the mode of --auth.
func (v *vouched) validate(mode string) error {
	if asksFor(mode, "oidc") {
		if err := v.oidc.Validate(); err != nil {
			return cli.Misuse(err)
		}
	}
	if err := v.certs.Validate(); err != nil {
		return cli.Misuse(err)
	}
	switch {
	case v.ClientSecret != "" && v.oidc.ClientID == "":
		return cli.Usage("oidc-client-secret needs oidc-client-id")
	case mode == "certs" && !v.certs.Callers():
		return cli.Usage("auth certs needs tls-cert, tls-key, client-ca and client-cert-map")
	case mode == "off" && v.certs.Callers():
		return cli.Usage("client-cert-map says who a client is, and with auth off nobody is asked: choose --auth certs, or keys or oidc beside")
	}
	return nil
}

// open reads the certificates, and has the gateway speak TLS where there are some.
func (v *vouched) open(cfg *gateway.Config, log *slog.Logger) (err error) {
	if !v.certs.On() {
		return nil
	}
	if v.files, err = certs.Open(v.certs, log); err != nil {
		return cli.Misuse(fmt.Errorf("configure tls: %w", err))
	}
	cfg.TLS = v.files.TLS()
	return nil
}

// authenticators are those that a mode of --auth asks, besides the mesh itself,
// and the parts that they need.
func (v *vouched) authenticators(mode string, callbacks egress.Config, resource string, log *slog.Logger) (all []auth.Authenticator, parts []proc.Part, err error) {
	if asksFor(mode, "oidc") {
		policy, err := callbacks.Policy()
		if err != nil {
			return nil, nil, cli.Misuse(err)
		}
		issuers, err := oidc.New(v.oidc, oidc.Options{Policy: policy, ClientSecret: string(v.ClientSecret), Log: log, Resource: resource})
		if err != nil {
			return nil, nil, cli.Misuse(err)
		}
		v.issuers = issuers
		all, parts = append(all, issuers), append(parts, proc.Part{Name: "OIDC issuers", Run: issuers.Run})
	}
	if v.certs.Callers() && v.files != nil {
		all = append(all, v.files)
	}
	return all, parts, nil
}

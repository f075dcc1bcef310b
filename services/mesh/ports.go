package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/config"
)

// ports are the addresses of a process. They are bound before it opens a
// store, announces or pulls anything: a process that cannot listen leaves no
// trace in the mesh, and hears of everything that is in its way at once.
type ports struct {
	open   []net.Listener
	api    net.Listener // of the gateway, where there is one
	tls    *tls.Config  // what is spoken there; nil: plain HTTP
	faults []error
}

// bind binds the address that a flag chooses; nil when it is off or taken.
func (p *ports) bind(flag, address string) net.Listener {
	if address == "off" {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		or := ""
		if flag != "http" {
			or = ", or --" + flag + " off"
		}
		p.fault(fmt.Errorf("listen for --%s: %w; stop what uses the address, choose another with --%s%s", flag, err, flag, or))
		return nil
	}
	p.open = append(p.open, l)
	return l
}

// fault notes something else that is in the way; nil is nothing.
func (p *ports) fault(err error) {
	if err != nil {
		p.faults = append(p.faults, err)
	}
}

// err is all that is in the way.
func (p *ports) err() error { return errors.Join(p.faults...) }

// close frees the addresses. A server on a listener has closed it before.
func (p *ports) close() {
	for _, l := range p.open {
		_ = l.Close()
	}
}

// place is what `mesh up` holds on its machine: its data, and its addresses.
type place struct {
	ports
	server *server.Options

	acceptLoss bool
	lock       *os.File
	nats       net.Listener // keeps the server's address until the server takes it
	admin      net.Listener
	inbox      net.Listener // where callbacks may go; nil: there is none
}

// takePlace takes data and addresses, before anything is read or begun. Its
// error is all that is in the way.
func takePlace(cfg *upConfig) (_ *place, err error) {
	p := &place{acceptLoss: cfg.server.AcceptLoss}
	if p.server, err = cfg.server.options(); err != nil {
		return nil, err
	}
	if err := cfg.gateway.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.admin.validate(); err != nil {
		return nil, err
	}
	if p.lock, err = lockData(cfg.server.Data); err == nil {
		var token config.Secret
		token, err = cfg.server.token()
		p.server.Authorization = string(token)
	}
	p.fault(err)
	p.api = p.bind("http", cfg.gateway.HTTP)
	p.nats, p.admin = p.bind("nats", cfg.server.NATS), p.bind("admin", cfg.admin.Admin)
	if err := p.err(); err != nil {
		p.close()
		return nil, err
	}
	cfg.gateway.Listener, p.tls = p.api, cfg.gateway.TLS
	return p, nil
}

// url is where the gateway is reached.
func (p *place) url() string { return scheme(p.tls) + p.api.Addr().String() }

// scheme begins the URL of a listener.
func scheme(config *tls.Config) string {
	if config != nil {
		return "https://"
	}
	return "http://"
}

// close gives the place back.
func (p *place) close() {
	p.ports.close()
	if p.inbox != nil {
		_ = p.inbox.Close()
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// onLoopback reports whether a listen address is this machine only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

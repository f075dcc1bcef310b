package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"agentmesh/gateway"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
)

// namingGateway tells the workers of the mesh where a gateway is reached.
func namingGateway(st *store.Store, cfg gateway.Config, at net.Addr, log *slog.Logger) proc.Part {
	host, _ := os.Hostname()
	process := uuid.NewString()
	mine := store.Gateway{Host: host, URL: cfg.PublicURL, Public: cfg.PublicURL != ""}
	if !mine.Public {
		mine.URL = scheme(cfg.TLS) + best(reachable(at)).String()
	}
	return announcing("naming", log, func(ctx context.Context) error {
		return st.Registry.AnnounceGateway(ctx, process, mine)
	}, func(ctx context.Context) error { return st.Registry.WithdrawGateway(ctx, process) })
}

// best is the address that most others reach: not loopback, IPv4 before IPv6.
func best(all []netip.AddrPort) (found netip.AddrPort) {
	rank := func(a netip.AddrPort) int {
		switch ip := a.Addr(); {
		case !ip.IsValid():
			return 0
		case ip.IsLoopback():
			return 1
		case ip.IsLinkLocalUnicast():
			return 2
		case ip.Is6():
			return 3
		}
		return 4
	}
	for _, a := range all {
		if rank(a) > rank(found) {
			found = a
		}
	}
	return found
}

// Times of who looks for a gateway: how long one is believed, and how often it is
// asked while there is none.
const (
	gatewayFor   = 30 * time.Second
	gatewayAgain = time.Second
	gatewayWait  = 2 * time.Second
)

// foundGateway is the gateway that programs of agents call: the one that is set, or
// one that the gateways of the mesh have named.
type foundGateway struct {
	set string
	log *slog.Logger

	mu    sync.Mutex
	st    *store.Store
	asked time.Time
	found string
}

// in has it look in a mesh.
func (f *foundGateway) in(st *store.Store) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st = st
}

// url is that of the gateway; empty: none is known.
func (f *foundGateway) url() string {
	if f.set != "" {
		return f.set
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	since := time.Since(f.asked)
	if f.st == nil || since < gatewayAgain || f.found != "" && since < gatewayFor {
		return f.found
	}
	f.asked = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), gatewayWait)
	defer cancel()
	all, err := f.st.Registry.Gateways(ctx)
	if err != nil {
		f.log.Warn("gateways of the mesh not found, programs of agents are told the one before", "gateway", f.found, "error", err)
		return f.found
	}
	host, _ := os.Hostname()
	f.found = nearest(all, host)
	return f.found
}

// nearest is the gateway that programs on a machine reach: one that its operator has
// named, else one of this machine, else one that is not on the loopback of another.
func nearest(all []store.Gateway, host string) string {
	rank := func(g store.Gateway) int {
		switch u, err := url.Parse(g.URL); {
		case err != nil:
			return 0
		case g.Public:
			return 3
		case g.Host == host:
			return 2
		case !onLoopback(u.Host):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b store.Gateway) int { return rank(b) - rank(a) })
	if len(all) == 0 || rank(all[0]) == 0 {
		return ""
	}
	return all[0].URL
}

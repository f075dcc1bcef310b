package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/go-chi/chi/v5/middleware"
)

// parseProxies reads the networks of the proxies in front of the gateway.
func parseProxies(list string) (networks []string, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if addr, err := netip.ParseAddr(text); err == nil {
			text = netip.PrefixFrom(addr.WithZone(""), addr.BitLen()).String()
		}
		if _, err := netip.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("trusted-proxies has %q, each must be an address or a network such as 10.0.0.0/8", text)
		}
		networks = append(networks, text)
	}
	return networks, nil
}

// clients finds out where requests come from that proxies of ours pass on: the last
// address of X-Forwarded-For that is none of theirs. From anybody else the header
// says nothing.
func clients(proxies []string) func(http.Handler) http.Handler {
	if len(proxies) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return middleware.ClientIPFromXFF(proxies...)
}

// remote is the address that a request comes from.
func remote(r *http.Request) netip.Addr {
	if client := middleware.GetClientIPAddr(r.Context()); client.IsValid() {
		return client
	}
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr().Unmap()
}

// Package sameorigin keeps the pages of other sites away from a listener that asks
// nobody who they are. A browser on the same machine sends whatever a page asks
// for; two things give a foreign page away: the host that it believes to talk to
// (a name that its owner points at loopback, DNS rebinding), and the site that the
// browser says it comes from.
package sameorigin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Reason says why a request is refused.
type Reason int

// The reasons.
const (
	WrongHost Reason = iota // it is meant for another host
	CrossSite               // a page of another site sent it
)

// Rules are what is let in besides programs on this machine.
type Rules struct {
	AnyHost bool     // something in front of the listener has its own names
	Hosts   []string // names besides those of loopback
	Origins []string // sites whose pages may send requests, such as https://app.example.com
}

// Guard serves what the rules let in with next, and the rest with refuse. A
// request that changes nothing (GET, HEAD, OPTIONS) may come from any site: its
// page cannot read the answer.
func Guard(next http.Handler, rules Rules, refuse func(http.ResponseWriter, *http.Request, Reason)) (http.Handler, error) {
	cross := http.NewCrossOriginProtection()
	for _, origin := range rules.Origins {
		if err := cross.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !rules.AnyHost && !rules.ours(r.Host):
			refuse(w, r, WrongHost)
		case cross.Check(r) != nil:
			refuse(w, r, CrossSite)
		default:
			next.ServeHTTP(w, r)
		}
	}), nil
}

// ours reports whether a Host names this machine. A program of the time before
// hosts had names sends none.
func (rules Rules) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return slices.ContainsFunc(rules.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

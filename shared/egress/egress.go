// Package egress guards the requests that the mesh sends to addresses of its
// clients' choice. It refuses what leads into private networks, to cloud
// metadata or back to the mesh itself.
//
// It promises that the same policy holds when a URL is accepted ([Guard.CheckURL])
// and when a connection is made ([Guard.DialContext]): the address that was
// checked is the one that is dialed, whatever a name resolves to in between. Its
// errors tell a client that an address is blocked, never which one. It knows
// neither webhooks nor tasks.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/net/idna"

	"agentmesh/shared/webhook"
)

// Why an address is refused: the errors of package webhook under the names that
// they have here.
var (
	// ErrBlocked is an address that the policy forbids: a permanent error.
	ErrBlocked = webhook.ErrBlocked
	// ErrURL is a URL that is refused for its form, wrapped with what is wrong.
	ErrURL = webhook.ErrURL
)

// Policy says which addresses are allowed beyond the public internet on the
// ports 80 and 443 with https.
type Policy struct {
	// Allow are private networks of the operator's: with any port, and plain http.
	Allow []netip.Prefix
	// Deny are public networks that lead inside, such as the NAT64 prefix of
	// this network.
	Deny []netip.Prefix
	// Own are the names of this mesh, which must not call itself.
	Own []string
	// PlainHTTP allows http to the public internet.
	PlainHTTP bool
	// AnyPort allows any port there.
	AnyPort bool
	// Proxy is the operator's way out; nil: requests go straight. Proxies in the
	// environment are never used.
	Proxy *url.URL
}

// Resolver finds the addresses of a name; net.DefaultResolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Guard holds a policy. It is safe for concurrent use.
type Guard struct {
	policy   Policy
	public   *ssrf.Guardian
	own      *own
	resolver Resolver
	dialer   net.Dialer
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// azure answers for the metadata of its machines at a public address.
var azure = netip.MustParsePrefix("168.63.129.16/32")

const dialTimeout = 5 * time.Second

// New makes the guard of a policy; a nil resolver is net.DefaultResolver.
func New(p Policy, r Resolver) *Guard {
	if r == nil {
		r = net.DefaultResolver
	}
	deny4, deny6 := []netip.Prefix{azure}, []netip.Prefix{}
	for _, d := range p.Deny {
		if d.Addr().Is4() {
			deny4 = append(deny4, d)
		} else {
			deny6 = append(deny6, d)
		}
	}
	ports := ssrf.WithPorts(80, 443)
	if p.AnyPort {
		ports = ssrf.WithAnyPort()
	}
	g := &Guard{policy: p, own: newOwn(), resolver: r, public: ssrf.New(
		ports, ssrf.WithDeniedV4Prefixes(deny4...), ssrf.WithDeniedV6Prefixes(deny6...),
	)}
	g.dialer = net.Dialer{Timeout: dialTimeout, Control: g.Control}
	g.dial = g.dialer.DialContext
	return g
}

// WithDial is a guard of the same policy that makes its connections through
// dial, once it has checked the address: a tunnel, or a test without sockets.
func (g *Guard) WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Guard {
	c := *g
	c.dial = dial
	return &c
}

// maxURL is the longest URL in bytes.
const maxURL = 2048

// CheckURL decides whether a URL may be stored, and returns it as it is sent. It resolves no name: what a name
// means is decided when it is dialed. The error is ErrURL or ErrBlocked.
func (g *Guard) CheckURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("%w: it has %d bytes, allowed are %d", ErrURL, len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: it is malformed", ErrURL)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", u.Hostname() == "":
		return nil, fmt.Errorf("%w: it must look like https://example.com/path", ErrURL)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it has a user name; send credentials in a header", ErrURL)
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, fmt.Errorf("%w: it has a fragment", ErrURL)
	}
	private, err := g.checkHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if addr, ok := literal(u.Hostname()); ok && g.own.denied(addr, portOf(u.Port(), u.Scheme)) {
		return nil, ErrBlocked
	}
	if u.Scheme == "http" && !private && !g.policy.PlainHTTP {
		return nil, fmt.Errorf("%w: it must be https", ErrURL)
	}
	if p := u.Port(); p != "" {
		port, err := strconv.ParseUint(p, 10, 16)
		switch {
		case (err != nil || port != 80 && port != 443) && !private && !g.policy.AnyPort:
			return nil, fmt.Errorf("%w: port %s; allowed are 80 and 443", ErrURL, p)
		case err != nil || port == 0:
			return nil, fmt.Errorf("%w: there is no port %s", ErrURL, p)
		}
	}
	u.RawQuery = encoded(u.RawQuery)
	return u, nil
}

// encoded escapes what no request line may have: blanks and bytes beyond ASCII.
// The rest of a query is the client's own.
func encoded(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// literal is the address that a host means without being looked up.
func literal(host string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, true
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(strings.ToLower(host), "."))
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}), err == nil && loopbackName(name)
}

// loopbackName reports whether a name means this host by convention.
func loopbackName(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last == "localhost" || last == "localdomain" || name == "ip6-localhost" || name == "ip6-loopback"
}

// checkHost decides on a name or an address literal. private says that it is
// one that the operator allows.
func (g *Guard) checkHost(host string) (private bool, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.allowed(addr), g.checkAddr(addr)
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(strings.ToLower(host), "."))
	if err != nil || name == "" {
		return false, fmt.Errorf("%w: host %q is no name", ErrURL, host)
	}
	labels := strings.Split(name, ".")
	switch last := labels[len(labels)-1]; {
	case numeric(last): // an address in a form of other resolvers
		return false, ErrBlocked
	case loopbackName(name):
		if g.allowed(netip.MustParseAddr("127.0.0.1")) {
			return true, nil
		}
		return false, ErrBlocked
	case slices.ContainsFunc(g.policy.Own, func(own string) bool { return strings.EqualFold(strings.TrimSuffix(own, "."), name) }):
		return false, ErrBlocked
	}
	return false, nil
}

// numeric reports whether a label could end an address: digits, or 0x and hex.
func numeric(label string) bool {
	digits := "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = rest, digits+"abcdef"
	}
	return strings.Trim(label, digits) == ""
}

// allowed reports whether the operator allows a private address. One that is
// translated to IPv4 is allowed if that one is, too.
func (g *Guard) allowed(addr netip.Addr) bool {
	if addr.Zone() != "" || !slices.ContainsFunc(g.policy.Allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return false
	}
	if !slices.ContainsFunc(nat64, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return true
	}
	b := addr.As16()
	return g.checkAddr(netip.AddrFrom4([4]byte(b[12:]))) == nil
}

// nat64 are the prefixes for translation to IPv4 (RFC 6052, RFC 8215). Networks of
// 96 bits within them carry the IPv4 address at the end.
var nat64 = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48")}

// checkAddr decides on an address.
func (g *Guard) checkAddr(addr netip.Addr) error {
	switch {
	case g.allowed(addr):
		return nil
	case isatap(addr), g.public.SafeAddr(addr) != nil:
		return ErrBlocked
	}
	return nil
}

// isatap reports whether the last 64 bits carry an IPv4 address (RFC 5214, 6.1):
// such an address leads wherever that one does.
func isatap(addr netip.Addr) bool {
	if !addr.Is6() {
		return false
	}
	b := addr.As16()
	return (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// Control refuses connections that the policy forbids. It is the Control of a
// net.Dialer, called with the address itself right before the connect.
func (g *Guard) Control(network, address string, c syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || g.own.denied(ap.Addr(), ap.Port()) {
		return ErrBlocked
	}
	if g.allowed(ap.Addr()) && (network == "tcp4" || network == "tcp6") {
		return nil
	}
	if isatap(ap.Addr()) || g.public.Safe(network, address, c) != nil {
		return ErrBlocked
	}
	return nil
}

// DialContext connects to host:port of a checked URL. Every address of a name
// must be allowed, or none is dialed. ErrBlocked is permanent; any other error
// may pass.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	addrs, err := g.checked(ctx, host, portOf(port, ""))
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	for _, a := range addrs {
		if conn, err = g.dial(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
		if errors.Is(err, ErrBlocked) {
			return nil, ErrBlocked
		}
	}
	return nil, fmt.Errorf("dial %s: %w", host, err)
}

// checked resolves a host to addresses that are all allowed.
func (g *Guard) checked(ctx context.Context, host string, port uint16) ([]netip.Addr, error) {
	if _, err := g.checkHost(host); err != nil {
		return nil, ErrBlocked
	}
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if g.checkAddr(a) != nil || g.own.denied(a, port) {
			return nil, ErrBlocked
		}
	}
	return addrs, nil
}

func (g *Guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, "."))
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolve %s: it has no address", host)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap() // the resolver may write IPv4 either way
	}
	return addrs, nil
}

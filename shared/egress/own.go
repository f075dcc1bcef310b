package egress

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// own are the listeners of the mesh itself. Nothing is sent to them, whatever the
// operator allows: a callback that comes back makes work of the outcome of work,
// and the admin listener answers whoever reaches it.
type own struct {
	interfaces func() ([]net.Addr, error)

	mu     sync.RWMutex
	here   map[uint16]bool         // ports of this process
	beside map[uint16]bool         // of other processes on this host
	there  map[netip.AddrPort]bool // listeners on other hosts
}

func newOwn() *own {
	return &own{interfaces: net.InterfaceAddrs, here: map[uint16]bool{}}
}

// DenyOwn has the guard, and those made from it, refuse listeners of this process:
// their port at every address of this host, however it is spelled.
func (g *Guard) DenyOwn(listeners ...net.Addr) {
	g.own.mu.Lock()
	defer g.own.mu.Unlock()
	for _, l := range listeners {
		if tcp, ok := l.(*net.TCPAddr); ok && tcp != nil {
			g.own.here[uint16(tcp.Port)] = true
		}
	}
}

// DenyNeighbours has the guard refuse the listeners of the other processes of the
// mesh, in place of those before: on this host by their ports, elsewhere by their
// addresses.
func (g *Guard) DenyNeighbours(here, there []netip.AddrPort) {
	beside, far := map[uint16]bool{}, map[netip.AddrPort]bool{}
	for _, a := range here {
		beside[a.Port()] = true
	}
	for _, a := range there {
		far[a] = true
	}
	g.own.mu.Lock()
	defer g.own.mu.Unlock()
	g.own.beside, g.own.there = beside, far
}

// denied reports whether an address is a listener of the mesh.
func (o *own) denied(addr netip.Addr, port uint16) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	addr = plain(addr)
	return o.there[netip.AddrPortFrom(addr, port)] || (o.here[port] || o.beside[port]) && o.local(addr)
}

// plain is the address that another one stands for.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if slices.ContainsFunc(nat64, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// local reports whether an address leads to this host. To connect to the
// unspecified address is to connect to the loopback one.
func (o *own) local(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	all, err := o.interfaces()
	if err != nil {
		return true // not known: rather not
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		return ok && ip.Unmap() == addr
	})
}

// portOf reads a port, or takes that of the scheme.
func portOf(text, scheme string) uint16 {
	if text == "" && scheme == "http" {
		return 80
	}
	if text == "" {
		return 443
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// everywhere is an operator who allows whatever leads to this host.
func everywhere() []netip.Prefix {
	var all Prefixes
	if err := all.UnmarshalText([]byte("0.0.0.0/0,::/0")); err != nil {
		panic(err)
	}
	return all
}

// A listener of the mesh is refused by any spelling of its address, when the URL is
// accepted where it says so, and when it is dialed in any case; the same hosts
// with another port are not.
func TestOwnListenersAreDenied(t *testing.T) {
	const mine, other = 443, 80
	for host, early := range map[string]bool{
		"127.0.0.1": true, "127.0.0.2": true, "127.255.255.254": true, "0.0.0.0": true,
		"[::1]": true, "[::]": true, "[::ffff:127.0.0.1]": true, "[::ffff:7f00:1]": true, "[64:ff9b::7f00:1]": true, "[64:ff9b::c0a8:705]": true,
		"192.168.7.5": true, "[::ffff:192.168.7.5]": true, "[fd00::5]": true, "[fe80::5]": true,
		"localhost": true, "LOCALHOST": true, "localhost.": true, "a.localhost": true, "ip6-localhost": true, "ip6-loopback": true, "localhost.localdomain": true,
		"mesh.example.com": false, // resolves to this host
		"both.example.com": false, // one of its addresses is this host
	} {
		t.Run(host, func(t *testing.T) {
			resolver := &names{answers: [][]string{{"192.168.7.5"}}}
			switch {
			case host == "both.example.com":
				resolver.answers = [][]string{{"198.51.100.7", "::1"}}
			case strings.Contains(strings.ToLower(host), "local") || strings.HasPrefix(host, "ip6-"):
				resolver.answers = [][]string{{"127.0.0.1"}}
			}
			g := New(Policy{Allow: everywhere(), PlainHTTP: true}, resolver)
			g.DenyOwn(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: mine})
			g.own.interfaces = func() ([]net.Addr, error) {
				return []net.Addr{&net.IPNet{IP: net.ParseIP("192.168.7.5")}, &net.IPNet{IP: net.ParseIP("fd00::5")}, &net.IPNet{IP: net.ParseIP("fe80::5")}}, nil
			}
			var dialed []string
			dial := g.WithDial(func(_ context.Context, network, address string) (net.Conn, error) {
				dialed = append(dialed, address)
				return nil, errRefused
			})
			for _, port := range []int{mine, other} {
				at := strings.Trim(host, "[]")
				_, err := g.CheckURL("http://" + host + ":" + strconv.Itoa(port) + "/sessions")
				if blocked := errors.Is(err, ErrBlocked); blocked != (early && port == mine) {
					t.Errorf("CheckURL with port %d: %v", port, err)
				}
				_, err = dial.DialContext(t.Context(), "tcp", net.JoinHostPort(at, strconv.Itoa(port)))
				if blocked := errors.Is(err, ErrBlocked); blocked != (port == mine) {
					t.Errorf("DialContext with port %d: %v", port, err)
				}
				if addr, err := netip.ParseAddr(at); err == nil {
					err := g.Control("tcp6", netip.AddrPortFrom(addr, uint16(port)).String(), nil)
					if blocked := errors.Is(err, ErrBlocked); blocked != (port == mine) {
						t.Errorf("Control with port %d: %v", port, err)
					}
				}
			}
			for _, address := range dialed {
				if strings.HasSuffix(address, ":"+strconv.Itoa(mine)) {
					t.Errorf("dialed %s", address)
				}
			}
		})
	}
}

// The same behind a proxy, and where the port is that of the scheme.
func TestOwnListenersAreDeniedThroughAProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := New(Policy{Allow: everywhere(), PlainHTTP: true, Proxy: u}, &names{answers: [][]string{{"127.0.0.1"}}})
	g.DenyOwn(&net.TCPAddr{IP: net.IPv4zero, Port: 80})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://mesh.example.com/sessions", nil)
	if err != nil {
		t.Fatal(err)
	}
	transports := NewTransports(g)
	defer transports.Close()
	if resp, err := transports.Do(req, "a", Identity{}); !errors.Is(err, ErrBlocked) {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := g.CheckURL("http://localhost/sessions"); !errors.Is(err, ErrBlocked) {
		t.Errorf("CheckURL: %v", err)
	}
}

// Listeners of the mesh on other machines are refused at their addresses, and no
// other port or address with them; the newest word counts.
func TestListenersElsewhereAreDenied(t *testing.T) {
	g := New(Policy{Allow: everywhere(), PlainHTTP: true}, nil)
	at := netip.MustParseAddrPort
	g.DenyNeighbours(nil, []netip.AddrPort{at("10.0.0.5:8080"), at("[fd00::7]:9090")})
	check := func(want map[string]bool) {
		t.Helper()
		for url, blocked := range want {
			if _, err := g.CheckURL("http://" + url + "/"); errors.Is(err, ErrBlocked) != blocked {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
	check(map[string]bool{
		"10.0.0.5:8080": true, "[::ffff:10.0.0.5]:8080": true, "[64:ff9b::a00:5]:8080": true, "[fd00::7]:9090": true,
		"10.0.0.5:8081": false, "10.0.0.6:8080": false, "127.0.0.1:8080": false,
	})
	g.DenyNeighbours([]netip.AddrPort{at("127.0.0.1:8080")}, nil)
	check(map[string]bool{"10.0.0.5:8080": false, "127.0.0.1:8080": true, "localhost:8080": true})
}

// Characters that a request line may not have arrive escaped, the rest of a query
// as it is.
func TestQueriesArrive(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI }))
	defer srv.Close()
	g := New(Policy{Allow: Loopback()}, nil)
	transports := NewTransports(g)
	defer transports.Close()
	for query, want := range map[string]string{
		"a=b c": "a=b%20c", "name=Zoë": "name=Zo%C3%AB", "x=\xff": "x=%FF", "q=東京&a= ": "q=%E6%9D%B1%E4%BA%AC&a=%20",
		"a=b+c%20d%": "a=b+c%20d%", `sig={"x":[1]}|~'`: `sig={"x":[1]}|~'`, "": "", "a;b=1&&": "a;b=1&&",
	} {
		u, err := g.CheckURL(srv.URL + "/hook?" + query)
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got = ""
		resp, err := transports.Do(req, "a", Identity{})
		if err != nil || resp.StatusCode != http.StatusOK || got != "/hook?"+want {
			t.Errorf("%q arrived as %q: %+v, %v", query, got, resp, err)
			continue
		}
		_ = resp.Body.Close()
	}
}

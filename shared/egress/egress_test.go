package egress

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// No test dials a hostile or a public address: the recorder asks the guard and
// refuses in every case.
var errRefused = errors.New("refused by the test")

type recorder struct {
	guard *Guard
	mu    sync.Mutex
	seen  []string // addresses that the guard would have let through
	asked int
}

func (r *recorder) control(network, address string, c syscall.RawConn) error {
	err := r.guard.Control(network, address, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked++; err == nil {
		r.seen = append(r.seen, address)
		return errRefused
	}
	return err
}

// names answers lookups: one list for each successive query, the last repeats.
type names struct {
	answers [][]string
	err     error
	queries int
}

func (n *names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if n.err != nil {
		return nil, n.err
	}
	list := n.answers[min(n.queries, len(n.answers)-1)]
	n.queries++
	var addrs []netip.Addr
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

func public() *names { return &names{answers: [][]string{{"1.1.1.1"}}} }

func recorded(p Policy, r Resolver) (*Guard, *recorder) {
	g := New(p, r)
	rec := &recorder{guard: g}
	g.dialer.Control = rec.control
	return g, rec
}

func load[T any](t *testing.T, name string) (v T) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// formOnly are the cases whose form is refused, not their address.
var formOnly = map[string]bool{"59": true, "61": true, "E4": true, "67d": true, "70": true, "71": true, "72": true}

func TestURLs(t *testing.T) {
	for _, c := range load[[]struct{ ID, URL, Want, Why, If string }](t, "urls.json") {
		t.Run(c.ID, func(t *testing.T) {
			policy := Policy{PlainHTTP: c.If != "https only"}
			switch c.If {
			case "deny 2a01:4f8:64::/96":
				policy.Deny = []netip.Prefix{netip.MustParsePrefix("2a01:4f8:64::/96")}
			case "own host mesh.example":
				policy.Own = []string{"mesh.example"}
			}
			raw := strings.Replace(c.URL, "{2048 x a}", strings.Repeat("a", 2048), 1)
			g, rec := recorded(policy, public())
			u, err := g.CheckURL(raw)
			if (err == nil) != (c.Want == "ok") || err != nil && !errors.Is(err, ErrURL) && !errors.Is(err, ErrBlocked) {
				t.Errorf("%s: %v, want %s (%s)", raw, err, c.Want, c.Why)
			}
			if _, parse := url.Parse(raw); (parse != nil) != (c.Want == "parse") {
				t.Errorf("%s: parsed with %v", raw, parse)
			}
			if c.Want == "ok" {
				if _, err := g.DialContext(t.Context(), "tcp", u.Hostname()+":443"); !errors.Is(err, errRefused) || rec.asked != 1 {
					t.Errorf("offered to Control %d times, %v", rec.asked, err)
				}
				return
			}
			// A stored record may have bypassed the check.
			if u, err = url.Parse(raw); err != nil || u.Hostname() == "" || formOnly[c.ID] {
				return
			}
			port := u.Port()
			if port == "" {
				port = map[string]string{"http": "80"}[u.Scheme]
			}
			if port == "" {
				port = "443"
			}
			if _, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort(u.Hostname(), port)); err == nil || len(rec.seen) > 0 {
				t.Errorf("dialed %v (%s), %v", rec.seen, c.Why, err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	g := New(Policy{}, nil)
	list := load[struct{ Deny, Allow []string }](t, "addresses.json")
	for _, a := range list.Deny {
		if err := g.checkAddr(netip.MustParseAddr(a)); !errors.Is(err, ErrBlocked) {
			t.Errorf("%s is allowed", a)
		}
	}
	for _, a := range list.Allow {
		if err := g.checkAddr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestNames(t *testing.T) {
	timeout := &net.DNSError{Err: "timeout", IsTimeout: true}
	for id, tt := range map[string]struct {
		names   *names
		blocked bool
	}{
		"76":        {&names{answers: [][]string{{"10.0.0.5"}}}, true},
		"78":        {&names{answers: [][]string{{"8.8.8.8", "10.0.0.1"}}}, true},
		"79a":       {&names{answers: [][]string{{"::1"}}}, true},
		"79b":       {&names{answers: [][]string{{"::ffff:10.0.0.1"}}}, true},
		"80 and 83": {&names{answers: [][]string{{"169.254.169.254"}}}, true},
		"81":        {&names{answers: [][]string{{}}}, false},
		"82":        {&names{err: timeout}, false},
		"84":        {&names{answers: [][]string{{"64:ff9b::808:808"}}}, true},
	} {
		g, rec := recorded(Policy{}, tt.names)
		_, err := g.DialContext(t.Context(), "tcp", "cb.test:443")
		if err == nil || errors.Is(err, ErrBlocked) != tt.blocked || rec.asked > 0 {
			t.Errorf("%s: %v, asked %d times", id, err, rec.asked)
		}
		if tt.blocked && err.Error() != ErrBlocked.Error() {
			t.Errorf("%s: the error tells more: %v", id, err)
		}
	}
	// 84, opted in: the address that it is translated to must be allowed itself.
	nat := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/96")}}
	for answer, ok := range map[string]bool{
		"64:ff9b::808:808": true, "64:ff9b:1::808:808": true,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b::a83f:8110": false, "64:ff9b:1::a00:1": false,
	} {
		g, rec := recorded(nat, &names{answers: [][]string{{answer}}})
		if _, err := g.DialContext(t.Context(), "tcp", "cb.test:443"); errors.Is(err, ErrBlocked) == ok || (len(rec.seen) == 1) != ok {
			t.Errorf("84, %s: %v, asked for %v", answer, err, rec.seen)
		}
		if _, err := g.CheckURL("https://[" + answer + "]/"); (err == nil) != ok {
			t.Errorf("84, %s: accepted with %v", answer, err)
		}
	}
	// 77: what is dialed is what was checked; the next dial is checked again.
	g, rec := recorded(Policy{}, &names{answers: [][]string{{"1.1.1.1"}, {"127.0.0.1"}}})
	if _, err := g.DialContext(t.Context(), "tcp", "cb.test:443"); !errors.Is(err, errRefused) || rec.seen[0] != "1.1.1.1:443" {
		t.Errorf("77: %v, %v", rec.seen, err)
	}
	if _, err := g.DialContext(t.Context(), "tcp", "cb.test:443"); !errors.Is(err, ErrBlocked) || rec.asked != 1 {
		t.Errorf("77, rebound: %v, asked %d times", err, rec.asked)
	}
}

// Networks that the operator allows are open with any port and plain http;
// nothing else is, and no redirect or proxy of the environment changes it.
func TestPrivateNetworks(t *testing.T) {
	loopback := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	g := New(loopback, nil)
	for raw, ok := range map[string]bool{
		"http://127.0.0.1:9000/cb": true, "http://localhost:9000/cb": true, "https://[::1]:9000/": true, "http://10.0.0.1/": false,
		"http://[::ffff:127.0.0.1]/": false, "http://example.com/": false, "https://example.com:9000/": false, "http://2130706433/": false,
	} {
		if _, err := g.CheckURL(raw); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	listener := srv.Listener.Addr().String()
	conn, err := g.DialContext(t.Context(), "tcp", listener)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	strict, rec := recorded(Policy{}, nil)
	if _, err := strict.DialContext(t.Context(), "tcp", listener); !errors.Is(err, ErrBlocked) || len(rec.seen) > 0 {
		t.Errorf("without the operator: %v", err)
	}
}

// Nothing that is accepted names what the guard would refuse to dial.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.com/", "http://127.0.0.1", "https://[::1%25lo]/", "https://0x7f.1/", "https://①②⑦.⓪.⓪.①/", "https://a@b/", "https://x:0/"} {
		f.Add(seed)
	}
	g := New(Policy{PlainHTTP: true}, nil)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := g.CheckURL(raw)
		if err != nil {
			if !errors.Is(err, ErrURL) && !errors.Is(err, ErrBlocked) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && g.checkAddr(addr) != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("accepted %q", raw)
		}
	})
}

func TestAnyPortIsAnyPortOfThePublicInternetOnly(t *testing.T) {
	strict, wide := New(Policy{}, nil), New(Policy{AnyPort: true}, nil)
	const login, address = "https://login.example.com:8443/", "93.184.215.14:8443"
	if _, err := strict.CheckURL(login); err == nil || strict.Control("tcp4", address, nil) == nil {
		t.Error("it is allowed without AnyPort")
	}
	if _, err := wide.CheckURL(login); err != nil || wide.Control("tcp4", address, nil) != nil {
		t.Errorf("it is not allowed: %v", err)
	}
	for _, inside := range []string{"10.0.0.5:8443", "169.254.169.254:8443", "127.0.0.1:8443"} {
		if wide.Control("tcp4", inside, nil) == nil {
			t.Errorf("AnyPort opens %s", inside)
		}
	}
}

// A port that no connection can have is refused when the URL is stored, also in a
// network of the operator's: each attempt would fail.
func TestAPortThatThereIsNotIsRefused(t *testing.T) {
	guard := New(Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AnyPort: true}, public())
	for port, want := range map[string]error{":1": nil, ":65535": nil, ":": nil, "": nil, ":0": ErrURL, ":65536": ErrURL, ":99999": ErrURL, ":00000080": nil} {
		for _, host := range []string{"127.0.0.1", "example.com"} {
			if _, err := guard.CheckURL("https://" + host + port + "/x"); !errors.Is(err, want) {
				t.Errorf("%s%s: %v, want %v", host, port, err, want)
			}
		}
	}
}

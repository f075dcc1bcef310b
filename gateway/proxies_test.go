package gateway_test

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
)

type sees struct{ addr netip.Addr }

func (s *sees) Authenticate(_ context.Context, c auth.Credentials) (auth.Caller, error) {
	s.addr = c.Addr
	return auth.Caller{}, auth.ErrNoCredentials
}

// Behind a proxy each caller has an address of its own: else one of them could lock
// out all the others. Nobody else says where he comes from.
func TestOnlyATrustedProxySaysWhereARequestComesFrom(t *testing.T) {
	m := meshtest.New(t)
	seen := &sees{}
	cfg := gateway.Default()
	cfg.HTTP, cfg.Auth, cfg.Authenticator, cfg.TrustedProxies = "127.0.0.1:0", "keys", seen, "10.0.0.0/8, 192.0.2.9"
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, tt := range []struct{ from, header, want string }{
		{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"}, // no proxy of ours
		{"10.1.2.3:1", "198.51.100.7", "198.51.100.7"},
		{"192.0.2.9:1", "198.51.100.7", "198.51.100.7"},
		{"10.1.2.3:1", "203.0.113.1, 198.51.100.7, 10.9.9.9", "198.51.100.7"}, // what the client said stands before
		{"[::ffff:10.1.2.3]:1", "198.51.100.7", "198.51.100.7"},
		{"10.1.2.3:1", "", "10.1.2.3"},
		{"10.1.2.3:1", "nonsense", "10.1.2.3"},
	} {
		r := httptest.NewRequest("GET", "/whoami", nil)
		r.RemoteAddr = tt.from
		if tt.header != "" {
			r.Header.Set("X-Forwarded-For", tt.header)
		}
		g.Handler().ServeHTTP(httptest.NewRecorder(), r)
		if seen.addr != netip.MustParseAddr(tt.want) {
			t.Errorf("from %s with %q: %v, want %s", tt.from, tt.header, seen.addr, tt.want)
		}
	}
	for _, bad := range []string{"proxy", "10.0.0.0/33", "10.0.0"} {
		cfg.TrustedProxies = bad
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "trusted-proxies") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

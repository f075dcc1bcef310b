package egress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// ErrProxy is a fault of the operator's own proxy, not of the receiver.
var ErrProxy = errors.New("the egress proxy does not answer")

// ErrTLS is a client certificate or certificate authority that is refused,
// wrapped with what is wrong.
var ErrTLS = errors.New("the certificate is not allowed")

// Identity is what a receiver is shown and must show: PEM, each may be empty.
type Identity struct {
	Certificate string // of the client, its chain after it
	Key         string // of the client
	CA          string // trusted for the receiver instead of the system's
}

// Check says what is wrong with an identity. The error is ErrTLS.
func (i Identity) Check() error { _, err := i.config(); return err }

// Expired reports whether the certificate is past its time.
func (i Identity) Expired(now time.Time) bool {
	if i.Certificate == "" {
		return false
	}
	pair, err := tls.X509KeyPair([]byte(i.Certificate), []byte(i.Key))
	return err == nil && pair.Leaf != nil && now.After(pair.Leaf.NotAfter)
}

func (i Identity) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (i.Certificate == "") != (i.Key == "") {
		return nil, fmt.Errorf("%w: a client certificate needs its key, and the key its certificate", ErrTLS)
	}
	if i.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(i.Certificate), []byte(i.Key))
		if err != nil {
			return nil, fmt.Errorf("%w: the client certificate and its key must be PEM and belong together", ErrTLS)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if i.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(i.CA)) {
			return nil, fmt.Errorf("%w: the certificate authority must be PEM", ErrTLS)
		}
	}
	return c, nil
}

// Limits of one request.
const (
	tlsTimeout       = 5 * time.Second
	headerTimeout    = 15 * time.Second
	maxHeader        = 64 << 10
	maxTransports    = 64
	idlePerHost      = 10
	idleConnections  = 512
	idleConnsTimeout = 30 * time.Second
)

// Transports keeps connections for reuse: one pool for each tenant and identity,
// so that a connection never serves two of them. It is safe for concurrent use.
type Transports struct {
	guard *Guard

	mu    sync.Mutex
	pools map[[sha256.Size]byte]*http.Transport
	used  [][sha256.Size]byte // least recently used first
}

// NewTransports makes transports that a guard watches over.
func NewTransports(g *Guard) *Transports {
	return &Transports{guard: g, pools: map[[sha256.Size]byte]*http.Transport{}}
}

// Do sends one request: no redirect is followed, nothing is decompressed, no
// credentials of ours are added. Besides the errors of http.RoundTripper it
// returns ErrBlocked, ErrProxy and ErrTLS.
func (t *Transports) Do(req *http.Request, tenant string, id Identity) (*http.Response, error) {
	pool, err := t.pool(tenant, id)
	if err != nil {
		return nil, err
	}
	if t.guard.policy.Proxy != nil {
		// The proxy resolves the name itself; the addresses that it has here must
		// be allowed at least.
		if _, err := t.guard.checked(req.Context(), req.URL.Hostname(), portOf(req.URL.Port(), req.URL.Scheme)); errors.Is(err, ErrBlocked) {
			return nil, err
		}
	}
	resp, err := pool.RoundTrip(req)
	if err == nil && t.guard.policy.Proxy != nil && resp.StatusCode == http.StatusProxyAuthRequired {
		_ = resp.Body.Close()
		return nil, ErrProxy
	}
	var op *net.OpError
	if err != nil && t.guard.policy.Proxy != nil && errors.As(err, &op) && op.Op == "proxyconnect" {
		return nil, fmt.Errorf("%w: %w", ErrProxy, err)
	}
	return resp, err
}

// Close drops the idle connections.
func (t *Transports) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pool := range t.pools {
		pool.CloseIdleConnections()
	}
}

func (t *Transports) pool(tenant string, id Identity) (*http.Transport, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%d:%s%s", len(tenant), tenant, len(id.Certificate), id.Certificate, len(id.Key), id.Key, id.CA))
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.used, key); i >= 0 {
		t.used = append(slices.Delete(t.used, i, i+1), key)
		return t.pools[key], nil
	}
	pool, err := t.guard.transport(id)
	if err != nil {
		return nil, err
	}
	t.pools[key], t.used = pool, append(t.used, key)
	if len(t.used) > maxTransports {
		t.pools[t.used[0]].CloseIdleConnections()
		delete(t.pools, t.used[0])
		t.used = t.used[1:]
	}
	return pool, nil
}

func (g *Guard) transport(id Identity) (*http.Transport, error) {
	config, err := id.config()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext: g.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DisableCompression:  true, // a short answer must not unpack to a long one
		TLSHandshakeTimeout: tlsTimeout, ResponseHeaderTimeout: headerTimeout, MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: idleConnsTimeout,
	}
	if proxy := g.policy.Proxy; proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
		t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext // the operator's own address
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			switch resp.StatusCode {
			case http.StatusOK:
				return nil
			case http.StatusBadGateway, http.StatusGatewayTimeout: // the proxy is well, the receiver is not
				return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("the egress proxy answered %d", resp.StatusCode)}
			}
			return fmt.Errorf("%w: it answered %d", ErrProxy, resp.StatusCode)
		}
	}
	return t, nil
}

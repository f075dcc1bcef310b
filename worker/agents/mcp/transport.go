package mcp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/egress"
	"agentmesh/shared/pause"
	"agentmesh/worker/agents/exec"
)

// guard keeps requests away from what no server of an operator is: the metadata of a
// cloud, for one, whatever a name resolves to. Private networks are allowed, as the
// address comes from the operator's file.
var guard = sync.OnceValue(func() *egress.Guard {
	return egress.New(egress.Policy{Allow: egress.Private(), PlainHTTP: true, AnyPort: true}, nil)
})

// maxRetry is the longest that a server may put off the next attempt.
const maxRetry = time.Hour

// transport makes the way to the server, without going it yet.
func (c *Client) transport(s *session) (sdk.Transport, error) {
	if len(c.cfg.Command) == 0 {
		way := http.DefaultTransport.(*http.Transport).Clone()
		way.DialContext = guard().DialContext
		s.stop = way.CloseIdleConnections
		return &sdk.StreamableClientTransport{
			Endpoint: c.cfg.URL, MaxEventSize: maxMessage, MaxRetries: -1, DisableStandaloneSSE: true,
			HTTPClient: &http.Client{
				Transport:     &courier{way: way, headers: c.cfg.Headers, s: s},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		}, nil
	}
	p, err := program(c.cfg).Start(c.o.Log.With("mcp_server", c.place))
	if err != nil {
		return nil, err
	}
	s.stop, s.piped = p.Stop, true
	return &sdk.IOTransport{Reader: p.Out(), Writer: p.In(), MaxLineLength: maxMessage}, nil
}

// basics are the variables of a minimal environment.
var basics = []string{"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TZ", "TMPDIR"}

var windowsBasics = []string{"APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE"}

// program is the command of a server with its environment, which has nothing of the
// worker's but what programs cannot do without.
func program(cfg Config) exec.Program {
	names := basics
	if runtime.GOOS == "windows" {
		names = windowsBasics
	}
	p := exec.Program{Command: cfg.Command, Dir: cfg.Dir}
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			p.Env = append(p.Env, name+"="+v)
		}
	}
	for k, v := range cfg.Env {
		p.Env = append(p.Env, k+"="+v)
	}
	slices.Sort(p.Env)
	return p
}

// probe sees what became of a request on its way.
type probe struct {
	sent     atomic.Bool // it may have reached the server
	tooLarge atomic.Bool
	status   atomic.Int64
	after    atomic.Int64 // Retry-After
}

type probeKey struct{}

func probing(ctx context.Context) (context.Context, *probe) {
	p := &probe{}
	return context.WithValue(ctx, probeKey{}, p), p
}

func probeOf(ctx context.Context) *probe {
	if p, ok := ctx.Value(probeKey{}).(*probe); ok {
		return p
	}
	return &probe{}
}

// courier carries requests over HTTP: it adds what the SDK does not, and bounds what
// comes back.
type courier struct {
	way     *http.Transport
	headers map[string]string
	s       *session
}

// RoundTrip implements http.RoundTripper.
func (c *courier) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	if version := c.s.agreed(); version != "" && req.Header.Get("Mcp-Protocol-Version") == "" {
		req.Header.Set("Mcp-Protocol-Version", version)
	}
	if id, ok := req.Context().Value(taskKey{}).(string); ok && strings.HasPrefix(req.Header.Get("Mcp-Method"), "tasks/") {
		req.Header.Set("Mcp-Name", id)
	}
	p := probeOf(req.Context())
	resp, err := c.way.RoundTrip(req)
	if err != nil {
		if notSent(err) {
			p.sent.Store(false)
		}
		return nil, err
	}
	p.status.Store(int64(resp.StatusCode))
	p.after.Store(int64(pause.RetryAfter(resp.Header, time.Now(), maxRetry)))
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		resp.Body = &bounded{ReadCloser: resp.Body, left: maxMessage, p: p}
	}
	return resp, nil
}

// taskKey is where a request has the task that it is about.
type taskKey struct{}

// bounded ends a body that is over the limit with an error.
type bounded struct {
	io.ReadCloser
	left int64
	p    *probe
}

var errTooLarge = errors.New("the answer is over the limit")

// Read implements io.Reader.
func (b *bounded) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	if b.left -= int64(n); b.left < 0 {
		b.p.tooLarge.Store(true)
		return 0, errTooLarge
	}
	return n, err
}

package inspect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/egress"
)

// Target is what is inspected over HTTP.
type Target struct {
	URL     string
	Headers http.Header  // for this host
	Client  *http.Client // nil: one that keeps away from the metadata of clouds
}

// Bounds of an answer.
const (
	maxAnswer   = 4 << 20
	answerIn    = 10 * time.Second
	mediaJSON   = "application/json"
	mediaStream = "text/event-stream"
)

// guard keeps requests away from what no agent is. Private networks are allowed: the
// address is the operator's.
var guard = sync.OnceValue(func() *egress.Guard {
	return egress.New(egress.Policy{Allow: egress.Private(), PlainHTTP: true, AnyPort: true}, nil)
})

var guarded = sync.OnceValue(func() http.RoundTripper {
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.DialContext = guard().DialContext
	return way
})

// Check says what is wrong with an address, before anything is asked.
func (t Target) Check() error {
	if t.Client != nil {
		return nil
	}
	_, err := guard().CheckURL(t.URL)
	return err
}

// Any finds out what an address is, and inspects that.
func (t Target) Any(ctx context.Context) Report {
	switch u, err := url.Parse(t.URL); {
	case err == nil && strings.HasSuffix(u.Path, ".json"):
		return t.Card(ctx)
	case err == nil && strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/mcp"):
		return t.MCP(ctx)
	}
	card, err := t.do(ctx, http.MethodGet, cardURL(t.URL), nil, http.Header{"Accept": {mediaJSON}})
	if err == nil && card.status == http.StatusOK && strings.HasPrefix(strings.TrimSpace(string(card.body)), "{") {
		return t.Card(ctx)
	}
	server := t.MCP(ctx)
	if server.Name != "" || server.OK {
		return server
	}
	r := newReport(Unknown, Place(t.URL))
	if err != nil {
		r.fault("card", "%s is not reached: %v", Place(cardURL(t.URL)), err)
	} else {
		r.fault("card", "GET %s answers %s%s", Place(cardURL(t.URL)), card, moved(card))
	}
	r.Rows = append(r.Rows, server.Rows...)
	return r.done()
}

// Place is a URL without what may be a secret.
func Place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a malformed URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// answer is one of HTTP.
type answer struct {
	status int
	header http.Header
	media  string
	body   []byte
}

func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))
}

// secret says that credentials are asked for.
func (a answer) secret() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
}

// do makes one request. Of a stream the first event with data is the body.
func (t Target) do(ctx context.Context, method, address string, body any, header http.Header) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return a, err
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return a, errors.New("the address is malformed")
	}
	if req.URL.Host == hostOf(t.URL) {
		for name, values := range t.Headers {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", mediaJSON)
	}
	client := http.Client{Transport: guarded()}
	if t.Client != nil {
		client = *t.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return a, plain(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	a.status, a.header = resp.StatusCode, resp.Header
	a.media, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if a.media == mediaStream {
		a.body, err = lastEvent(io.LimitReader(resp.Body, maxAnswer))
	} else {
		a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	}
	if err == nil && len(a.body) > maxAnswer {
		err = fmt.Errorf("the answer is over %d bytes", maxAnswer)
	}
	return a, plain(ctx, err)
}

// plain is an error without the URL, which may hold a key.
func plain(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("there is no answer within %v", answerIn)
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// moved says what a redirect means.
func moved(a answer) string {
	if a.status < 300 || a.status >= 400 {
		return ""
	}
	return "; redirects are not followed, it leads to " + Place(cmp.Or(a.header.Get("Location"), "nowhere"))
}

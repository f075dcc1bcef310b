// Package a2a runs an agent of others as an agent of the mesh: one message of A2A 1.0
// for each task, over JSON-RPC or HTTP+JSON as its card says.
//
// It promises that a task is sent once: the id of the remote task is in the journal
// before it is waited for, so a later attempt goes on with it; and where the answer to
// a message was lost, the context, which is the task's own, is searched before it is
// sent again, under the same id and Idempotency-Key. A cancel passes on, and what the
// remote agent asks, people are asked. Nothing of it is believed: answers are bounded,
// no redirect and no URL in a part is followed, and credentials go to the configured
// host only. It knows no queue.
package a2a

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/egress"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Config says where a remote agent is.
type Config struct {
	URL        string // of its card, or the base of it
	Headers    map[string]string
	AllowHosts []string // besides the one of URL, that its card may lead to
	Push       Push
}

// Push is where the remote agent tells of a task, so that nobody waits meanwhile: a hook
// of the mesh whose signal is PushSignal. Without a URL it is asked, or listened to.
type Push struct {
	URL   string
	Token string // it comes back as A2A-Notification-Token
}

// PushSignal is what a task waits for that is told of.
const PushSignal = "a2a-push"

// Options are what the worker adds.
type Options struct {
	Log  *slog.Logger
	Poll time.Duration // the shortest pause between two looks at a task; 0: a second
}

// Client reaches one remote agent. It is safe for concurrent use.
type Client struct {
	cfg   Config
	log   *slog.Logger
	poll  time.Duration
	http  *http.Client
	place string // for people, without secrets

	mu    sync.Mutex
	known *remote
	until time.Time // known is fresh until then
}

// remote is what a card says, as far as it is used.
type remote struct {
	description string
	url         string // of the interface
	rpc         bool   // it is JSON-RPC, else HTTP+JSON
	tenant      string
	streams     bool
	pushes      bool
}

// guard keeps requests away from what no agent of others is: the metadata of a cloud,
// for one, whatever a name resolves to. Private networks are allowed, as the address
// comes from the operator's file.
var guard = sync.OnceValue(func() *egress.Guard {
	return egress.New(egress.Policy{Allow: egress.Private(), PlainHTTP: true, AnyPort: true}, nil)
})

// NewClient makes the client of a remote agent. It reaches nothing yet.
func NewClient(cfg Config, o Options) *Client {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.DialContext = guard().DialContext
	return &Client{cfg: cfg, log: o.Log, poll: cmp.Or(o.Poll, pollLeast), place: placeOf(cfg.URL), http: &http.Client{
		Transport:     way,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Check says what is wrong with a configuration, as far as that is seen without
// reaching the agent.
func (c Config) Check() error {
	if _, err := guard().CheckURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return nil
}

// Check says what is wrong with it.
func (p Push) Check() error {
	if p == (Push{}) {
		return nil
	}
	if _, err := guard().CheckURL(p.URL); err != nil || p.Token == "" {
		return errors.New("it needs the url of a hook of the mesh, and the token that the hook verifies")
	}
	return nil
}

// placeOf names an address without what may be a secret.
func placeOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a malformed URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Place names the remote agent for people.
func (c *Client) Place() string { return c.place }

// Describe reads the card, for what the definition leaves open.
func (c *Client) Describe(ctx context.Context, d *task.Definition) error {
	r, err := c.card(ctx)
	if err == nil && d.Description == "" {
		d.Description = task.Clip(r.description, 4<<10)
	}
	return err
}

// cardURL is where the card is.
func (c *Client) cardURL() string {
	if strings.HasSuffix(c.cfg.URL, ".json") {
		return c.cfg.URL
	}
	return strings.TrimSuffix(c.cfg.URL, "/") + "/.well-known/agent-card.json"
}

// Bounds of how long a card is believed.
const (
	cardLeast = time.Minute
	cardMost  = time.Hour
	maxCard   = 1 << 20
)

// card reads the card, unless it is known and fresh. One that was known is used while
// the agent does not answer.
func (c *Client) card(ctx context.Context) (*remote, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known != nil && time.Now().Before(c.until) {
		return c.known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var card a2a.AgentCard
	fresh, err := c.getCard(ctx, &card)
	if err != nil {
		if c.known != nil {
			return c.known, nil
		}
		return nil, err
	}
	r, err := c.choose(&card)
	if err != nil {
		return nil, err
	}
	c.known, c.until = r, time.Now().Add(min(max(fresh, cardLeast), cardMost))
	return r, nil
}

// choose picks the interface: JSON-RPC before HTTP+JSON, of version 1.0.
func (c *Client) choose(card *a2a.AgentCard) (*remote, error) {
	for _, e := range card.Capabilities.Extensions {
		if e.Required {
			return nil, refused("the card of the remote agent demands the extension %s, which the mesh does not have", task.Clip(e.URI, 128))
		}
	}
	for _, binding := range []a2a.TransportProtocol{a2a.TransportProtocolJSONRPC, a2a.TransportProtocolHTTPJSON} {
		for _, i := range card.SupportedInterfaces {
			if i == nil || i.ProtocolBinding != binding || !strings.HasPrefix(string(i.ProtocolVersion), "1.") {
				continue
			}
			if err := c.leads(i.URL); err != nil {
				return nil, err
			}
			return &remote{
				description: card.Description, url: strings.TrimSuffix(i.URL, "/"), rpc: binding == a2a.TransportProtocolJSONRPC, tenant: i.Tenant,
				streams: card.Capabilities.Streaming, pushes: card.Capabilities.PushNotifications,
			}, nil
		}
	}
	return nil, refused("the card of the remote agent has no interface of A2A 1.0 over JSONRPC or HTTP+JSON")
}

// leads refuses an address that the card may not lead to.
func (c *Client) leads(address string) error {
	u, err := guard().CheckURL(address)
	if err != nil {
		return refused("the card of the remote agent leads to an address that is not allowed")
	}
	if u.Host != c.host() && !slices.Contains(c.cfg.AllowHosts, u.Host) {
		return refused("the card of the remote agent leads to another host, %s: name it in allow_hosts if that is meant", task.Clip(u.Host, 128))
	}
	return nil
}

// host is the one that credentials are for.
func (c *Client) host() string {
	u, err := url.Parse(c.cfg.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// refused is an error that no other attempt mends.
func refused(format string, args ...any) *agent.Error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Permanent: true, Message: fmt.Sprintf(format, args...)}
}

// plain is an error without the URL, which may hold a key.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

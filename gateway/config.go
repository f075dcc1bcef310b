package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/a2a"
	"agentmesh/gateway/synadia"
	"agentmesh/shared/auth"
	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/tenant"
)

// Config of a gateway.
type Config struct {
	HTTP      string        `flag:"http" env:"MESH_HTTP" help:"address of the gateway"`
	Auth      string        `flag:"auth" env:"MESH_AUTH" help:"authentication: off (on loopback), keys, oidc or keys,oidc; certs: by client certificates alone, which count beside the others, too"`
	Insecure  bool          `flag:"insecure" env:"MESH_INSECURE" help:"listen on other addresses than loopback without authentication"`
	MaxBody   int64         `flag:"max-body" env:"MESH_MAX_BODY" help:"largest request body in bytes"`
	MaxBodies int64         `flag:"max-bodies" env:"MESH_MAX_BODIES" help:"bytes that all request bodies in flight may take together"`
	MaxConns  int           `flag:"max-connections" env:"MESH_MAX_CONNECTIONS" help:"connections that may be open; 0: half of the files that the process may open"`
	Drain     time.Duration `flag:"drain" env:"MESH_DRAIN" help:"how long running attempts and open requests may finish after SIGTERM"`

	PublicURL   string `flag:"public-url" env:"MESH_PUBLIC_URL" help:"URL by which clients reach the gateway, such as https://mesh.example.com: links are absolute"`
	CORSOrigins string `flag:"cors-origins" env:"MESH_CORS_ORIGINS" help:"origins whose pages may call the gateway from a browser, separated by commas; * is any"`
	// TrustedProxies are in front of the gateway.
	TrustedProxies string `flag:"trusted-proxies" env:"MESH_TRUSTED_PROXIES" help:"addresses or networks of the proxies in front of the gateway, separated by commas: of their requests X-Forwarded-For says where they come from"`
	TraceURL       string `flag:"trace-url-template" env:"MESH_TRACE_URL_TEMPLATE" help:"URL of a trace in your tracing backend, with {trace_id}: answers carry it as trace_url"`

	TenantRate            float64 `flag:"tenant-rate" env:"MESH_TENANT_RATE" help:"requests a second that a tenant may send to this gateway; -1: no limit. This and the next: of tenants without limits of their own"`
	TenantBurst           int     `flag:"tenant-burst" env:"MESH_TENANT_BURST" help:"requests that it may send at once; 0: as many as in a second"`
	TenantPending         int     `flag:"tenant-pending" env:"MESH_TENANT_PENDING" help:"tasks of a tenant that may wait or run; -1: no limit"`
	TenantPendingPerAgent int     `flag:"tenant-pending-per-agent" env:"MESH_TENANT_PENDING_PER_AGENT" help:"the same, of one agent"`
	TenantWaits           int     `flag:"tenant-waits" env:"MESH_TENANT_WAITS" help:"requests of a tenant that this gateway holds for an outcome or a change; -1: no limit"`
	TenantStreams         int     `flag:"tenant-streams" env:"MESH_TENANT_STREAMS" help:"streams of events of a tenant at this gateway; -1: no limit"`
	TenantWebhooks        int     `flag:"tenant-webhooks" env:"MESH_TENANT_WEBHOOKS" help:"webhooks of a tenant; -1: no limit"`
	TenantSessions        int     `flag:"tenant-sessions" env:"MESH_TENANT_SESSIONS" help:"sessions of a tenant; -1: no limit"`

	MCP     bool          `flag:"mcp" env:"MESH_MCP" help:"serve the agents as tools of the Model Context Protocol at /mcp and /agents/{name}/mcp"`
	MCPHold time.Duration `flag:"mcp-hold" env:"MESH_MCP_HOLD" help:"how long a call of a tool is held for its result before it is answered with the id of its task"`

	A2AHold   time.Duration `flag:"a2a-hold" env:"MESH_A2A_HOLD" help:"how long a message over A2A is waited for before it is answered with its task as it stands"`
	A2ACompat bool          `flag:"a2a-compat" env:"MESH_A2A_COMPAT" help:"serve clients of A2A 0.3, too: requests that name no A2A-Version are read as theirs"`

	// A2A takes something away from that face, for tests of clients.
	A2A a2a.Options
	// Issuers are those of OpenID Connect whose tokens count, for clients to know.
	Issuers     []string
	Synadia     string        `flag:"synadia" env:"MESH_SYNADIA" help:"serve the agents on NATS by the Synadia Agent Protocol: off, on (for the tenant default, on the mesh's own NATS), or a file that says on which connections and for which tenants"`
	SynadiaHold time.Duration `flag:"synadia-hold" env:"MESH_SYNADIA_HOLD" help:"how long a prompt on NATS is answered before its caller is told how to go on: common callers give up at 10 minutes"`
	// Agents are the connections of Synadia, opened.
	Agents []synadia.Entry

	// TLS is what the listener speaks; nil: plain HTTP.
	TLS *tls.Config
	// Authenticator says who asks; nil: everybody is the local caller, who may do
	// everything, and Auth is off.
	Authenticator auth.Authenticator

	// Durability says what a 202 survives ("sync always", "sync 2m"), for
	// /readyz; empty: unknown.
	Durability string
	// Health is a further check of /readyz: the embedded server's own word.
	Health func() error
	// Data is another one: it names the missing data, and says what to do.
	Data func() error
	// StorageLimit is what the embedded server may keep on disk, in bytes; 0: the
	// account's limit is the only one.
	StorageLimit int64
	// Listener is where the gateway listens; nil: New binds HTTP.
	Listener net.Listener
	// Version and Commit say which build this is.
	Version, Commit string
	// Guard decides on the addresses of callbacks, and Keys are those that sign
	// what is sent there; both nil: this gateway takes neither callbacks nor
	// webhooks.
	Guard *egress.Guard
	Keys  *keyring.Ring
}

// Default is the configuration without settings.
func Default() Config {
	l := tenant.Default()
	return Config{
		HTTP: "127.0.0.1:8080", Auth: "off", MaxBody: 32 << 20, MaxBodies: 256 << 20, Drain: 30 * time.Second, Version: "dev", Commit: "unknown commit",
		MCP: true, MCPHold: 50 * time.Second, A2AHold: 10 * time.Minute, Synadia: "off", SynadiaHold: 9 * time.Minute,
		TenantRate: l.Rate, TenantBurst: l.Burst, TenantPending: l.Pending, TenantPendingPerAgent: l.PendingPerAgent,
		TenantWaits: l.Waits, TenantStreams: l.Streams, TenantWebhooks: l.Webhooks, TenantSessions: l.Sessions,
	}
}

// tenantLimits are those of a tenant that has none of its own.
func (c Config) tenantLimits() tenant.Limits {
	return tenant.Limits{
		Rate: c.TenantRate, Burst: c.TenantBurst, Pending: c.TenantPending, PendingPerAgent: c.TenantPendingPerAgent,
		Waits: c.TenantWaits, Streams: c.TenantStreams, Webhooks: c.TenantWebhooks, Sessions: c.TenantSessions,
	}
}

// authOff is the mode in which nobody is asked who they are.
const authOff = "off"

var authModes = []string{authOff, "keys", "oidc", "keys,oidc", "certs"}

// Validate names the first setting that is out of its range.
func (c Config) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("configure gateway: %w", err)
	}
	return nil
}

func (c Config) validate() error {
	switch {
	case !slices.Contains(authModes, c.Auth):
		return fmt.Errorf("auth is %q, allowed are off, keys, oidc, keys,oidc and certs", c.Auth)
	case c.MaxBody < 1<<10 || c.MaxBody > 1<<30:
		return fmt.Errorf("max-body is %d, allowed is 1024 to 1073741824 bytes", c.MaxBody)
	case c.MaxBodies < 1<<10 || c.MaxBodies > 1<<40:
		return fmt.Errorf("max-bodies is %d, allowed is 1024 to 1099511627776 bytes", c.MaxBodies)
	case c.MaxConns < 0:
		return fmt.Errorf("max-connections is %d, it must not be negative", c.MaxConns)
	case c.Drain < 0 || c.Drain > time.Hour:
		return fmt.Errorf("drain is %v, allowed is 0s to 1h", c.Drain)
	case c.MCPHold < time.Second || c.MCPHold > time.Hour:
		return fmt.Errorf("mcp-hold is %v, allowed is 1s to 1h", c.MCPHold)
	case c.A2AHold < time.Second || c.A2AHold > 24*time.Hour:
		return fmt.Errorf("a2a-hold is %v, allowed is 1s to 24h", c.A2AHold)
	case c.SynadiaHold < time.Second || c.SynadiaHold > 24*time.Hour:
		return fmt.Errorf("synadia-hold is %v, allowed is 1s to 24h", c.SynadiaHold)
	case c.TraceURL != "" && !strings.Contains(c.TraceURL, traceIDMark):
		return fmt.Errorf("trace-url-template is %q, it must contain %s", c.TraceURL, traceIDMark)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
		return fmt.Errorf("public-url is %q, it must be like https://mesh.example.com/base, without a query", c.PublicURL)
	}
	if faults := c.tenantLimits().Check(); len(faults) > 0 {
		return fmt.Errorf("tenant-%s: %s", strings.ReplaceAll(faults[0].Field, "_", "-"), faults[0].Detail)
	}
	if _, err := parseOrigins(c.CORSOrigins); err != nil {
		return err
	}
	if _, err := parseProxies(c.TrustedProxies); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return fmt.Errorf("http is %q, it must be host:port", c.HTTP)
	}
	if ip := net.ParseIP(host); c.Auth == authOff && host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.Insecure {
		return fmt.Errorf("http is %q: without authentication the gateway listens on loopback only, since whoever reaches it may run agents; "+
			"choose 127.0.0.1, pass --auth keys, or --insecure if something in front of it authenticates", c.HTTP)
	}
	return nil
}

// servesOperatorOnly reports whether who reaches the gateway may see what is for
// the operator: nobody is asked who they are, and only this machine can ask.
func (c Config) servesOperatorOnly() bool {
	c.Insecure = false
	return c.Auth == authOff && c.validate() == nil
}

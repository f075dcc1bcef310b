// Package natsconn opens the mesh's connections to NATS, with the settings that
// users of NATS know. It promises that a connection heals itself for ever, and
// that a publish while it is away fails at once instead of being kept: whoever
// publishes must know that nothing was stored. No password, token or seed comes into
// an error or a log. Of subjects it knows the inbox that is this user's own.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"

	"agentmesh/shared/config"
)

// Config says where NATS is and who we are there. The names are those of the
// nats command line.
type Config struct {
	URL      string        `flag:"nats-url" env:"NATS_URL" help:"NATS servers, separated by commas"`
	Creds    string        `flag:"nats-creds" env:"NATS_CREDS" help:"credentials file"`
	NKey     string        `flag:"nats-nkey" env:"NATS_NKEY" help:"NKey seed file"`
	User     string        `flag:"nats-user" env:"NATS_USER" help:"user"`
	Password config.Secret `flag:"nats-password" env:"NATS_PASSWORD" help:"password of the user; set it by the environment: a command line is seen by others"`
	Token    config.Secret `flag:"nats-token" env:"NATS_TOKEN" help:"token; set it by the environment"`
	CA       string        `flag:"nats-ca" env:"NATS_CA" help:"certificate authority of the servers"`
	Cert     string        `flag:"nats-cert" env:"NATS_CERT" help:"client certificate"`
	Key      string        `flag:"nats-key" env:"NATS_KEY" help:"key of the client certificate"`
	Context  string        `flag:"context" env:"NATS_CONTEXT" help:"NATS context to connect with, instead of the settings above"`
	Inbox    string        `flag:"nats-inbox-prefix" env:"NATS_INBOX_PREFIX" help:"where answers come in; _INBOX. and the user's name, or the role's, when left out"`
	Data     string        `flag:"data" env:"MESH_DATA" help:"data folder of a mesh up on this machine: its nats.token is taken when NATS is on loopback and nothing else says who we are"`

	// Role is what connects: it names the inbox of who has no name.
	Role string
}

// Default is a server on this machine, for a role.
func Default(role string) Config {
	return Config{URL: nats.DefaultURL, Data: "./data", Role: role}
}

// A node that freezes keeps its connections open and says nothing. An idle
// connection notices by two pings without an answer, one that writes by a write
// that goes nowhere: within 5 s it has moved to another node. A node that is frozen
// still takes connections, so that one that does not speak is soon passed over.
const (
	connectTimeout = 2 * time.Second
	pingEvery      = time.Second
	pingsUnheard   = 2
	writeTimeout   = 2 * time.Second
)

// noticing has a connection over the network notice that its node is frozen. One
// within this process needs it not: its server is as frozen as itself.
func noticing() []nats.Option {
	return []nats.Option{
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsUnheard),
		nats.FlusherTimeout(writeTimeout), nats.ReconnectOnFlusherError(),
	}
}

// Connect opens a connection named name. The error says where it tried and what
// to do.
func Connect(ctx context.Context, cfg Config, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := append(options(name, log), noticing()...)
	if cfg.Context != "" {
		nc, _, err := natscontext.Connect(cfg.Context, append(opts, cfg.inbox())...)
		if err != nil {
			return nil, veiled(fmt.Errorf("connect with NATS context %s: %w; `nats context ls` lists what there is", cfg.Context, err))
		}
		return nc, nil
	}
	more, err := cfg.identity()
	if err != nil {
		return nil, veiled(err)
	}
	nc, err := nats.Connect(cfg.URL, append(append(opts, more...), cfg.inbox())...)
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, veiled(fmt.Errorf("connect to NATS at %s: %w: it does not take who we are; set NATS_CREDS, NATS_NKEY, NATS_USER and NATS_PASSWORD, or NATS_TOKEN. mesh up keeps its token in nats.token of its data folder, which --data (MESH_DATA) names to others on the same machine", cfg.URL, err))
	case err != nil:
		return nil, veiled(fmt.Errorf("connect to NATS at %s: %w; start a server there, or set NATS_URL or --nats-url", cfg.URL, err))
	}
	if ctx.Err() != nil {
		nc.Close()
		return nil, ctx.Err()
	}
	return nc, nil
}

// Away reports whether Connect failed since no server answered, or none that
// takes connections now: it may succeed later. A refused identity and what is
// wrong with the settings do not pass by themselves.
func Away(err error) bool {
	for _, away := range []error{nats.ErrNoServers, nats.ErrTimeout, nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
		nats.ErrConnectionClosed, nats.ErrNoInfoReceived, io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded} {
		if errors.Is(err, away) {
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "read" || op.Op == "write")
}

// InProcess connects to a server in this process, without a socket. The token is
// what the server asks of others, empty: nothing.
func InProcess(srv nats.InProcessConnProvider, role string, token config.Secret, log *slog.Logger) (*nats.Conn, error) {
	opts := append(options("mesh-"+role, log), Config{Role: role}.inbox(), nats.InProcessServer(srv))
	if token != "" {
		opts = append(opts, nats.Token(string(token)))
	}
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect in process: %w", err)
	}
	return nc, nil
}

// firstTimes are the texts that were said.
type firstTimes struct {
	mu   sync.Mutex
	said map[string]bool
}

const firstTimesKept = 256

func (f *firstTimes) of(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said[text] {
		return false
	}
	if f.said == nil || len(f.said) >= firstTimesKept {
		f.said = map[string]bool{}
	}
	f.said[text] = true
	return true
}

// syncQueue is how many messages a subscription holds that is asked for each: the
// client makes room for all of them at once, and for 65,536 unless told otherwise,
// half a megabyte for each reader and each agent. A reader asks for 1,024 at a time.
const syncQueue = 4096

func options(name string, log *slog.Logger) []nats.Option {
	var denials firstTimes
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // fail at once while away: see the package comment
		nats.SyncQueueLen(syncQueue),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("disconnected from NATS, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("reconnected to NATS", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				if denials.of(err.Error()) {
					log.Error("this NATS user may not do what its role needs: give it the permissions of deploy/nats", "error", err)
				}
				return
			}
			if sub != nil {
				// A full waiter: it repairs itself from the record.
				log.Debug("NATS subscription", "subject", sub.Subject, "error", err)
				return
			}
			log.Warn("NATS connection", "error", err)
		}),
	}
}

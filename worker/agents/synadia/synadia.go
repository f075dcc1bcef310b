// Package synadia runs an agent that is found on NATS by the Synadia Agent Protocol:
// one prompt for each attempt, behind the durable front that the protocol has not.
//
// It promises that no task is taken while the agent is offline; that a prompt whose end
// nobody knows is not sent again, unless its operator says that it may be; that the
// subject of the prompt is the one that the agent reports; and that what the agent
// sends is bounded. It knows no queue.
package synadia

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"agentmesh/shared/pause"
	protocol "agentmesh/shared/synadia"
	"agentmesh/worker/agent"
)

// Config is the synadia section of an agent.
type Config struct {
	Place
	Agent, Owner, Name string        // which one; Name is the last part of its subject
	Inactivity         time.Duration // how long nothing may come; 0: the protocol's
	MaxWait            time.Duration // of one prompt; 0: half an hour
	Idempotent         bool          // the same prompt may be sent twice
	OnUnknown          Unknown
	History            History
}

// History says what of a session an agent is told.
type History string

// The ways. Without one it is the last message.
const (
	Last History = "last"
	Full History = "full" // the transcript, as text
)

// Histories are all of them.
var Histories = []History{Last, Full}

// Place is where NATS is, and who we are there.
type Place struct {
	Context string
	URL     string
	Creds   string
	NKey    string
	Sign    bool // prompts with the seed of the credentials
}

// Unknown says what becomes of a prompt whose end nobody knows.
type Unknown string

// The ways. Without one the task fails.
const (
	Fail  Unknown = "fail"
	Retry Unknown = "retry"
	Ask   Unknown = "ask"
)

// Unknowns are all of them.
var Unknowns = []Unknown{Fail, Retry, Ask}

// Signer makes the header of a prompt that says who sends it.
type Signer func(subject string, payload []byte) (string, error)

// Conn is a connection for the protocol, and Info an agent that answers there.
type (
	Conn = protocol.Conn
	Info = protocol.Info
)

// Dial opens a connection for the protocol, and makes a signer where it has a seed.
type Dial func(ctx context.Context, p Place) (*protocol.Conn, Signer, error)

// Times of looking.
const (
	maxWaitDefault = 30 * time.Minute
	lookEvery      = time.Minute
	lookWithin     = 2 * time.Second
	dialAgain      = 5 * time.Second
)

// Peer is an agent of others. Open begins to look for it.
type Peer struct {
	cfg  Config
	dial Dial
	log  *slog.Logger

	mu      sync.Mutex
	conn    *protocol.Conn
	sign    Signer
	info    protocol.Info // the last word of it
	why     string        // it is not served; empty: it is, or was never seen
	seen    time.Time     // when it last showed that it lives
	beat    time.Duration // between its heartbeats
	online  bool
	changed []func()
	look    chan struct{}
}

// New makes one.
func New(cfg Config, dial Dial, log *slog.Logger) *Peer {
	if cfg.Inactivity <= 0 {
		cfg.Inactivity = protocol.SilentFor
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = maxWaitDefault
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Peer{cfg: cfg, dial: dial, log: log.With("nats_agent", cfg.Agent+"."+cfg.Owner+"."+cfg.Name), beat: protocol.BeatEvery, look: make(chan struct{}, 1)}
}

// Agent is the peer as an agent of a worker.
func (p *Peer) Agent(d agent.Definition) agent.Agent {
	if d.Concurrency == 0 {
		d.Concurrency = 1
	}
	return agent.Agent{Definition: d, Handler: p.run, Open: p.Open, Away: p.Away, Remote: true}
}

// Away says why the agent is given no tasks, empty: it is online. It calls changed when
// that may have changed.
func (p *Peer) Away(changed func()) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changed != nil {
		p.changed = append(p.changed, changed)
	}
	at := p.cfg.Agent + "." + p.cfg.Owner + "." + p.cfg.Name
	switch {
	case p.online:
		return ""
	case p.conn == nil:
		return "NATS is not reached, where " + at + " is"
	case p.why != "":
		return at + " is not served: " + p.why
	}
	return at + " is offline"
}

// Open looks for the agent until shut is called.
func (p *Peer) Open() (shut func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.follow(ctx)
	}()
	return func() {
		cancel()
		<-done
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed, p.online = nil, false
	}
}

// follow keeps in touch with the agent until ctx ends.
func (p *Peer) follow(ctx context.Context) {
	conn, sign, err := p.dial(ctx, p.cfg.Place)
	for err != nil {
		p.log.WarnContext(ctx, "NATS is not reached for an agent of others", "error", err)
		if !pause.For(ctx, dialAgain) {
			return
		}
		conn, sign, err = p.dial(ctx, p.cfg.Place)
	}
	defer conn.Close()
	p.mu.Lock()
	p.conn, p.sign = conn, sign
	p.mu.Unlock()
	stop, err := conn.Beats(p.heard)
	if err == nil {
		defer stop()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for next := time.Now(); ; {
		if !time.Now().Before(next) {
			p.discover(ctx, conn)
			next = time.Now().Add(lookEvery + time.Duration(rand.Int64N(int64(lookEvery/4))))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.look:
			next = time.Now()
		case <-tick.C:
			p.settle()
		}
	}
}

// heard takes a heartbeat. One of an agent that was not known has it be looked for.
func (p *Peer) heard(b protocol.Beat) {
	if b.Agent != p.cfg.Agent || b.Owner != p.cfg.Owner {
		return
	}
	p.mu.Lock()
	ours := b.InstanceID == p.info.ID
	if ours {
		p.seen = time.Now()
		if b.Interval > 0 {
			p.beat = time.Duration(b.Interval) * time.Second
		}
	}
	ask := !p.online
	p.mu.Unlock()
	if ask {
		select {
		case p.look <- struct{}{}:
		default:
		}
	}
}

// discover asks who is there.
func (p *Peer) discover(ctx context.Context, conn *protocol.Conn) {
	all, err := conn.Discover(ctx, lookWithin)
	if err != nil {
		return
	}
	for _, i := range all {
		if i.Agent != p.cfg.Agent || i.Owner != p.cfg.Owner || i.Name != p.cfg.Name || i.PromptSubject == "" {
			continue
		}
		p.mu.Lock()
		p.info, p.seen, p.why = i, time.Now(), ""
		if !i.Speaks() {
			p.why = fmt.Sprintf("it speaks version %q of the protocol, this mesh %s", i.Protocol, protocol.Version)
		}
		p.mu.Unlock()
		break
	}
	p.settle()
}

// settle decides whether the agent is online, and tells who wants to know.
func (p *Peer) settle() {
	p.mu.Lock()
	now := p.info.ID != "" && p.why == "" && time.Since(p.seen) < protocol.AliveFor*p.beat
	was := p.online
	p.online = now
	tell, why := p.changed, p.why
	p.mu.Unlock()
	if now == was {
		return
	}
	p.log.Info("an agent of others", "online", now, "reason", why)
	for _, f := range tell {
		f()
	}
}

// ValidToken reports whether a text may be agent, owner or name.
func ValidToken(s string) bool { return protocol.ValidToken(s) }

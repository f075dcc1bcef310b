package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"gopkg.in/yaml.v3"

	"agentmesh/gateway"
	"agentmesh/gateway/synadia"
	"agentmesh/shared/auth"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	protocol "agentmesh/shared/synadia"
	workersynadia "agentmesh/worker/agents/synadia"
)

// synadiaEntry is one connection of the file that --synadia names.
type synadiaEntry struct {
	Tenant   string        `yaml:"tenant"`
	Owner    string        `yaml:"owner"`
	Context  string        `yaml:"context"`
	URL      string        `yaml:"url"`
	Creds    string        `yaml:"creds"`
	NKey     string        `yaml:"nkey"`
	CA       string        `yaml:"ca"`
	Agents   []string      `yaml:"agents"`
	MinTrust string        `yaml:"min_sender_trust"`
	Inbox    string        `yaml:"inbox_prefix"`
	Beat     time.Duration `yaml:"heartbeat"`
}

// dialer opens one more connection to the mesh's own NATS.
type dialer func(ctx context.Context) (*nats.Conn, error)

// speakAgents opens the connections on which a gateway serves agents on NATS. They are
// for nothing else: the protocol's services replace a connection's handlers.
func speakAgents(ctx context.Context, cfg *gateway.Config, own dialer, log *slog.Logger) error {
	cfg.Agents = nil
	switch cfg.Synadia {
	case "", "off":
		return nil
	case "on":
		nc, err := own(ctx)
		if err != nil {
			return err
		}
		cfg.Agents = []synadia.Entry{{Conn: protocol.New(nc, ""), Tenant: auth.DefaultTenant}}
		return nil
	}
	entries, err := readSynadia(cfg.Synadia)
	if err != nil {
		return err
	}
	for i, e := range entries {
		nc, err := natsconn.Connect(ctx, natsconn.Config{URL: cmp.Or(e.URL, nats.DefaultURL), Context: e.Context, Creds: e.Creds, NKey: e.NKey, CA: e.CA, Role: "face"}, "mesh-agents", log)
		if err != nil {
			for _, opened := range cfg.Agents {
				opened.Conn.Close()
			}
			return fmt.Errorf("%s: entry %d: %w", cfg.Synadia, i+1, err)
		}
		cfg.Agents = append(cfg.Agents, synadia.Entry{
			Conn: protocol.New(nc, e.Inbox), Tenant: cmp.Or(e.Tenant, auth.DefaultTenant), Owner: e.Owner, Agents: e.Agents, MinTrust: e.MinTrust, Beat: e.Beat,
		})
	}
	return nil
}

// dialAgents opens connections to agents of others on NATS.
func dialAgents(log *slog.Logger) workersynadia.Dial {
	return func(ctx context.Context, p workersynadia.Place) (*protocol.Conn, workersynadia.Signer, error) {
		nc, err := natsconn.Connect(ctx, natsconn.Config{URL: p.URL, Context: p.Context, Creds: p.Creds, NKey: p.NKey, Role: "caller"}, "mesh-caller", log)
		if err != nil {
			return nil, nil, err
		}
		conn := protocol.New(nc, "")
		if !p.Sign {
			return conn, nil, nil
		}
		sign, err := conn.Signer(ctx, "agentmesh")
		if err != nil {
			nc.Close()
			return nil, nil, err
		}
		if sign == nil && (p.Creds != "" || p.NKey != "") {
			log.WarnContext(ctx, "prompts are not signed: the account of this NATS user has no key", "url", nc.ConnectedUrlRedacted())
		}
		return conn, sign, nil
	}
}

// natsOfCommands opens the connections of commands to agents on NATS. A place that says
// nothing is the environment's, as it is for a role.
func natsOfCommands(ctx context.Context, p workersynadia.Place) (*protocol.Conn, workersynadia.Signer, error) {
	log := slog.New(slog.DiscardHandler)
	if p.Context != "" || p.URL != "" {
		return dialAgents(log)(ctx, p)
	}
	cfg := natsconn.Default("caller")
	if err := config.Env(os.Getenv, &cfg); err != nil {
		return nil, nil, err
	}
	if p.Creds != "" || p.NKey != "" {
		cfg.Creds, cfg.NKey, cfg.User, cfg.Password, cfg.Token = p.Creds, p.NKey, "", "", ""
	}
	nc, err := natsconn.Connect(ctx, cfg, "mesh-caller", log)
	if err != nil {
		return nil, nil, err
	}
	return protocol.New(nc, ""), nil, nil
}

// readSynadia reads the file, YAML or JSON.
func readSynadia(file string) ([]synadiaEntry, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("synadia is %q, it must be off, on, or a file: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	var all []synadiaEntry
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(all) == 0 {
		return nil, errors.New(file + ": it needs a list of at least one entry, such as - {tenant: acme, url: \"nats://nats:4222\", creds: acme.creds}")
	}
	seen := map[string]bool{}
	for i, e := range all {
		if (e.Context == "") == (e.URL == "") {
			return nil, fmt.Errorf("%s: entry %d: it must have either context or url", file, i+1)
		}
		if e.Beat != 0 && e.Beat < time.Second {
			return nil, fmt.Errorf("%s: entry %d: heartbeat is %v, it must be at least 1s", file, i+1, e.Beat)
		}
		if place := e.Context + e.URL + " " + cmp.Or(e.Owner, e.Tenant); seen[place] {
			return nil, fmt.Errorf("%s: entry %d: it has the place and the owner of another one", file, i+1)
		} else {
			seen[place] = true
		}
	}
	return all, nil
}

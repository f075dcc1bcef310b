package main

import (
	"context"
	"fmt"
	"net"

	"agentmesh/services/mesh/cli"
	"agentmesh/services/mesh/inbox"
	"agentmesh/shared/auth"
	"agentmesh/shared/keyring"
	"agentmesh/shared/proc"
	"agentmesh/shared/signature"
	"agentmesh/shared/store"
)

// inboxConfig is the receiver of callbacks for development.
type inboxConfig struct {
	Inbox string `flag:"inbox" env:"MESH_INBOX" help:"address of a receiver of callbacks for development, on loopback, such as 127.0.0.1:8091: GET /-/inbox shows what came. Not with authentication"`
}

func defaultInbox() inboxConfig { return inboxConfig{Inbox: "off"} }

// bind takes the inbox's address. It is none of the mesh's own, where no callback may
// go; nil: there is no inbox.
func (c inboxConfig) bind(authMode string) (net.Listener, error) {
	switch {
	case c.Inbox == "off":
		return nil, nil
	case authMode != "off":
		return nil, cli.Usage("inbox is %q: it shows what came to everybody on this machine, so it is not for a mesh with authentication", c.Inbox)
	case !onLoopback(c.Inbox):
		return nil, cli.Usage("inbox is %q, it must be on loopback, such as 127.0.0.1:8091", c.Inbox)
	}
	l, err := net.Listen("tcp", c.Inbox)
	if err != nil {
		return nil, fmt.Errorf("listen for --inbox: %w; stop what uses the address, choose another with --inbox, or --inbox off", err)
	}
	return l, nil
}

// inboxParts serves an inbox, which knows the keys of callbacks and of webhooks.
func inboxParts(l net.Listener, st *store.Store, keys *keyring.Ring) []proc.Part {
	if l == nil {
		return nil
	}
	b := inbox.New(func(ctx context.Context) []inbox.Key { return inboxKeys(ctx, st, keys) })
	return []proc.Part{{Name: "inbox", Run: func(ctx context.Context) error { return b.Serve(ctx, l) }}}
}

func inboxKeys(ctx context.Context, st *store.Store, keys *keyring.Ring) (all []inbox.Key) {
	if secret, err := keys.CallbackSecret(auth.DefaultTenant); err == nil {
		all = append(all, inbox.Key{Name: "callbacks", Verify: secret})
	}
	public, _ := keys.CallbackPublicKeys(auth.DefaultTenant)
	for _, text := range public {
		if k, err := signature.ParsePublicKey(text); err == nil {
			all = append(all, inbox.Key{Name: "callbacks", Verify: k})
		}
	}
	hooks, err := st.Webhooks.List(ctx, auth.DefaultTenant)
	if err != nil {
		return all
	}
	for _, e := range hooks {
		secrets, err := keys.Open(e)
		if err != nil {
			continue
		}
		for _, k := range e.Keys {
			if v, err := keyring.VerifyingKey(k, secrets); err == nil {
				all = append(all, inbox.Key{Name: string(e.ID) + " " + k.ID, Verify: v})
			}
		}
	}
	return all
}

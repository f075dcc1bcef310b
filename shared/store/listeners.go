package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"agentmesh/shared/topology"
)

// Listeners are where one process of the mesh listens, so that the others send no
// callback there.
type Listeners struct {
	Host  string           `json:"host"`  // the machine's name
	Addrs []netip.AddrPort `json:"addrs"` // as others reach them, or loopback: by those on this machine
}

// ListenersEvery is how often a process says where it listens, and ListenersFor
// how long that is believed.
const (
	ListenersEvery = time.Minute
	ListenersFor   = 5 * time.Minute
)

// AnnounceListeners says where a process listens.
func (s Registry) AnnounceListeners(ctx context.Context, process string, l Listeners) error {
	return s.announce(ctx, topology.ListenersOwner, process, l)
}

// WithdrawListeners forgets a process that ends.
func (s Registry) WithdrawListeners(ctx context.Context, process string) error {
	return s.withdraw(ctx, topology.ListenersOwner, process)
}

// announce keeps what a process says of itself for as long as it is believed.
func (s Registry) announce(ctx context.Context, owner, process string, what any) error {
	data, err := marshal(what)
	if err != nil {
		return fmt.Errorf("announce listeners: %w", err)
	}
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	if _, err := s.idempotency.Put(ctx, topology.IdempotencyKey(owner, process), data); err != nil {
		return fmt.Errorf("announce listeners: %w", classify(err))
	}
	return nil
}

func (s Registry) withdraw(ctx context.Context, owner, process string) error {
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	return classify(s.idempotency.Delete(ctx, topology.IdempotencyKey(owner, process)))
}

// announced are what live processes say of themselves.
func announced[T any](ctx context.Context, s *core, subject string) ([]T, error) {
	stream, err := s.js.Stream(ctx, topology.BucketStream(topology.IdempotencyBucket))
	if err != nil {
		return nil, fmt.Errorf("read listeners: %w", classify(err))
	}
	all, err := allOf(ctx, s, stream, subject, func(m message) (v T, shown bool, err error) {
		if time.Since(m.at) >= ListenersFor {
			return v, false, nil
		}
		return v, true, unmarshal(m.data, &v)
	})
	return all, wrapped("read listeners", err)
}

// Listeners are those of every live process.
func (s Registry) Listeners(ctx context.Context) ([]Listeners, error) {
	return announced[Listeners](ctx, s.core, topology.Listeners)
}

// Gateway is where one gateway of the mesh is reached.
type Gateway struct {
	Host   string `json:"host"` // the machine's name
	URL    string `json:"url"`
	Public bool   `json:"public,omitempty"` // its operator has said so; else it is its listener's address
}

// AnnounceGateway says where a gateway is reached: programs of agents are told.
func (s Registry) AnnounceGateway(ctx context.Context, process string, g Gateway) error {
	return s.announce(ctx, topology.GatewaysOwner, process, g)
}

// WithdrawGateway forgets one that ends.
func (s Registry) WithdrawGateway(ctx context.Context, process string) error {
	return s.withdraw(ctx, topology.GatewaysOwner, process)
}

// Gateways are those that live.
func (s Registry) Gateways(ctx context.Context) ([]Gateway, error) {
	return announced[Gateway](ctx, s.core, topology.Gateways)
}

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
	data, err := marshal(l)
	if err != nil {
		return fmt.Errorf("announce listeners: %w", err)
	}
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	if _, err := s.idempotency.Put(ctx, topology.IdempotencyKey(topology.ListenersOwner, process), data); err != nil {
		return fmt.Errorf("announce listeners: %w", classify(err))
	}
	return nil
}

// WithdrawListeners forgets a process that ends.
func (s Registry) WithdrawListeners(ctx context.Context, process string) error {
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	return classify(s.idempotency.Delete(ctx, topology.IdempotencyKey(topology.ListenersOwner, process)))
}

// Listeners are those of every live process.
func (s Registry) Listeners(ctx context.Context) (all []Listeners, err error) {
	stream, err := s.js.Stream(ctx, topology.BucketStream(topology.IdempotencyBucket))
	if err != nil {
		return nil, fmt.Errorf("read listeners: %w", classify(err))
	}
	err = s.all(ctx, stream, topology.Listeners, func(m message) error {
		var l Listeners
		if err := unmarshal(m.data, &l); err != nil {
			return err
		}
		if time.Since(m.at) < ListenersFor {
			all = append(all, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read listeners: %w", err)
	}
	return all, nil
}

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// ErrOtherKey is a secret key that is not the one that this mesh's secrets were
// sealed with.
var ErrOtherKey = errors.New("the secrets of this mesh were sealed with another key")

// Shared returns the secret key that the mesh keeps in its own store,
// or stores the one that fresh makes. It protects nothing from who reads the
// store.
func (s Secrets) Shared(ctx context.Context, fresh func() string) (string, error) {
	ctx, cancel := s.bound(ctx, writes+topology.KeysBucket)
	defer cancel()
	if _, err := s.apiKeys.Create(ctx, topology.SecretKey, []byte(fresh())); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return "", fmt.Errorf("store secret key: %w", classify(err))
	}
	e, err := s.apiKeys.Get(ctx, topology.SecretKey)
	if err != nil {
		return "", fmt.Errorf("read secret key: %w", classify(err))
	}
	return string(e.Value()), nil
}

// Print is the fingerprint of the key that seals in this mesh, empty when
// none was noted yet.
func (s Secrets) Print(ctx context.Context) (string, error) {
	print, _, err := s.secretPrint(ctx)
	return print, err
}

func (s Secrets) secretPrint(ctx context.Context) (print string, rev uint64, err error) {
	ctx, cancel := s.bound(ctx, topology.KeysBucket)
	defer cancel()
	e, err := s.apiKeys.Get(ctx, topology.SecretPrint)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read fingerprint of the secret key: %w", classify(err))
	}
	return string(e.Value()), e.Revision(), nil
}

func (s Secrets) notePrint(ctx context.Context, print string, rev uint64) error {
	ctx, cancel := s.bound(ctx, writes+topology.KeysBucket)
	defer cancel()
	_, err := s.apiKeys.Update(ctx, topology.SecretPrint, []byte(print), rev)
	return err
}

// Adopt notes the first of the fingerprints as that of the key that seals
// from now on. Unless the key before is among them, or is to be replaced, the
// error is ErrOtherKey. Where none was noted, by an earlier version, opens says of
// a webhook whether the keys open it.
func (s Secrets) Adopt(ctx context.Context, prints []string, replace bool, opens func(*webhook.Endpoint) bool) error {
	for {
		before, rev, err := s.secretPrint(ctx)
		if err != nil || before == prints[0] {
			return err
		}
		known := slices.Contains(prints, before)
		if before == "" {
			all, err := Webhooks(s).List(ctx, "")
			if err != nil {
				return err
			}
			known = len(all) == 0 || slices.ContainsFunc(all, opens)
		}
		if !known && !replace {
			return fmt.Errorf("%w (fingerprint %s, not %s)", ErrOtherKey, before, prints[0])
		}
		if err = s.notePrint(ctx, prints[0], rev); err == nil {
			return nil
		}
		if err = classify(err); !errors.Is(err, task.ErrConflict) { // a conflict: another process was quicker
			return fmt.Errorf("note fingerprint of the secret key: %w", err)
		}
	}
}

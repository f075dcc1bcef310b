package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/auth"
	"agentmesh/shared/topology"
)

// APIKey is what the mesh knows of a key that callers show: all but its secret. It
// stays for a while after it has ended.
type APIKey struct {
	ID        string       `json:"key_id"`
	Tenant    string       `json:"tenant"`
	Scopes    []auth.Scope `json:"scopes"`
	Name      string       `json:"name,omitempty"`
	Hash      string       `json:"hash"` // of the secret, see auth.Key
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy string       `json:"created_by,omitempty"`
	ExpiresAt time.Time    `json:"expires_at,omitzero"` // zero: never
	RevokedAt time.Time    `json:"revoked_at,omitzero"`
	RotatedTo string       `json:"rotated_to,omitempty"` // the key that takes its place

	// Operators says that this is the key that the operator of the mesh has set.
	Operators bool `json:"operators,omitempty"`

	Rev uint64 `json:"-"` // of the record
	// LastUsed is when the key was last used, a minute or so ago; zero: never. It is
	// known to List and LastUse only.
	LastUsed time.Time `json:"-"`
}

// Ended is when the key has ended, zero while it lives.
func (k *APIKey) Ended(now time.Time) time.Time {
	switch {
	case !k.RevokedAt.IsZero():
		return k.RevokedAt
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return k.ExpiresAt
	}
	return time.Time{}
}

// Live reports whether the key can be used.
func (k *APIKey) Live(now time.Time) bool { return k.Ended(now).IsZero() }

// ErrNoAPIKey means that there is no key with the id.
var ErrNoAPIKey = errors.New("there is no such API key")

// Save writes k's record if its revision is still k.Rev (0: if there is none) and
// sets k.Rev. It returns task.ErrConflict when another writer came first.
func (s APIKeys) Save(ctx context.Context, k *APIKey) error {
	data, err := marshal(k)
	if err == nil {
		k.Rev, err = s.replace(ctx, s.keyRecords, &nats.Msg{Subject: topology.APIKey(k.ID), Data: data}, k.Rev)
	}
	if err != nil {
		return fmt.Errorf("record API key %s: %w", k.ID, err)
	}
	return nil
}

// SaveAlone writes k's record if nothing was written beside the API keys since
// Everything was read. It returns task.ErrConflict otherwise.
func (s APIKeys) SaveAlone(ctx context.Context, k *APIKey, since uint64) error {
	data, err := marshal(k)
	if err != nil {
		return fmt.Errorf("record API key %s: %w", k.ID, err)
	}
	msg := &nats.Msg{Subject: topology.APIKey(k.ID), Data: data}
	ack, err := s.publish(ctx, msg, ifLastOfAll(since), onceAs(uuid.NewString())) // the id: see patiently
	if err != nil {
		return fmt.Errorf("record API key %s: %w", k.ID, err)
	}
	k.Rev = ack.Sequence
	return nil
}

// Get reads the record of a key, or returns ErrNoAPIKey.
func (s APIKeys) Get(ctx context.Context, id string) (*APIKey, error) {
	if !auth.ValidKeyID(id) {
		return nil, fmt.Errorf("read API key: %w", ErrNoAPIKey)
	}
	ctx, cancel := s.bound(ctx, topology.KeysBucket)
	defer cancel()
	msg, err := s.keyRecords.GetLastMsgForSubject(ctx, topology.APIKey(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
		return nil, fmt.Errorf("read API key %s: %w", id, ErrNoAPIKey)
	}
	if err != nil {
		return nil, fmt.Errorf("read API key %s: %w", id, classify(err))
	}
	return decodeAPIKey(msg.Data, msg.Sequence)
}

func decodeAPIKey(data []byte, rev uint64) (*APIKey, error) {
	k, err := decodeValid("API key", data, rev, func(k *APIKey) bool {
		return auth.ValidKeyID(k.ID) && auth.ValidTenant(k.Tenant) && k.Hash != ""
	})
	if err != nil {
		return nil, err
	}
	k.Rev = rev
	return k, nil
}

// LastUse reads when a key was last used, zero: never.
func (s APIKeys) LastUse(ctx context.Context, id string) (time.Time, error) {
	ctx, cancel := s.bound(ctx, topology.KeysBucket)
	defer cancel()
	msg, err := s.keyRecords.GetLastMsgForSubject(ctx, topology.APIKeyUsed(id))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read use of API key %s: %w", id, classify(err))
	}
	return usedAt(msg.Data), nil
}

func usedAt(text []byte) time.Time {
	at, _ := time.Parse(time.RFC3339, string(text)) // ours; else: never
	return at
}

// Used notes that a key was used.
func (s APIKeys) Used(ctx context.Context, id string, at time.Time) error {
	if _, err := s.publish(ctx, &nats.Msg{Subject: topology.APIKeyUsed(id), Data: []byte(at.UTC().Format(time.RFC3339))}); err != nil {
		return fmt.Errorf("note use of API key %s: %w", id, err)
	}
	return nil
}

// List reads every key, oldest first.
func (s APIKeys) List(ctx context.Context) ([]*APIKey, error) {
	used := map[string]time.Time{}
	_, err := allOf(ctx, s.core, s.keyRecords, topology.APIKeyUsed("*"), func(m message) (struct{}, bool, error) {
		used[topology.SubjectID(m.subject)] = usedAt(m.data)
		return struct{}{}, false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list uses of API keys: %w", err)
	}
	all, err := allOf(ctx, s.core, s.keyRecords, topology.APIKeysAll, func(m message) (k *APIKey, shown bool, err error) {
		if !auth.ValidKeyID(topology.SubjectID(m.subject)) {
			return nil, false, nil // the mesh's own
		}
		if k, err = decodeAPIKey(m.data, m.seq); err == nil {
			k.LastUsed = used[k.ID]
		}
		return k, true, err
	})
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	slices.SortFunc(all, func(a, b *APIKey) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

// Written is the revision of the newest write beside the API keys, for SaveAlone.
func (s APIKeys) Written(ctx context.Context) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.KeysBucket)
	defer cancel()
	info, err := s.keyRecords.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for changed API keys: %w", classify(err))
	}
	return info.State.LastSeq, nil
}

// Revision changes with every change of any key, and not with its use.
func (s APIKeys) Revision(ctx context.Context) (uint64, error) {
	ctx, cancel := s.bound(ctx, topology.KeysBucket)
	defer cancel()
	msg, err := s.keyRecords.GetLastMsgForSubject(ctx, topology.APIKeysAll)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for changed API keys: %w", classify(err))
	}
	return msg.Sequence, nil
}

// Forget removes what is left of a key that has ended. Processes that follow
// the keys are not told: they know that the key has ended.
func (s APIKeys) Forget(ctx context.Context, id string) error {
	ctx, cancel := s.bound(ctx, writes+topology.KeysBucket)
	defer cancel()
	for _, subject := range []string{topology.APIKeyUsed(id), topology.APIKey(id)} {
		if err := s.keyRecords.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("forget API key %s: %w", id, classify(err))
		}
	}
	return nil
}

// Watch calls f with every key and then with each change, until ctx ends or the
// store is lost. k is nil where a key was removed, is unreadable, or is none of
// those that callers show. ready is called once, after the last of those that exist
// now.
func (s APIKeys) Watch(ctx context.Context, f func(id string, k *APIKey, rev uint64), ready func()) error {
	w, err := s.apiKeys.Watch(ctx, topology.APIKeyNames)
	if err != nil {
		return fmt.Errorf("watch API keys: %w", classify(err))
	}
	return wrapped("watch API keys", told(ctx, w, func(e jetstream.KeyValueEntry) {
		if !auth.ValidKeyID(e.Key()) || e.Operation() != jetstream.KeyValuePut {
			f(e.Key(), nil, e.Revision())
			return
		}
		k, err := decodeAPIKey(e.Value(), e.Revision())
		if err != nil {
			s.damaged.note(message{subject: topology.APIKey(e.Key()), seq: e.Revision()}, err)
		}
		f(e.Key(), k, e.Revision())
	}, ready))
}

package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/keyring"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/webhook"
)

// Webhooks keeps the receivers of events, and the keys that sign what they get.
type Webhooks struct{ *core }

// Limits of webhooks.
const (
	maxKeys        = 10
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// callbacksOff is the refusal of a core that takes no callbacks.
func callbacksOff() error {
	return Refuse(ErrCallbacksOff, "Send the request to a gateway that takes callbacks.")
}

// Create subscribes a receiver to events. secret is its new key where that is
// shared with the receiver: it is shown this once.
func (c Webhooks) Create(ctx context.Context, who auth.Caller, s WebhookSettings) (e *webhook.Endpoint, secret string, err error) {
	var id string
	defer func() { c.audit(ctx, who, audit.WebhookCreate, id, err) }()
	if c.guard == nil {
		return nil, "", callbacksOff()
	}
	now := task.Stamp(time.Now())
	e = &webhook.Endpoint{ID: webhook.NewID(uuid.Must(uuid.NewV7())), Tenant: who.Tenant, CreatedAt: now, UpdatedAt: now}
	id = string(e.ID)
	secrets := webhook.Secrets{Keys: map[string]string{}}
	var faults []Invalid
	if s.URL == nil {
		faults = append(faults, Field("a webhook needs one", "/url"))
	}
	scheme := s.Scheme
	if scheme == "" {
		scheme = webhook.V1
	}
	secret, fault := addKey(e, &secrets, scheme, s.Secret, now)
	if err := c.apply(e, &secrets, &s, append(faults, fault...)); err != nil {
		return nil, "", err
	}
	if err := c.keys.Seal(e, secrets); err != nil {
		return nil, "", err
	}
	if err := c.addWebhook(ctx, e); err != nil {
		return nil, "", err
	}
	return e, secret, nil
}

// addWebhook records a new webhook. Those of one process are recorded one after
// the other: they would only be in each other's way.
func (c Webhooks) addWebhook(ctx context.Context, e *webhook.Endpoint) error {
	select {
	case c.adding <- struct{}{}:
		defer func() { <-c.adding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	most := c.limits.of(e.Tenant).Webhooks
	if most == tenant.Unlimited {
		most = math.MaxInt
	}
	err := c.store.Webhooks.Add(context.WithoutCancel(ctx), e, most)
	switch {
	case errors.Is(err, webhook.ErrTooMany):
		return limited(ErrTooManyWebhooks, 0, "The tenant has %d, which is its limit. Delete one that is not needed.", most)
	case errors.Is(err, task.ErrConflict):
		return Refuse(ErrConflict, "Webhooks are being changed by others. Try again.")
	}
	return err
}

// addKey puts a new key in front of an endpoint's keys. It returns the secret that
// the receiver needs, which a public key is not.
func addKey(e *webhook.Endpoint, s *webhook.Secrets, scheme webhook.Scheme, own string, now time.Time) (secret string, faults []Invalid) {
	private, public, err := keyring.NewKey(scheme, own)
	if err != nil {
		pointer := "/secret"
		if scheme != webhook.V1 && scheme != webhook.V1a {
			pointer = "/scheme"
		}
		return "", []Invalid{Field(err.Error(), pointer)}
	}
	k := webhook.Key{ID: webhook.NewKeyID(uuid.Must(uuid.NewV7())), Scheme: scheme, Public: public, CreatedAt: now}
	e.Keys = append([]webhook.Key{k}, e.Keys...)
	s.Keys[k.ID] = private
	if scheme == webhook.V1 {
		secret = private
	}
	return secret, nil
}

// Get reads a webhook.
func (c Webhooks) Get(ctx context.Context, who auth.Caller, id webhook.ID) (*webhook.Endpoint, error) {
	if !id.Valid() {
		return nil, webhook.ErrNotFound
	}
	return c.store.Webhooks.Get(ctx, who.Tenant, id)
}

// List lists the webhooks of a tenant in the order of their creation.
func (c Webhooks) List(ctx context.Context, who auth.Caller) ([]*webhook.Endpoint, error) {
	return c.store.Webhooks.List(ctx, who.Tenant)
}

// Unreadable says which of an endpoint's secrets cannot be opened, so that nothing
// is sent to it, and what to do; nil when all can, or this core has no keys.
func (c Webhooks) Unreadable(e *webhook.Endpoint) error {
	if c.keys == nil {
		return nil
	}
	_, err := c.keys.Open(e)
	return err
}

// Update changes a webhook. Its keys change with Rotate.
func (c Webhooks) Update(ctx context.Context, who auth.Caller, id webhook.ID, s WebhookSettings) (e *webhook.Endpoint, err error) {
	defer func() { c.audit(ctx, who, audit.WebhookUpdate, string(id), err) }()
	if s.Secret != "" || s.Scheme != "" {
		return nil, RefuseFields(Field("keys change with POST /webhooks/{id}/rotate-secret", "/secret"))
	}
	return c.change(ctx, who, id, func(e *webhook.Endpoint, secrets *webhook.Secrets) error {
		return c.apply(e, secrets, &s, nil)
	})
}

// change changes a webhook and its secrets by compare-and-set.
func (c Webhooks) change(ctx context.Context, who auth.Caller, id webhook.ID, change func(*webhook.Endpoint, *webhook.Secrets) error) (*webhook.Endpoint, error) {
	if c.guard == nil {
		return nil, callbacksOff()
	}
	ctx = context.WithoutCancel(ctx)
	var e *webhook.Endpoint
	err := besideOthers(ctx, changedByOthers, func() (err error) {
		if e, err = c.Get(ctx, who, id); err != nil {
			return err
		}
		if err := c.rewrite(e, change); err != nil {
			return err
		}
		return c.store.Webhooks.Save(ctx, e)
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func changedByOthers() error {
	return Refuse(ErrConflict, "The webhook is being changed by others. Try again.")
}

// rewrite changes an endpoint and seals its secrets again. Secrets that cannot be
// opened stay as they are until they are replaced: their key may be found again.
func (c Webhooks) rewrite(e *webhook.Endpoint, change func(*webhook.Endpoint, *webhook.Secrets) error) error {
	secrets, lost := c.keys.Open(e)
	if lost != nil && !errors.Is(lost, webhook.ErrUnreadable) {
		return lost
	}
	before := secretsText(secrets)
	if err := change(e, &secrets); err != nil {
		return err
	}
	e.UpdatedAt = task.Stamp(time.Now())
	if lost != nil && bytes.Equal(before, secretsText(secrets)) {
		return nil
	}
	if len(secrets.Keys) == 0 {
		return Refuse(ErrWebhookUnreadable, "The secrets of the webhook cannot be opened. Give it a new one first: POST /webhooks/%s/rotate-secret; then set its headers and certificate again.", e.ID)
	}
	return c.keys.Seal(e, secrets)
}

// secretsText is a form of secrets that two can be compared by.
func secretsText(s webhook.Secrets) []byte {
	raw, _ := json.Marshal(s) // maps in the order of their keys
	return raw
}

// Rotation is what is asked for of a new key.
type Rotation struct {
	Scheme  webhook.Scheme // that of the present key when empty
	Secret  string         // a key of the owner's; empty: a new one is made
	Overlap *time.Duration // how long the old keys go on signing beside it; nil: a day
}

// Rotate gives a webhook a new key that signs from now on, and lets the old ones
// sign for a while beside it. secret is as in Create.
func (c Webhooks) Rotate(ctx context.Context, who auth.Caller, id webhook.ID, r Rotation) (e *webhook.Endpoint, secret string, err error) {
	defer func() { c.audit(ctx, who, audit.WebhookRotate, string(id), err) }()
	overlap := defaultOverlap
	if r.Overlap != nil {
		overlap = *r.Overlap
	}
	if overlap < 0 || overlap > maxOverlap {
		return nil, "", RefuseFields(Field(`it must be a duration such as "24h", 0s to 720h`, "/overlap"))
	}
	e, err = c.change(ctx, who, id, func(e *webhook.Endpoint, s *webhook.Secrets) error {
		var faults []Invalid
		if secret, faults = replaceKey(e, s, r, overlap); len(faults) > 0 {
			return RefuseFields(faults...)
		}
		return nil
	})
	return e, secret, err
}

// replaceKey puts a new key in front and has the others end after the overlap.
// Expired keys go, with their secrets.
func replaceKey(e *webhook.Endpoint, s *webhook.Secrets, r Rotation, overlap time.Duration) (secret string, faults []Invalid) {
	now := task.Stamp(time.Now())
	if r.Scheme == "" {
		r.Scheme = e.Keys[0].Scheme
	}
	end := now.Add(overlap)
	for i, k := range e.Keys {
		if k.ExpiresAt.IsZero() || k.ExpiresAt.After(end) {
			e.Keys[i].ExpiresAt = end
		}
	}
	if secret, faults = addKey(e, s, r.Scheme, r.Secret, now); len(faults) > 0 {
		return "", faults
	}
	e.Keys = slices.DeleteFunc(e.Keys, func(k webhook.Key) bool { return k.Expired(now) || s.Keys[k.ID] == "" })
	e.Keys = e.Keys[:min(len(e.Keys), maxKeys)]
	maps.DeleteFunc(s.Keys, func(id, _ string) bool {
		return !slices.ContainsFunc(e.Keys, func(k webhook.Key) bool { return k.ID == id })
	})
	return secret, nil
}

// Delete deletes a webhook. A delivery on its way to it is canceled when it comes due.
func (c Webhooks) Delete(ctx context.Context, who auth.Caller, id webhook.ID) (err error) {
	defer func() { c.audit(ctx, who, audit.WebhookDelete, string(id), err) }()
	ctx = context.WithoutCancel(ctx)
	return besideOthers(ctx, changedByOthers, func() error {
		e, err := c.Get(ctx, who, id)
		if err != nil {
			return err
		}
		return c.store.Webhooks.Delete(ctx, e)
	})
}

// Keys are the public keys, 32 bytes each, that sign (v1a) what a tenant is sent:
// those of callbacks first. There are none in a core that takes no callbacks.
func (c Webhooks) Keys(ctx context.Context, who auth.Caller) (keys [][]byte, err error) {
	if c.keys == nil {
		return nil, nil
	}
	public, err := c.keys.CallbackPublicKeys(who.Tenant)
	if err != nil {
		return nil, err
	}
	all, err := c.List(ctx, who)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		for _, k := range e.Signing(time.Now()) {
			if k.Public != "" {
				public = append(public, k.Public)
			}
		}
	}
	for _, text := range public {
		raw, err := keyring.PublicKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, raw)
	}
	return keys, nil
}

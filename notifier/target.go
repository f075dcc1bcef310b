package notifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/signature"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// target is where and how a delivery is attempted now: an edited endpoint
// counts from the next attempt on.
type target struct {
	url      string
	keys     []signature.SigningKey
	headers  map[string]string
	media    string // of the body; empty: JSON
	identity egress.Identity
}

// addresses finds the targets of deliveries.
type addresses struct {
	store *store.Store
	keys  *keyring.Ring
}

var errNoKey = errors.New("there is no key to sign with")

// of finds where a delivery goes now, and its webhook, if it has one. It
// returns errGone when that was deleted, and errNoKey when nothing can be signed.
func (a addresses) of(ctx context.Context, d *webhook.Delivery) (to target, e *webhook.Endpoint, err error) {
	if d.Webhook != "" {
		if e, err = a.store.Webhooks.Get(ctx, d.Tenant, d.Webhook); errors.Is(err, webhook.ErrNotFound) {
			return to, nil, errGone
		}
		if err != nil {
			return to, nil, err
		}
		to.url = e.URL
		secrets, err := a.keys.Open(e)
		if err == nil {
			to.url = cmp.Or(secrets.URL, e.URL)
			to.headers = secrets.Headers
			to.identity = egress.Identity{Certificate: e.Certificate, Key: secrets.ClientKey, CA: e.CA}
			to.keys, err = keyring.SigningKeys(e, secrets, time.Now())
		}
		return to, e, noKey(err)
	}
	if d.Push != "" {
		to, err = a.ofPush(ctx, d)
		return to, nil, err
	}
	if to.url, err = a.whole(d); err != nil {
		return to, nil, noKey(err)
	}
	if d.SecretRef == "" {
		to.keys, err = a.keys.CallbackKeys(d.Tenant)
		return to, nil, noKey(err)
	}
	by, err := a.store.Webhooks.Get(ctx, d.Tenant, d.SecretRef)
	if errors.Is(err, webhook.ErrNotFound) {
		return to, nil, fmt.Errorf("%w: webhook %s was deleted", errNoKey, d.SecretRef)
	}
	if err != nil {
		return to, nil, err
	}
	secrets, err := a.keys.Open(by)
	if keys, bad := keyring.SigningKeys(by, secrets, time.Now()); bad == nil { // the rest of its secrets is not needed
		to.keys, err = keys, nil
	} else if err == nil {
		err = bad
	}
	return to, nil, noKey(err)
}

// ofPush finds where a push notification goes: its configuration may have been
// replaced. Its token has two names, since clients of either version look for theirs.
func (a addresses) ofPush(ctx context.Context, d *webhook.Delivery) (to target, err error) {
	p, err := a.store.Pushes.Get(ctx, d.Tenant, task.ID(d.Source), d.Push)
	if errors.Is(err, webhook.ErrPushNotFound) {
		return to, errGone
	}
	if err != nil {
		return to, err
	}
	secrets, err := a.keys.OpenPush(p)
	if err != nil {
		return target{url: p.URL}, noKey(err)
	}
	to = target{url: secrets.URL, media: mediaA2A, headers: map[string]string{}}
	if p.Scheme != "" {
		to.headers["Authorization"] = strings.TrimSpace(p.Scheme + " " + secrets.Credentials)
	}
	if secrets.Token != "" {
		to.headers["A2A-Notification-Token"], to.headers["X-A2A-Notification-Token"] = secrets.Token, secrets.Token
	}
	to.keys, err = a.keys.CallbackKeys(d.Tenant)
	return to, noKey(err)
}

// whole is the URL of a callback, also what of it is sealed.
func (a addresses) whole(d *webhook.Delivery) (string, error) {
	if len(d.SealedURL) == 0 {
		return d.URL, nil
	}
	return a.keys.OpenURL(d.Tenant, d.SealedURL)
}

func noKey(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errNoKey, err)
}

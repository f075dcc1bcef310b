// Package keyring keeps the keys that sign deliveries: those of webhooks, which
// are stored sealed, and those of callbacks, which are derived from the mesh's
// secret key and stored nowhere.
//
// It promises that an endpoint's secrets are opened only for that endpoint, and
// that every key that has not expired signs, the current one first. It knows
// neither where the endpoints are stored nor what is sent to them.
package keyring

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/secret"
	"agentmesh/shared/signature"
	"agentmesh/shared/webhook"
)

// Ring has the keys of one mesh.
type Ring struct {
	keeper    *secret.Keeper
	callbacks sync.Map // tenant -> []signature.SigningKey, since deriving them costs as much as a request
}

// New makes the ring of the mesh's secret keys.
func New(k *secret.Keeper) *Ring { return &Ring{keeper: k} }

// NewKey makes a signing key, or reads the text form of one: whsec_... for v1,
// whsk_... for v1a. It returns the text form, and of v1a the public key. The
// error is webhook.ErrKey.
func NewKey(scheme webhook.Scheme, text string) (private, public string, err error) {
	switch scheme {
	case webhook.V1:
		s := signature.NewSecret()
		if text != "" {
			if s, err = signature.ParseSecret(text); err != nil {
				return "", "", fmt.Errorf("%w: %w", webhook.ErrKey, err)
			}
		}
		return s.Reveal(), "", nil
	case webhook.V1a:
		k := signature.NewPrivateKey()
		if text != "" {
			if k, err = signature.ParsePrivateKey(text); err != nil {
				return "", "", fmt.Errorf("%w: %w", webhook.ErrKey, err)
			}
		}
		return k.Reveal(), k.Public().String(), nil
	}
	return "", "", fmt.Errorf("%w: the scheme is %q, allowed are v1 and v1a", webhook.ErrKey, scheme)
}

// PublicKey reads the text form of a public key, whpk_..., into its 32 bytes.
func PublicKey(text string) ([]byte, error) {
	k, err := signature.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", webhook.ErrKey, err)
	}
	return k.Bytes(), nil
}

// Seal puts an endpoint's secrets into it.
func (r *Ring) Seal(e *webhook.Endpoint, s webhook.Secrets) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("seal secrets of %s: %w", e.ID, err)
	}
	e.Sealed = r.keeper.Seal(e.Purpose(), data)
	return nil
}

// Open reads an endpoint's secrets. With webhook.ErrUnreadable it returns those
// that there are.
func (r *Ring) Open(e *webhook.Endpoint) (s webhook.Secrets, err error) {
	data, err := r.keeper.Open(e.Purpose(), e.Sealed)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		s = webhook.Secrets{}
	}
	if s.Keys == nil {
		s.Keys = map[string]string{}
	}
	if lost := e.Lost(s); lost != nil {
		return s, fmt.Errorf("webhook %s: %w", e.ID, lost)
	}
	return s, nil
}

// Reseal seals an endpoint's secrets with the first of the mesh's keys where another one has,
// and reports whether it did. Secrets that do not open stay as they are.
func (r *Ring) Reseal(e *webhook.Endpoint) (bool, error) {
	if r.keeper.Current(e.Sealed) {
		return false, nil
	}
	s, err := r.Open(e)
	if err != nil {
		return false, nil
	}
	return true, r.Seal(e, s)
}

// ResealHook is Reseal of a hook.
func (r *Ring) ResealHook(h *hook.Hook) (bool, error) {
	if r.keeper.Current(h.Sealed) {
		return false, nil
	}
	secrets, err := r.OpenHook(h)
	if err != nil {
		return false, nil
	}
	return true, r.SealHook(h, secrets)
}

// SealHook puts a hook's secrets into it.
func (r *Ring) SealHook(h *hook.Hook, secrets []string) error {
	data, err := json.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("seal secrets of %s: %w", h.ID, err)
	}
	h.Sealed = r.keeper.Seal(h.Purpose(), data)
	return nil
}

// OpenHook reads a hook's secrets. The error is hook.ErrUnreadable.
func (r *Ring) OpenHook(h *hook.Hook) (secrets []string, err error) {
	data, err := r.keeper.Open(h.Purpose(), h.Sealed)
	if err == nil {
		err = json.Unmarshal(data, &secrets)
	}
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w: %w", h.ID, hook.ErrUnreadable, err)
	}
	return secrets, nil
}

// SealPush puts the secrets of a push configuration into it.
func (r *Ring) SealPush(p *webhook.Push, s webhook.PushSecrets) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("seal secrets of push configuration %s: %w", p.ID, err)
	}
	p.Sealed = r.keeper.Seal(p.Purpose(), data)
	return nil
}

// OpenPush reads the secrets of a push configuration. The error is
// webhook.ErrUnreadable.
func (r *Ring) OpenPush(p *webhook.Push) (s webhook.PushSecrets, err error) {
	data, err := r.keeper.Open(p.Purpose(), p.Sealed)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("push configuration %s of task %s: %w: %w", p.ID, p.Task, webhook.ErrUnreadable, err)
	}
	return s, nil
}

// SealURL seals the URL of a tenant's callback.
func (r *Ring) SealURL(tenant, url string) []byte {
	return r.keeper.Seal(callbackURL+tenant, []byte(url))
}

// OpenURL reads a URL that was sealed. The error is webhook.ErrUnreadable.
func (r *Ring) OpenURL(tenant string, sealed []byte) (string, error) {
	url, err := r.keeper.Open(callbackURL+tenant, sealed)
	if err != nil {
		return "", fmt.Errorf("the URL of the callback: %w: %w", webhook.ErrUnreadable, err)
	}
	return string(url), nil
}

// SealState seals what a client of a tenant carries for the mesh.
func (r *Ring) SealState(tenant string, state []byte) []byte {
	return r.keeper.Seal(carriedState+tenant, state)
}

// OpenState reads a state that was sealed.
func (r *Ring) OpenState(tenant string, sealed []byte) ([]byte, error) {
	return r.keeper.Open(carriedState+tenant, sealed)
}

// CallbackSecret is the secret that signs (v1) the callbacks of a tenant that
// name no webhook's. While the mesh's own key is replaced, one of the old key
// signs beside it.
func (r *Ring) CallbackSecret(tenant string) (signature.Secret, error) {
	return callbackSecret(r.keeper.Derive(callbackV1 + tenant)[0])
}

// The purposes that the keys of callbacks are derived for; the tenant comes after
// each.
const (
	callbackV1  = "callback v1 "
	callbackV1a = "callback v1a "
	callbackURL = "callback url "

	carriedState = "carried state "
)

func callbackSecret(raw []byte) (signature.Secret, error) {
	return signature.ParseSecret("whsec_" + base64.StdEncoding.EncodeToString(raw))
}

func callbackKey(raw []byte) (signature.PrivateKey, error) {
	return signature.ParsePrivateKey("whsk_" + base64.StdEncoding.EncodeToString(raw))
}

// CallbackPublicKeys are the public halves, whpk_..., of the keys that sign (v1a)
// the callbacks of a tenant that name no webhook's: the current one first.
func (r *Ring) CallbackPublicKeys(tenant string) (all []string, err error) {
	for _, raw := range r.keeper.Derive(callbackV1a + tenant) {
		k, err := callbackKey(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, k.Public().String())
	}
	return all, nil
}

// CallbackKeys sign the callbacks of a tenant that name no webhook's.
func (r *Ring) CallbackKeys(tenant string) ([]signature.SigningKey, error) {
	if keys, ok := r.callbacks.Load(tenant); ok {
		return keys.([]signature.SigningKey), nil
	}
	var keys []signature.SigningKey
	for _, raw := range r.keeper.Derive(callbackV1 + tenant) {
		s, err := callbackSecret(raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, s)
	}
	for _, raw := range r.keeper.Derive(callbackV1a + tenant) {
		k, err := callbackKey(raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	r.callbacks.Store(tenant, keys)
	return keys, nil
}

// VerifyingKey is the half of a key of an endpoint that checks signatures.
func VerifyingKey(k webhook.Key, s webhook.Secrets) (signature.VerifyingKey, error) {
	if k.Scheme == webhook.V1a {
		return signature.ParsePublicKey(k.Public)
	}
	return signature.ParseSecret(s.Keys[k.ID])
}

// SigningKeys are the keys of an endpoint that have not expired, the current one
// first.
func SigningKeys(e *webhook.Endpoint, s webhook.Secrets, now time.Time) ([]signature.SigningKey, error) {
	var keys []signature.SigningKey
	for _, k := range e.Signing(now) {
		switch k.Scheme {
		case webhook.V1:
			secret, err := signature.ParseSecret(s.Keys[k.ID])
			if err != nil {
				return nil, fmt.Errorf("key %s of %s: %w", k.ID, e.ID, err)
			}
			keys = append(keys, secret)
		case webhook.V1a:
			private, err := signature.ParsePrivateKey(s.Keys[k.ID])
			if err != nil {
				return nil, fmt.Errorf("key %s of %s: %w", k.ID, e.ID, err)
			}
			keys = append(keys, private)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("webhook %s has no key that is still valid", e.ID)
	}
	return keys, nil
}

package notifier

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"agentmesh/notifier/egress"
	"agentmesh/notifier/signature"
	"agentmesh/shared/secret"
	"agentmesh/shared/webhook"
)

// Receivers decides on addresses and keeps keys. A gateway asks it before it
// accepts a webhook or a callback, a notifier before each attempt: the same
// check.
type Receivers struct {
	guard  *egress.Guard
	keeper *secret.Keeper
	own    sync.Map // tenant -> []signature.SigningKey, since deriving them costs as much as a request
}

// NewReceivers makes the receivers of a policy and the mesh's secret keys.
func NewReceivers(g *egress.Guard, k *secret.Keeper) *Receivers {
	return &Receivers{guard: g, keeper: k}
}

// CheckURL decides whether a URL may be called. The error is webhook.ErrURL or
// webhook.ErrBlocked.
func (r *Receivers) CheckURL(raw string) error {
	_, err := r.guard.CheckURL(raw)
	return err
}

// CheckIdentity says what is wrong with a client certificate, its key and a
// certificate authority, all in PEM. The error is egress.ErrTLS.
func (r *Receivers) CheckIdentity(certificate, key, ca string) error {
	return egress.Identity{Certificate: certificate, Key: key, CA: ca}.Check()
}

// NewKey makes a signing key, or reads the text form of one: whsec_... for v1,
// whsk_... for v1a. It returns the text form, and of v1a the public key. The
// error is webhook.ErrKey.
func (r *Receivers) NewKey(scheme webhook.Scheme, text string) (private, public string, err error) {
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
func (r *Receivers) PublicKey(text string) ([]byte, error) {
	k, err := signature.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", webhook.ErrKey, err)
	}
	return k.Bytes(), nil
}

// Seal puts an endpoint's secrets into it.
func (r *Receivers) Seal(e *webhook.Endpoint, s webhook.Secrets) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("seal secrets of %s: %w", e.ID, err)
	}
	e.Sealed = r.keeper.Seal(e.Purpose(), data)
	return nil
}

// Open reads an endpoint's secrets. With webhook.ErrUnreadable it returns those
// that there are.
func (r *Receivers) Open(e *webhook.Endpoint) (s webhook.Secrets, err error) {
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

// CallbackSecret is the secret that signs (v1) the callbacks of a tenant that
// name no webhook's. While the mesh's own key is replaced, one of the old key
// signs beside it.
func (r *Receivers) CallbackSecret(tenant string) (signature.Secret, error) {
	return callbackSecret(r.keeper.Derive(callbackV1 + tenant)[0])
}

// What the keys of callbacks are derived for, with the tenant after it.
const (
	callbackV1  = "callback v1 "
	callbackV1a = "callback v1a "
)

func callbackSecret(raw []byte) (signature.Secret, error) {
	return signature.ParseSecret("whsec_" + base64.StdEncoding.EncodeToString(raw))
}

func callbackKey(raw []byte) (signature.PrivateKey, error) {
	return signature.ParsePrivateKey("whsk_" + base64.StdEncoding.EncodeToString(raw))
}

// CallbackPublicKeys are the public halves, whpk_..., of the keys that sign (v1a)
// the callbacks of a tenant that name no webhook's: the current one first.
func (r *Receivers) CallbackPublicKeys(tenant string) (all []string, err error) {
	for _, raw := range r.keeper.Derive(callbackV1a + tenant) {
		k, err := callbackKey(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, k.Public().String())
	}
	return all, nil
}

// callbackKeys sign what no webhook's keys do.
func (r *Receivers) callbackKeys(tenant string) ([]signature.SigningKey, error) {
	if keys, ok := r.own.Load(tenant); ok {
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
	r.own.Store(tenant, keys)
	return keys, nil
}

// signingKeys are the keys of an endpoint that have not expired, the current one
// first.
func signingKeys(e *webhook.Endpoint, s webhook.Secrets, now time.Time) ([]signature.SigningKey, error) {
	var keys []signature.SigningKey
	for _, k := range e.Keys {
		if k.Expired(now) {
			continue
		}
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

// certificateExpired reports whether a client certificate, in PEM, is past its
// time.
func certificateExpired(id egress.Identity, now time.Time) bool {
	if id.Certificate == "" {
		return false
	}
	pair, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	return err == nil && pair.Leaf != nil && now.After(pair.Leaf.NotAfter)
}

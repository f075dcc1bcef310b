package mesh

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Keys keeps the API keys. All of it is for admins.
type Keys struct{ *core }

// Limits of API keys.
const (
	maxAPIKeys   = 10_000
	maxKeyName   = 128
	keepEndedFor = 30 * 24 * time.Hour // an ended key is listed so long, and forgotten when another is made
	keyTries     = 20
)

// KeyRequest asks for a new key.
type KeyRequest struct {
	Tenant    string // empty: the caller's
	Scopes    []string
	Name      string
	ExpiresAt *time.Time // nil: never
	// Once makes the id of the key, so that a repeated request makes one key; nil: the
	// id is random.
	Once *Key
}

// Create makes a key, and shows it this once.
func (c Keys) Create(ctx context.Context, who auth.Caller, r KeyRequest) (*store.APIKey, auth.Key, error) {
	k, secret, err := c.create(ctx, who, r)
	if err == nil {
		c.audit(ctx, who.For(k.Tenant), audit.KeyCreate, k.ID, nil)
	} else {
		c.audit(ctx, who, audit.KeyCreate, "", err)
	}
	return k, secret, err
}

func (c Keys) create(ctx context.Context, who auth.Caller, r KeyRequest) (*store.APIKey, auth.Key, error) {
	if err := adminOnly(who); err != nil {
		return nil, auth.Key{}, err
	}
	k, err := newKey(who, r)
	if err != nil {
		return nil, auth.Key{}, err
	}
	secret := auth.NewKey()
	if r.Once != nil {
		secret = auth.NewKeyFor(r.Once.hash)
	}
	if err := c.add(ctx, k, secret); err != nil {
		return nil, auth.Key{}, err
	}
	return k, secret, nil
}

// newKey is what a request asks for, without its id and secret.
func newKey(who auth.Caller, r KeyRequest) (*store.APIKey, error) {
	now := task.Stamp(time.Now())
	k := &store.APIKey{Tenant: cmp.Or(r.Tenant, who.Tenant), Name: r.Name, CreatedAt: now, CreatedBy: cmp.Or(who.KeyID, who.Subject)}
	var faults []Invalid
	if !auth.ValidTenant(k.Tenant) {
		faults = append(faults, Field("a tenant's name has 1 to 64 letters, digits, _ and -, and begins with a letter or a digit", "/tenant"))
	}
	if len(r.Scopes) == 0 {
		faults = append(faults, Field("a key needs one scope at least; there are "+scopeNames(), "/scopes"))
	}
	for i, name := range r.Scopes {
		s := auth.Scope(name)
		if !s.Valid() {
			faults = append(faults, Field(strconv.Quote(Clip(name, 64))+" is no scope; there are "+scopeNames(), "/scopes/"+strconv.Itoa(i)))
		} else if !slices.Contains(k.Scopes, s) {
			k.Scopes = append(k.Scopes, s)
		}
	}
	if len(r.Name) > maxKeyName || strings.ContainsFunc(r.Name, unicode.IsControl) {
		faults = append(faults, Field("a name has up to "+strconv.Itoa(maxKeyName)+" bytes, and no control characters", "/name"))
	}
	if r.ExpiresAt != nil {
		if k.ExpiresAt = task.Stamp(*r.ExpiresAt); !k.ExpiresAt.After(now) {
			faults = append(faults, Field("it must be in the future", "/expires_at"))
		}
	}
	if len(faults) > 0 {
		return nil, RefuseFields(faults...)
	}
	return k, nil
}

func scopeNames() string {
	var names []string
	for _, s := range auth.Scopes {
		names = append(names, string(s))
	}
	return strings.Join(names, " ")
}

// add records a new key under the id of its secret. Keys that ended long ago make
// room.
func (c Keys) add(ctx context.Context, k *store.APIKey, secret auth.Key) error {
	all, err := c.store.APIKeys.List(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	now := time.Now()
	count := len(all)
	for _, old := range all {
		if end := old.Ended(now); end.IsZero() || now.Sub(end) < keepEndedFor || old.ID == secret.ID() || old.CreatedBy == operator {
			continue
		}
		if err := c.store.APIKeys.Forget(ctx, old.ID); err != nil {
			return err
		}
		count--
	}
	if count >= maxAPIKeys {
		return Refuse(ErrTooManyKeys, "There are %d, which is the limit. Revoke those that nobody uses; they are forgotten after %d days.", maxAPIKeys, keepEndedFor/(24*time.Hour))
	}
	k.ID, k.Hash = secret.ID(), secret.Hash()
	err = c.store.APIKeys.Save(ctx, k)
	if errors.Is(err, task.ErrConflict) {
		return Refuse(ErrKeyExists, "The key %s was made for this Idempotency-Key, and shown then. If nobody has it, rotate it: POST /keys/%s/rotate.", k.ID, k.ID)
	}
	return err
}

// adminOnly refuses a caller who is no admin, whichever face let it in.
func adminOnly(who auth.Caller) error {
	if !who.May(auth.Admin) {
		return Refuse(ErrForbidden, "This needs the scope %s, and these credentials have %v.", auth.Admin, who.Scopes)
	}
	return nil
}

// Get reads a key.
func (c Keys) Get(ctx context.Context, who auth.Caller, id string) (*store.APIKey, error) {
	if err := adminOnly(who); err != nil {
		return nil, err
	}
	k, err := c.find(ctx, id)
	if err == nil {
		k.LastUsed, err = c.store.APIKeys.LastUse(ctx, id)
	}
	return k, err
}

func (c Keys) find(ctx context.Context, id string) (*store.APIKey, error) {
	k, err := c.store.APIKeys.Get(ctx, id)
	if errors.Is(err, store.ErrNoAPIKey) {
		return nil, Refuse(ErrKeyNotFound, "There is no key %s. GET /keys lists them; a key is named by its id, the third part of amk_..._..._...", strconv.Quote(Clip(id, 64)))
	}
	return k, err
}

// List lists the keys of a tenant, oldest first; an empty tenant means all. Those
// that have ended are among them for a while.
func (c Keys) List(ctx context.Context, who auth.Caller, tenant string) ([]*store.APIKey, error) {
	if err := adminOnly(who); err != nil {
		return nil, err
	}
	all, err := c.store.APIKeys.List(ctx)
	return slices.DeleteFunc(all, func(k *store.APIKey) bool { return tenant != "" && k.Tenant != tenant }), err
}

// Revoke ends a key at once. The last key that may do what admins may is revoked by
// force only: nobody could make another one.
func (c Keys) Revoke(ctx context.Context, who auth.Caller, id string, force bool) error {
	k, err := c.revoke(ctx, who, id, force)
	if k != nil {
		who = who.For(k.Tenant)
	}
	c.audit(ctx, who, audit.KeyRevoke, id, err)
	return err
}

// revoke ends a key, and says which, if it was found.
func (c Keys) revoke(ctx context.Context, who auth.Caller, id string, force bool) (k *store.APIKey, err error) {
	if err := adminOnly(who); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	for range keyTries {
		since, err := c.store.APIKeys.Written(ctx)
		if err != nil {
			return nil, err
		}
		if k, err = c.find(ctx, id); err != nil || !k.RevokedAt.IsZero() {
			return k, err
		}
		now := task.Stamp(time.Now())
		guarded := !force && k.Live(now) && slices.Contains(k.Scopes, auth.Admin)
		if guarded {
			if err := c.notTheLastAdmin(ctx, k, now); err != nil {
				return k, err
			}
		}
		k.RevokedAt = now
		if guarded { // the others must not be revoked meanwhile
			err = c.store.APIKeys.SaveAlone(ctx, k, since)
		} else {
			err = c.store.APIKeys.Save(ctx, k)
		}
		if !errors.Is(err, task.ErrConflict) {
			return k, err
		}
	}
	return k, keyChangedByOthers()
}

// notTheLastAdmin refuses when no other key may do what admins may.
func (c Keys) notTheLastAdmin(ctx context.Context, k *store.APIKey, now time.Time) error {
	all, err := c.store.APIKeys.List(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != k.ID && other.Live(now) && other.RotatedTo == "" && slices.Contains(other.Scopes, auth.Admin) {
			return nil
		}
	}
	return Refuse(ErrLastAdminKey, "No other key has the scope admin: nobody could make keys any more. Make another one first, or revoke it with ?force=true; the operator can set one again with MESH_ADMIN_KEY.")
}

func keyChangedByOthers() error {
	return Refuse(ErrConflict, "Keys are being changed by others. Try again.")
}

// Rotate makes a key that takes the place of another one: the same tenant, scopes and
// name, and as long a life. The old one goes on for overlap; nil: for a day.
func (c Keys) Rotate(ctx context.Context, who auth.Caller, id string, overlap *time.Duration) (*store.APIKey, auth.Key, error) {
	next, secret, err := c.rotate(ctx, who, id, overlap)
	if err == nil {
		who = who.For(next.Tenant)
		c.audit(ctx, who, audit.KeyCreate, next.ID, nil)
	}
	c.audit(ctx, who, audit.KeyRotate, id, err)
	return next, secret, err
}

func (c Keys) rotate(ctx context.Context, who auth.Caller, id string, overlap *time.Duration) (*store.APIKey, auth.Key, error) {
	if err := adminOnly(who); err != nil {
		return nil, auth.Key{}, err
	}
	rest := defaultOverlap
	if overlap != nil {
		rest = *overlap
	}
	if rest < 0 || rest > maxOverlap {
		return nil, auth.Key{}, RefuseFields(Field(`it must be a duration such as "24h", 0s to 720h`, "/overlap"))
	}
	old, err := c.find(ctx, id)
	if err != nil {
		return nil, auth.Key{}, err
	}
	now := task.Stamp(time.Now())
	if !old.Live(now) {
		return nil, auth.Key{}, Refuse(ErrKeyEnded, "The key %s ended at %s. Make a new one: POST /keys.", id, old.Ended(now).Format(time.RFC3339))
	}
	ctx = context.WithoutCancel(ctx)
	next := &store.APIKey{Tenant: old.Tenant, Scopes: old.Scopes, Name: old.Name, CreatedAt: now, CreatedBy: cmp.Or(who.KeyID, who.Subject)}
	if !old.ExpiresAt.IsZero() {
		next.ExpiresAt = now.Add(old.ExpiresAt.Sub(old.CreatedAt))
	}
	secret := auth.NewKey()
	if err := c.add(ctx, next, secret); err != nil {
		return nil, auth.Key{}, err
	}
	if err := c.retire(ctx, id, next.ID, now.Add(rest)); err != nil {
		if lost := c.store.APIKeys.Forget(ctx, next.ID); lost != nil {
			c.log.WarnContext(ctx, "a key that was made and not shown stays: revoke it", "key", next.ID, "error", lost)
		}
		return nil, auth.Key{}, err
	}
	return next, secret, nil
}

// retire has a key end when another has taken its place.
func (c Keys) retire(ctx context.Context, id, next string, end time.Time) error {
	for range keyTries {
		k, err := c.find(ctx, id)
		if err != nil {
			return err
		}
		if !k.RevokedAt.IsZero() {
			return Refuse(ErrKeyEnded, "The key %s was revoked meanwhile. Make a new one: POST /keys.", id)
		}
		k.RotatedTo = next
		if k.ExpiresAt.IsZero() || k.ExpiresAt.After(end) {
			k.ExpiresAt = end
		}
		if err = c.store.APIKeys.Save(ctx, k); !errors.Is(err, task.ErrConflict) {
			return err
		}
	}
	return keyChangedByOthers()
}

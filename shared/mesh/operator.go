package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// operator is who made the keys that came from files and settings. They are not
// forgotten when they have ended: the file or the setting is still there, and would
// make them live again.
const operator = "operator"

// adminKey is the record of a key that may do everything.
func adminKey(k auth.Key, name string) *store.APIKey {
	return &store.APIKey{
		ID: k.ID(), Hash: k.Hash(), Tenant: auth.DefaultTenant, Name: name,
		Scopes: []auth.Scope{auth.All, auth.Admin}, CreatedAt: task.Stamp(time.Now()), CreatedBy: operator,
	}
}

// FirstKey gives a mesh that has never had the API key of an admin the one by which
// its operator begins: others may have been made while nobody was asked. show makes
// the key and keeps it where the operator finds it: it is called before the key is
// recorded, and again after a crash in between.
func FirstKey(ctx context.Context, st *store.Store, name string, show func() (auth.Key, error)) error {
	all, err := st.APIKeys.List(ctx)
	if err != nil || slices.ContainsFunc(all, ofAdmin) {
		return err
	}
	k, err := show()
	if err != nil {
		return err
	}
	err = st.APIKeys.Save(ctx, adminKey(k, name))
	if errors.Is(err, task.ErrConflict) { // recorded meanwhile
		return nil
	}
	return err
}

// ofAdmin reports whether a key may do what admins may, or might when it had not ended.
func ofAdmin(k *store.APIKey) bool { return slices.Contains(k.Scopes, auth.Admin) }

// SetOperatorKey has the mesh take the key that its operator has set, an admin's, and
// ends the one that was set before. A key that has ended stays so: somebody revoked
// it, or another one has taken its place.
func SetOperatorKey(ctx context.Context, st *store.Store, name string, k auth.Key, log *slog.Logger) error {
	for range keyTries {
		err := setOperatorKey(ctx, st, name, k, log)
		if !errors.Is(err, task.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("set %s: %w", name, task.ErrConflict)
}

func setOperatorKey(ctx context.Context, st *store.Store, name string, k auth.Key, log *slog.Logger) error {
	all, err := st.APIKeys.List(ctx)
	if err != nil {
		return err
	}
	now := task.Stamp(time.Now())
	rec := adminKey(k, name)
	if i := slices.IndexFunc(all, func(old *store.APIKey) bool { return old.ID == k.ID() }); i >= 0 {
		rec = all[i]
	}
	switch {
	case !k.Matches(rec.Hash):
		return fmt.Errorf("set %s: the key %s was made already, with another secret; make another one with: mesh keys make", name, rec.ID)
	case !rec.Live(now):
		log.ErrorContext(ctx, name+" is a key that has ended, and is not taken: make another one with mesh keys make, or remove the setting", "key", rec.ID, "ended", rec.Ended(now))
		return nil
	case !slices.Contains(rec.Scopes, auth.Admin):
		return fmt.Errorf("set %s: the key %s has not the scope admin; make another one with: mesh keys make", name, rec.ID)
	}
	if !rec.Operators {
		rec.Operators = true
		if err := st.APIKeys.Save(ctx, rec); err != nil {
			return err
		}
		log.InfoContext(ctx, "the key of "+name+" is taken", "key", rec.ID)
	}
	for _, old := range all {
		if !old.Operators || old.ID == rec.ID || !old.Live(now) {
			continue
		}
		old.RevokedAt, old.RotatedTo = now, rec.ID
		if err := st.APIKeys.Save(ctx, old); err != nil {
			return err
		}
		log.InfoContext(ctx, "the key of "+name+" before has ended", "key", old.ID)
	}
	return nil
}

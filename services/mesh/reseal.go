package main

import (
	"context"
	"errors"
	"log/slog"

	"agentmesh/shared/hook"
	"agentmesh/shared/keyring"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// reseal seals the secrets of webhooks and hooks with the first of the mesh's keys. They
// are kept until somebody deletes them, so without it they would be lost with the old key
// when that is taken away. The gateway does it before it is ready, so that an operator sees
// when it is done.
func reseal(ctx context.Context, st *store.Store, keys *keyring.Ring, log *slog.Logger) error {
	webhooks, err := st.Webhooks.List(ctx, "")
	if err != nil {
		return err
	}
	hooks, err := st.Hooks.List(ctx, "")
	if err != nil {
		return err
	}
	n := 0
	for _, e := range webhooks {
		again := func() (*webhook.Endpoint, error) { return st.Webhooks.Get(ctx, e.Tenant, e.ID) }
		done, err := resealOne(ctx, e, keys.Reseal, st.Webhooks.Save, again, webhook.ErrNotFound)
		if err != nil {
			return err
		}
		n += done
	}
	for _, h := range hooks {
		again := func() (*hook.Hook, error) { return st.Hooks.Get(ctx, h.Tenant, h.ID) }
		done, err := resealOne(ctx, h, keys.ResealHook, st.Hooks.Save, again, hook.ErrNotFound)
		if err != nil {
			return err
		}
		n += done
	}
	if n > 0 {
		log.Info("the secrets of webhooks and hooks are sealed with the new secret key", "sealed", n)
	}
	return nil
}

// resealOne seals the secrets of one record, which others may change or delete meanwhile.
func resealOne[R any](ctx context.Context, record R, seal func(R) (bool, error), save func(context.Context, R) error, again func() (R, error), gone error) (done int, err error) {
	for {
		changed, err := seal(record)
		if err != nil || !changed {
			return 0, err
		}
		if err = save(ctx, record); !errors.Is(err, task.ErrConflict) {
			return 1, err
		}
		if record, err = again(); errors.Is(err, gone) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
}

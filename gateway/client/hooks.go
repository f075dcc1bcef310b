package client

import (
	"context"
	"net/http"
	"net/url"

	"agentmesh/gateway/api"
)

// The wire types of hooks.
type (
	// Hook takes somebody else's webhooks.
	Hook = api.Hook
	// HookRequest is what a hook is to be; a member that is nil stays as it is.
	HookRequest = api.HookRequest
	// HookRecent are the newest requests to a hook.
	HookRecent = api.HookRecent
)

func hookPath(id string, more ...string) string {
	path := "/hooks/" + url.PathEscape(id)
	for _, m := range more {
		path += "/" + m
	}
	return path
}

// Create makes a hook. Its URL is where the sender POSTs.
func (c Hooks) Create(ctx context.Context, r HookRequest) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodPost, "/hooks", r)
}

// List lists hooks, oldest first.
func (c Hooks) List(ctx context.Context) ([]Hook, error) {
	list, err := ask[api.HookList](ctx, c.wire, http.MethodGet, "/hooks", nil)
	if err != nil {
		return nil, err
	}
	return list.Hooks, nil
}

// Get reads a hook.
func (c Hooks) Get(ctx context.Context, id string) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodGet, hookPath(id), nil)
}

// Update changes a hook.
func (c Hooks) Update(ctx context.Context, id string, r HookRequest) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodPatch, hookPath(id), r)
}

// Delete deletes a hook. What it has started goes on.
func (c Hooks) Delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, hookPath(id), nil, nil, nil)
}

// Pause has a hook take nothing until Resume: senders are told to repeat.
func (c Hooks) Pause(ctx context.Context, id, note string) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodPost, hookPath(id, "pause"), api.PauseHook{Note: note})
}

// Resume has a hook go on.
func (c Hooks) Resume(ctx context.Context, id string) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodPost, hookPath(id, "resume"), nil)
}

// Rotate gives a hook a new secret; an empty overlap is a day.
func (c Hooks) Rotate(ctx context.Context, id, secret, overlap string) (*Hook, error) {
	return ask[Hook](ctx, c.wire, http.MethodPost, hookPath(id, "rotate-secret"), api.RotateHook{Secret: secret, Overlap: overlap})
}

// Recent reads the newest requests to a hook, newest first.
func (c Hooks) Recent(ctx context.Context, id string) (*HookRecent, error) {
	return ask[HookRecent](ctx, c.wire, http.MethodGet, hookPath(id, "recent"), nil)
}

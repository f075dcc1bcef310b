package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/mesh"
)

// hooks are the operations on hooks.
type hooks struct{ mesh *mesh.Mesh }

func (h hooks) routes() []route {
	const one = "/hooks/{id}"
	read, write := auth.HooksRead, auth.HooksWrite
	refused := []*mesh.Refusal{mesh.ErrAgentNotFound, mesh.ErrAgentRequired, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff, mesh.ErrConflict}
	known := []*mesh.Refusal{mesh.ErrHookNotFound, mesh.ErrConflict}
	knock := operation("POST", one, auth.Public, "receiveHook", "Take a delivery of somebody else's webhook: signed as the hook says, without an API key", h.receive, receiving...)
	knock.outside = true
	return []route{
		operation("POST", "/hooks", write, "createHook", "Have somebody else's webhooks start tasks, speak in sessions or answer waiting tasks", h.create, append(refused, mesh.ErrTooManyHooks)...),
		operation("GET", "/hooks", read, "listHooks", "List hooks, oldest first", h.list),
		operation("GET", one, read, "getHook", "Read a hook, without its secrets", h.get, mesh.ErrHookNotFound),
		operation("PATCH", one, write, "updateHook", "Change a hook", h.update, append(refused, mesh.ErrHookNotFound, mesh.ErrHookUnserved, mesh.ErrPreconditionFailed)...),
		operation("DELETE", one, write, "deleteHook", "Delete a hook; what it has started goes on", h.remove, append(known, mesh.ErrPreconditionFailed)...),
		operation("POST", one+"/pause", write, "pauseHook", "Have a hook take nothing until it is resumed; senders are told to repeat", h.pause, known...),
		operation("POST", one+"/resume", write, "resumeHook", "Have a hook go on", h.resume, known...),
		operation("POST", one+"/rotate-secret", write, "rotateHookSecret", "Give a hook a new secret; the one before is believed beside it for a while", h.rotate, append(known, mesh.ErrCallbacksOff, mesh.ErrHookUnserved)...),
		operation("GET", one+"/recent", read, "recentHook", "Read the newest requests to a hook, and what became of them", h.recent, mesh.ErrHookNotFound),
		knock,
	}
}

// onHook is a request about a hook.
type onHook struct {
	request
	ID hook.ID `path:"id"`
}

// hookCreation asks for a new hook.
type hookCreation struct {
	request
	Body api.HookRequest `body:"required"`
}

// hookCreated is its answer.
type hookCreated struct {
	Body     *api.Hook `status:"201"`
	Location string    `header:"Location" doc:"Where the hook is read, and where deliveries are POSTed."`
	ETag     string    `header:"ETag" doc:"The version of the hook."`
}

// create is POST /hooks.
func (h hooks) create(ctx context.Context, in hookCreation) (out hookCreated, err error) {
	var spec hook.Spec
	secrets, faults := applyHook(&spec, in.Body)
	made, err := h.mesh.Hooks.Create(ctx, in.caller(), spec, secrets, faults...)
	if err != nil {
		return out, err
	}
	return hookCreated{new(hookView(in.links(), made)), hookPath(made), revTag(made.Rev)}, nil
}

func hookPath(h *hook.Hook) string { return "/hooks/" + string(h.ID) }

// list is GET /hooks.
func (h hooks) list(ctx context.Context, in plain) (api.HookList, error) {
	all, err := h.mesh.Hooks.List(ctx, in.caller())
	list := api.HookList{Hooks: make([]api.Hook, 0, len(all))}
	for _, one := range all {
		list.Hooks = append(list.Hooks, hookView(in.links(), one))
	}
	return list, err
}

// get is GET /hooks/{id}.
func (h hooks) get(ctx context.Context, in onHook) (out cached[api.Hook], err error) {
	one, err := h.mesh.Hooks.Get(ctx, in.caller(), in.ID)
	return hookAnswer(in.links(), one, err)
}

func hookAnswer(l links, h *hook.Hook, err error) (out cached[api.Hook], _ error) {
	if err != nil {
		return out, err
	}
	return cached[api.Hook]{Body: new(hookView(l, h)), ETag: revTag(h.Rev)}, nil
}

// hookChange asks for a change of a hook.
type hookChange struct {
	onHook
	ifUnchanged
	Body api.HookRequest `body:"required"`
}

// update is PATCH /hooks/{id}.
func (h hooks) update(ctx context.Context, in hookChange) (out cached[api.Hook], err error) {
	one, err := h.mesh.Hooks.Update(ctx, in.caller(), in.ID, in.expect(), func(spec *hook.Spec) ([]string, []mesh.Invalid) {
		return applyHook(spec, in.Body)
	})
	return hookAnswer(in.links(), one, err)
}

// hookDeletion asks for the end of a hook.
type hookDeletion struct {
	onHook
	ifUnchanged
}

// remove is DELETE /hooks/{id}.
func (h hooks) remove(ctx context.Context, in hookDeletion) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Hooks.Delete(ctx, in.caller(), in.ID, in.expect())
}

// hookPause asks a hook to rest.
type hookPause struct {
	onHook
	Body api.PauseHook `body:"optional"`
}

// pause is POST /hooks/{id}/pause.
func (h hooks) pause(ctx context.Context, in hookPause) (out cached[api.Hook], err error) {
	one, err := h.mesh.Hooks.Pause(ctx, in.caller(), in.ID, in.Body.Note)
	return hookAnswer(in.links(), one, err)
}

// resume is POST /hooks/{id}/resume.
func (h hooks) resume(ctx context.Context, in onHook) (out cached[api.Hook], err error) {
	one, err := h.mesh.Hooks.Resume(ctx, in.caller(), in.ID)
	return hookAnswer(in.links(), one, err)
}

// hookRotation asks for another secret.
type hookRotation struct {
	onHook
	Body api.RotateHook `body:"required"`
}

// rotate is POST /hooks/{id}/rotate-secret.
func (h hooks) rotate(ctx context.Context, in hookRotation) (out cached[api.Hook], err error) {
	var overlap *time.Duration
	if in.Body.Overlap != "" {
		d, err := time.ParseDuration(in.Body.Overlap)
		if err != nil {
			d = -1 // any other text is out of range
		}
		overlap = &d
	}
	one, err := h.mesh.Hooks.Rotate(ctx, in.caller(), in.ID, in.Body.Secret, overlap)
	return hookAnswer(in.links(), one, err)
}

// recent is GET /hooks/{id}/recent.
func (h hooks) recent(ctx context.Context, in onHook) (out fresh[api.HookRecent], err error) {
	r, err := h.mesh.Hooks.Recent(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	v := &api.HookRecent{Deliveries: make([]api.HookReceipt, 0, len(r.Receipts)), Counts: hookCounts(r.Counts)}
	for _, one := range r.Receipts {
		v.Deliveries = append(v.Deliveries, receiptView(in.links(), one))
	}
	return fresh[api.HookRecent]{Body: v}, nil
}

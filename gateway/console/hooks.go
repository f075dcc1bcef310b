package console

import (
	"encoding/json"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

var (
	// hooksScreen lists what takes somebody else's webhooks, hookScreen is one of them.
	hooksScreen = screen{name: "hooks", path: "/hooks", title: "Hooks", load: loadHooks, live: []string{"hooks-rows"}, every: 5 * time.Second}
	hookScreen  = screen{
		name: "hook", path: "/hooks/{id}", nav: "hooks", load: loadHook, named: func(body any) string { return hookName(body.(*hookPage).H) },
		live: []string{"hook-recent"}, every: 3 * time.Second,
	}
)

func loadHooks(v *visit) (any, error) { return v.api.Hooks.List(v.ctx()) }

// hookPage is a hook and the newest requests to it.
type hookPage struct {
	H      *client.Hook
	Recent *client.HookRecent
	Does   []byte
}

func loadHook(v *visit) (any, error) {
	h, err := v.api.Hooks.Get(v.ctx(), v.id())
	if err != nil {
		return nil, err
	}
	p := &hookPage{H: h}
	if p.Recent, err = v.api.Hooks.Recent(v.ctx(), v.id()); err != nil {
		return nil, err
	}
	p.Does, err = json.Marshal(struct {
		Verify  api.HookVerify   `json:"verify"`
		Accept  []api.HookRule   `json:"accept,omitempty"`
		Task    *api.HookTask    `json:"task,omitempty"`
		Session *api.HookSession `json:"session,omitempty"`
		Signal  *api.HookSignal  `json:"signal,omitempty"`
	}{h.Verify, h.Accept, h.Task, h.Session, h.Signal})
	return p, err
}

func hookName(h *client.Hook) string { return firstOf(h.Name, short(h.HookID)) }

// does says what a delivery to a hook does.
func does(h client.Hook) string {
	switch {
	case h.Task != nil:
		return "starts a task of " + firstOf(h.Task.Agent, "the default agent")
	case h.Session != nil:
		return "says something in a session of " + firstOf(h.Session.Agent, "the default agent")
	case h.Signal != nil:
		return "answers a waiting task: " + h.Signal.Name
	}
	return ""
}

func pauseHook(v *visit) (string, error) {
	_, err := v.api.Hooks.Pause(v.ctx(), v.id(), v.form("note"))
	return "hooks/" + v.id() + "?said=paused", err
}

func resumeHook(v *visit) (string, error) {
	_, err := v.api.Hooks.Resume(v.ctx(), v.id())
	return "hooks/" + v.id() + "?said=resumed", err
}

func deleteHook(v *visit) (string, error) {
	return "hooks?said=deleted", v.api.Hooks.Delete(v.ctx(), v.id())
}

package console

import (
	"encoding/json"
	"strings"
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

// hooksPage is all hooks, and the form of a new one.
type hooksPage struct {
	Hooks window[client.Hook]
	Form  hookForm
}

// hookForm is what is in the form of a hook; never its secret.
type hookForm struct {
	faults
	Name, Style, Header, ID, Accept      string
	Does, Agent, Instruction, From       string
	SessionKey, SessionText, Task, Waits string
	KeepBodies                           bool
	Agents                               []client.Agent
	Open                                 bool // it was sent, and not taken
}

// hookStyles are the ways to sign, as people know them.
var hookStyles = [][2]string{
	{"standard", "Standard Webhooks"}, {"github", "GitHub"}, {"stripe", "Stripe"}, {"slack", "Slack"}, {"hmac", "another HMAC in a header"}, {"token", "a token in a header"},
}

// Styles are those that the form offers.
func (hookForm) Styles() [][2]string { return hookStyles }

func loadHooks(v *visit) (any, error) {
	all, err := v.api.Hooks.List(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &hooksPage{Hooks: windowOf(v.r.URL.Query(), all, func(h client.Hook) string { return h.Name + " " + h.HookID + " " + does(h) }), Form: hookForm{Style: "standard", Does: "task", From: "body"}}
	p.Form.Agents, err = optional(v.api.Agents.List(v.ctx()))
	return p, err
}

// createHook makes a hook of the form. One that was refused is shown again, without its
// secret.
func createHook(v *visit) (string, error) {
	f := hookForm{
		Name: v.form("name"), Style: v.form("style"), Header: v.form("header"), ID: v.form("id"), Accept: v.r.PostFormValue("accept"),
		Does: v.form("does"), Agent: v.form("agent"), Instruction: v.form("instruction"), From: v.form("from"),
		SessionKey: v.form("key"), SessionText: v.form("text"), Task: v.form("task"), Waits: v.form("waits"), KeepBodies: v.form("keep") == "on", Open: true,
	}
	r, err := f.request(v.r.PostFormValue("secret"))
	var h *client.Hook
	if err == nil {
		h, err = v.api.Hooks.Create(v.ctx(), r)
	}
	if err == nil {
		return "hooks/" + h.HookID + "?said=created", nil
	}
	if f.faults, err = v.faultsOf(err); err != nil {
		return "", err
	}
	body, err := loadHooks(v)
	if err != nil {
		return "", err
	}
	p := body.(*hooksPage)
	f.Agents, p.Form = p.Form.Agents, f
	v.show(hooksScreen.page(v, p))
	return "", nil
}

// request is the hook as the API takes it.
func (f hookForm) request(secret string) (r client.HookRequest, err error) {
	r = client.HookRequest{Verify: &api.HookVerify{Style: f.Style, Secrets: []string{strings.TrimSpace(secret)}}, KeepBodies: &f.KeepBodies}
	if f.Name != "" {
		r.Name = &f.Name
	}
	if f.Style == "hmac" || f.Style == "token" {
		r.Verify.Header, r.Verify.ID = f.Header, firstOf(f.ID, "none")
	}
	if rules, err := rulesOf(f.Accept); err != nil {
		return r, err
	} else if len(rules) > 0 {
		r.Accept = &rules
	}
	switch f.Does {
	case "session":
		r.Session = &api.HookSession{Agent: f.Agent, Key: f.SessionKey, Text: f.SessionText}
	case "signal":
		r.Signal = &api.HookSignal{Task: f.Task, Name: f.Waits}
	default:
		r.Task = &api.HookTask{Work: api.Work{Agent: f.Agent, Instruction: f.Instruction}}
		if f.From != "" {
			r.Task.Input = &api.HookInput{From: f.From}
		}
	}
	return r, nil
}

// rulesOf reads conditions, a line each: X-GitHub-Event=push,pull_request, or
// /action=opened for a place in the body.
func rulesOf(text string) (all []api.HookRule, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		at, values, ok := strings.Cut(line, "=")
		if !ok {
			return nil, wrong("Each condition is a line such as X-GitHub-Event=push,pull_request or /action=opened.")
		}
		rule := api.HookRule{Header: strings.TrimSpace(at)}
		if strings.HasPrefix(rule.Header, "/") {
			rule.Header, rule.JSON = "", rule.Header
		}
		for value := range strings.SplitSeq(values, ",") {
			rule.In = append(rule.In, strings.TrimSpace(value))
		}
		all = append(all, rule)
	}
	return all, nil
}

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

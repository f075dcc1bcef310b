package mesh

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"agentmesh/shared/auth"
	"agentmesh/shared/egress"
	"agentmesh/shared/event"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// maxCallbackEvents bounds the list of types in a request.
const maxCallbackEvents = 32

// callback reads the callback of a submission; nil when it has none. Faults of
// its fields go to faults; an address that the policy forbids is blocked.
func (c *core) callback(ctx context.Context, who auth.Caller, s *Submission, faults *[]Invalid) (cb *task.Callback, blocked, err error) {
	fault := func(pointer, detail string) { *faults = append(*faults, Field(detail, pointer)) }
	if s.CallbackURL == "" {
		if s.Kind == task.KindAction {
			fault("/callback_url", "an action needs one; without a callback it is a task: POST /tasks")
		}
		if len(s.CallbackEvents) > 0 {
			fault("/callback_events", "they need a callback_url")
		}
		if s.CallbackSecret != "" {
			fault("/callback_secret_ref", "it needs a callback_url")
		}
		return nil, nil, nil
	}
	if c.guard == nil {
		return nil, nil, callbacksOff()
	}
	blocked = checkURL(c.guard, s.CallbackURL, "/callback_url", faults)
	cb = &task.Callback{SecretRef: string(s.CallbackSecret)}
	var secret bool
	if cb.URL, secret = webhook.ShownURL(s.CallbackURL); secret {
		cb.Sealed = c.keys.SealURL(who.Tenant, s.CallbackURL)
	}
	if webhook.HidesSecret(s.CallbackURL) {
		fault("/callback_url", hiddenURL)
	}
	cb.Events = eventTypes(s.CallbackEvents, string(s.Kind), "/callback_events", faults)
	if cb.SecretRef == "" {
		return cb, blocked, nil
	}
	err = webhook.ErrNotFound
	if s.CallbackSecret.Valid() {
		_, err = c.store.Webhooks.Get(ctx, who.Tenant, s.CallbackSecret)
	}
	if errors.Is(err, webhook.ErrNotFound) {
		fault("/callback_secret_ref", "there is no such webhook; POST /webhooks makes one, and its id is the reference")
		err = nil
	}
	return cb, blocked, err
}

// hiddenURL is the fault of a URL that was read here and sent back.
const hiddenURL = "it has *** where a secret was left out when it was shown; send the whole URL"

// checkURL has the policy decide on an address: a fault of its form goes to
// faults, one that is blocked is returned.
func checkURL(g *egress.Guard, url, pointer string, faults *[]Invalid) (blocked error) {
	_, err := g.CheckURL(url)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, webhook.ErrBlocked):
		e := Refuse(ErrCallbackBlocked, "%s leads to a private or special address, or back to this mesh, where it sends nothing. "+
			"Use a public https address, or have the operator allow the network with --allow-private-callbacks.", strings.TrimPrefix(pointer, "/"))
		e.Faults = []Invalid{Field("the address is blocked", pointer)}
		return e
	}
	*faults = append(*faults, Field(err.Error(), pointer))
	return nil
}

// eventTypes reads types of events. The kind may be left out before the dot.
func eventTypes(names []string, kind, pointer string, faults *[]Invalid) (types []string) {
	if len(names) > maxCallbackEvents {
		*faults = append(*faults, Field("there are more than "+strconv.Itoa(maxCallbackEvents), pointer))
		return nil
	}
	for i, name := range names {
		full := name
		if kind != "" && !strings.Contains(name, ".") {
			full = kind + "." + name
		}
		if !event.Type(full).Valid() || kind != "" && !strings.HasPrefix(full, kind+".") {
			var allowed []string
			for _, t := range event.Types() {
				if kind == "" || strings.HasPrefix(string(t), kind+".") {
					allowed = append(allowed, string(t))
				}
			}
			*faults = append(*faults, Field("it is "+strconv.Quote(Clip(name, 64))+", allowed are "+strings.Join(allowed, ", "), pointer+"/"+strconv.Itoa(i)))
			continue
		}
		types = append(types, full)
	}
	return types
}

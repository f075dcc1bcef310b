package gateway

import (
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/hook"
	"agentmesh/shared/mesh"
)

// hookView is a hook as clients see it.
func hookView(l links, h *hook.Hook) api.Hook {
	v := h.Verify
	out := api.Hook{
		HookID: string(h.ID), URL: string(l) + hookPath(h), Name: h.Name, Keys: []api.HookKey{}, Accept: []api.HookRule{},
		Verify:  api.HookVerify{Style: string(v.Style), ID: v.ID, Header: v.Header, Prefix: v.Prefix, Encoding: v.Encoding, Algorithm: v.Algorithm, Key: v.Key, Content: v.Content, Timestamp: v.Timestamp, Username: v.Username},
		MaxBody: h.MaxBody, KeepBodies: h.KeepBodies, Paused: h.Paused, Note: h.Note, CreatedAt: h.CreatedAt, UpdatedAt: h.UpdatedAt,
	}
	for _, k := range h.Keys {
		if k.ExpiresAt.IsZero() || time.Now().Before(k.ExpiresAt) {
			out.Keys = append(out.Keys, api.HookKey(k))
		}
	}
	for _, r := range h.Accept {
		out.Accept = append(out.Accept, api.HookRule(r))
	}
	if w := h.Task; w != nil {
		out.Task = &api.HookTask{Work: workView(w.Work), Input: new(api.HookInput(w.Input))}
	}
	if s := h.Session; s != nil {
		out.Session = new(api.HookSession(*s))
	}
	if s := h.Signal; s != nil {
		out.Signal = new(api.HookSignal(*s))
	}
	return out
}

// applyHook puts the members that a request has into a specification. The secrets
// are nil where the request has none.
func applyHook(s *hook.Spec, r api.HookRequest) (secrets []string, faults []mesh.Invalid) {
	put(&s.Name, r.Name)
	put(&s.MaxBody, r.MaxBody)
	put(&s.KeepBodies, r.KeepBodies)
	if v := r.Verify; v != nil {
		s.Verify = hook.Verify{Style: hook.Style(v.Style), ID: v.ID, Header: v.Header, Prefix: v.Prefix, Encoding: v.Encoding, Algorithm: v.Algorithm, Key: v.Key, Content: v.Content, Timestamp: v.Timestamp, Username: v.Username}
		secrets = v.Secrets
	}
	if r.Accept != nil {
		s.Accept = nil
		for _, rule := range *r.Accept {
			s.Accept = append(s.Accept, hook.Rule(rule))
		}
	}
	var f fields
	if r.Task != nil || r.Session != nil || r.Signal != nil { // one takes the place of another
		s.Task, s.Session, s.Signal = nil, nil, nil
	}
	if t := r.Task; t != nil {
		s.Task = f.hookTask(t)
	}
	if t := r.Session; t != nil {
		s.Session = new(hook.Talk(*t))
	}
	if t := r.Signal; t != nil {
		s.Signal = new(hook.Signal(*t))
	}
	return secrets, f.faults
}

func (f *fields) hookTask(t *api.HookTask) *hook.Work {
	w := &hook.Work{Work: f.work(t.Work)}
	if in := t.Input; in != nil {
		w.Input = hook.Input{From: in.From, Headers: in.Headers, Merge: null(in.Merge)}
	}
	return w
}

func receiptView(l links, r hook.Receipt) api.HookReceipt {
	v := api.HookReceipt{
		At: r.At, DeliveryID: r.Delivery, Outcome: string(r.Outcome), Cause: r.Cause, TaskID: string(r.TaskID), Size: r.Size, BodyDiffers: r.Differs, Body: r.Body,
	}
	if r.TaskID != "" {
		v.StatusURL = string(l) + taskURL(r.TaskID)
	}
	return v
}

func hookCounts(c hook.Counts) api.HookCounts {
	return api.HookCounts{Accepted: c.Accepted, Repeated: c.Repeated, Challenge: c.Challenge, Ignored: c.Ignored, Rejected: c.Rejected, Refused: c.Refused, BodyDiffers: c.Differs}
}

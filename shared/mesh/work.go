package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// submissionOf is the task of a schedule or a hook, as if it were asked for now, without
// its input. The query of its callback is opened.
func (c *core) submissionOf(tenant string, w *task.Work) (*Submission, error) {
	url := w.CallbackURL
	if len(w.CallbackSealed) > 0 {
		if c.keys == nil {
			return nil, callbacksOff()
		}
		var err error
		if url, err = c.keys.OpenURL(tenant, w.CallbackSealed); err != nil {
			e := Refuse(ErrCallbacksOff, "The callback_url does not open: the mesh has another secret key. Send the whole URL again, or start the gateway with the key of before.")
			e.Cause = err
			return nil, e
		}
	}
	return &Submission{
		Kind: task.KindTask, Agent: w.Agent, Instruction: w.Instruction, Labels: w.Labels, Metadata: w.Metadata,
		Timeout: time.Duration(w.Timeout), MaxAttempts: w.MaxAttempts,
		CallbackURL: url, CallbackEvents: w.CallbackEvents, CallbackSecret: webhook.ID(w.CallbackSecretRef),
	}, nil
}

// checkWork refuses what the mesh would not accept as a task, and seals the callback of
// what it does. later: the input comes with each delivery.
func (c *core) checkWork(ctx context.Context, who auth.Caller, w *task.Work, input json.RawMessage, later bool) error {
	s, err := c.submissionOf(who.Tenant, w)
	if err != nil {
		return err
	}
	if s.Input = input; later {
		s.Instruction = cmp.Or(s.Instruction, "-")
	}
	if _, err := (Tasks{c}).prepare(ctx, who, s, nil); err != nil && !(later && errors.Is(err, ErrInputInvalid)) {
		return underTask(err)
	}
	c.seal(who.Tenant, w, s.CallbackURL)
	return nil
}

// seal keeps the whole of a callback's URL where nobody reads it.
func (c *core) seal(tenant string, w *task.Work, url string) {
	secret := false
	if w.CallbackURL, secret = webhook.ShownURL(url); url == "" || !secret {
		w.CallbackURL, w.CallbackSealed = url, nil
		return
	}
	w.CallbackSealed = c.keys.SealURL(tenant, url)
}

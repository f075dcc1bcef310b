package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// doors is what stands before the hooks: how often who may knock, and what is
// written down of it.
type doors struct {
	strangers *paces // of addresses, for requests that are not verified
	hooks     *paces // of each hook, for those that are
	log       *hookLog
}

// The paces. One that is verified is given back to its address, so that a provider
// is bounded by the second one only, wherever its requests come from.
const (
	strangersEvery = time.Second
	strangersBurst = 60
	deliveredEvery = 10 * time.Millisecond
	deliveredBurst = 1000
)

func newDoors(st *store.Store, log *slog.Logger) *doors {
	for _, outcome := range hook.Outcomes {
		telemetry.HooksReceived.Add(0, string(outcome)) // so that the first one is seen
	}
	return &doors{strangers: newPaces(strangersEvery, strangersBurst), hooks: newPaces(deliveredEvery, deliveredBurst), log: newHookLog(st, log)}
}

// network stands for an address in limits: an IPv6 address for its network of 64
// bits, all of which one host may have.
func network(addr netip.Addr) string {
	addr, bits := addr.Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	from, _ := addr.Prefix(bits) // of no address: the zero prefix
	return from.String()
}

// stranger takes a request of an address into account that is not verified yet, or
// refuses it.
func (d *doors) stranger(from netip.Addr) (verified func(), err error) {
	name := network(from)
	if p := d.strangers.take(name); !p.ok {
		return nil, limited(ErrRateLimited, p.wait, "Too many requests came from this address that were not verified. Wait as Retry-After says.")
	}
	return func() { d.strangers.back(name) }, nil
}

// Find finds the hook that somebody knocks at, before anything else of the request
// is read. The caller is nobody that is known.
func (c Hooks) Find(ctx context.Context, id hook.ID, from netip.Addr) (*hook.Hook, error) {
	known, err := c.doors.stranger(from)
	if err != nil {
		return nil, err
	}
	if !id.Valid() {
		return nil, hook.ErrNotFound
	}
	h, err := c.store.Hooks.Get(ctx, "", id)
	if err != nil {
		return nil, lostNothing(err)
	}
	known()
	if h.Paused {
		return nil, Refuse(ErrHookPaused, "Send the delivery again later.")
	}
	return h, nil
}

// lostNothing is an error of the store, as a sender is told it: a delivery that
// comes again does nothing twice.
func lostNothing(err error) error {
	if refused := RefusalOf(err); refused.Refusal == ErrStoreUnavailable {
		e := Refuse(ErrStoreUnavailable, "Send the delivery again: it is done once.")
		e.Cause = err
		return e
	}
	return err
}

// HookRequest is a request to a hook, as it came.
type HookRequest struct {
	Headers    hook.Headers
	Body       []byte
	From       netip.Addr
	EventDepth int // how many events lie behind it, see task.Task
}

// HookAnswer is what became of a request that was verified.
type HookAnswer struct {
	Outcome   hook.Outcome
	Challenge string  // what to answer one
	TaskID    task.ID // of what was started or answered; empty: nothing
}

// reception is one request on its way.
type reception struct {
	Hooks

	h       *hook.Hook
	r       HookRequest
	who     auth.Caller
	form    string
	receipt hook.Receipt
}

// Receive verifies a request to a hook and does what the hook does, once for each
// delivery. The error is ErrHookRejected of one that is not verified, with one text
// whatever the cause is.
func (c Hooks) Receive(ctx context.Context, h *hook.Hook, r HookRequest) (a HookAnswer, err error) {
	rec := &reception{
		Hooks: c, h: h, r: r, form: hook.FormOf(r.Headers.Get("Content-Type")),
		who:     auth.Caller{Tenant: h.Tenant, Subject: string(h.ID), Scopes: []auth.Scope{auth.TasksWrite, auth.SessionsWrite}, Addr: r.From},
		receipt: hook.Receipt{At: task.Stamp(time.Now()), Size: len(r.Body)},
	}
	a, err = rec.receive(ctx)
	if err != nil {
		err = rec.refusal(ctx, err)
	}
	rec.note(a, err)
	return a, err
}

// note writes down what became of the request.
func (c *reception) note(a HookAnswer, err error) {
	one := &c.receipt
	if a.Outcome != "" {
		one.Outcome, one.TaskID = a.Outcome, a.TaskID
	}
	if err != nil && one.Outcome == "" {
		one.Outcome = hook.Refused
	}
	if e := (*Error)(nil); errors.As(err, &e) && one.Cause == "" {
		one.Cause = e.Refusal.Code + ": " + Clip(e.Detail, 256)
	}
	if one.Delivery = Clip(one.Delivery, 128); c.h.KeepBodies {
		one.Body = Clip(string(c.r.Body), hook.KeptBody)
	}
	telemetry.HooksReceived.Add(1, string(one.Outcome))
	c.doors.log.note(c.h, *one)
}

func (c *reception) receive(ctx context.Context) (a HookAnswer, err error) {
	verified, err := c.doors.stranger(c.r.From)
	if err != nil {
		return a, err
	}
	secrets, err := c.secrets(c.h)
	if err != nil {
		return a, err
	}
	now := time.Now()
	if err := c.h.Verify.Authentic(c.r.Headers, c.r.Body, c.h.Live(secrets, now), now); err != nil {
		return a, c.rejected(err)
	}
	verified()
	d, err := c.read()
	if err != nil {
		return a, err
	}
	if text, ok := c.h.Verify.Challenge(d); ok {
		return HookAnswer{Outcome: hook.Challenge, Challenge: text}, nil
	}
	if why, ok := c.h.Accepts(d); !ok {
		c.receipt.Cause = Clip(why, 256)
		return HookAnswer{Outcome: hook.Ignored}, nil
	}
	id, known, err := c.h.Verify.DeliveryID(d)
	if err != nil {
		return a, RefuseFields(Field("the delivery has no id there, by which a repeat would be known", c.h.Verify.ID))
	}
	if c.receipt.Delivery = id; !known {
		id = ""
	}
	if p := c.doors.hooks.take(string(c.h.ID)); !p.ok {
		return a, limited(ErrRateLimited, p.wait, "A hook takes %d deliveries a second. Wait as Retry-After says.", time.Second/deliveredEvery)
	}
	if _, err := (Tenants{c.core}).Allow(c.who); err != nil {
		return a, err
	}
	switch {
	case c.h.Task != nil:
		return c.start(ctx, d, id)
	case c.h.Session != nil:
		return c.say(ctx, d, id)
	}
	return c.signal(ctx, d, id)
}

// rejected is the one refusal of all requests that are not verified.
func (c *reception) rejected(cause error) error {
	c.receipt.Outcome, c.receipt.Cause = hook.Rejected, Clip(cause.Error(), 256)
	e := Refuse(ErrHookRejected, "The signature, the timestamp or a header is not as the hook wants it. GET /hooks/{id}/recent tells its owner why.")
	e.Cause = cause
	return e
}

// read parses a body that was verified.
func (c *reception) read() (*hook.Delivery, error) {
	body, err := hook.AsJSON(c.form, c.r.Body)
	if err == nil && !jsontext.Value(body).IsValid() {
		err = errors.New("it is no JSON, has a key twice, or is no UTF-8")
	}
	if err != nil {
		return nil, Refuse(ErrMalformedJSON, "The body cannot be read: %s.", Clip(err.Error(), 256))
	}
	if depth := task.Nesting(body); depth > task.MaxNesting {
		return nil, Refuse(ErrValidationFailed, "The body is nested %d deep, allowed are %d.", depth, task.MaxNesting)
	}
	if faults := WildNumbers(body); len(faults) > 0 {
		return nil, WithFaults(ErrNumberOutOfRange, faults)
	}
	return &hook.Delivery{Headers: c.r.Headers, Body: body}, nil
}

// forSenders are the refusals that a sender is told as they are: it waits, or its
// delivery is at fault. Any other is one of the hook's owner.
var forSenders = []*Refusal{
	ErrHookRejected, ErrHookUnserved, ErrRateLimited, ErrTooManyPending, ErrTooManySessions, ErrStoreUnavailable, ErrStoreFull, ErrInternal,
	ErrMalformedJSON, ErrValidationFailed, ErrInputInvalid, ErrNumberOutOfRange, ErrInputTooComplex, ErrTooLarge, ErrEventChainTooDeep,
}

// refusal is what the sender is told. For what the owner can mend it is told to
// repeat, so that nothing is lost.
func (c *reception) refusal(ctx context.Context, err error) error {
	err = lostNothing(err)
	refused := RefusalOf(err)
	Audit{c.core}.Refused(ctx, c.who, "hook.receive", err)
	for _, r := range forSenders {
		if refused.Refusal == r {
			return err
		}
	}
	c.receipt.Cause = refused.Refusal.Code + ": " + Clip(refused.Detail, 256)
	c.log.WarnContext(ctx, "a delivery cannot be taken, its sender is told to repeat it", "hook", c.h.ID, "tenant", c.h.Tenant, "cause", c.receipt.Cause)
	e := Refuse(ErrHookUnserved, "Send the delivery again later. GET /hooks/{id}/recent tells the owner of the hook what to mend.")
	e.Cause, e.RetryAfter = err, refused.Wait()
	return e
}

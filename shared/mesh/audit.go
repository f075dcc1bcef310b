package mesh

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Audit is the trail of who did what: a log line and an entry of a stream for each
// action that changes something.
type Audit struct{ *core }

// audit notes that somebody did something to an object, and what came of it: err
// is that of the operation. It returns when the entry is stored, so that the
// answer comes after it; when the store does not take it, it is tried again later.
// A refusal changed nothing: it is counted, and logged at a bounded rate.
func (c *core) audit(ctx context.Context, who auth.Caller, action audit.Action, object string, err error) {
	c.trail.note(ctx, who, action, object, err)
}

// auditMade notes that something was made: a and err are what its acceptance came
// to. Those entries are as many as the tasks, so nobody waits for them: they are
// stored some at a time. A repeat makes nothing, and a refusal is no entry.
func (c *core) auditMade(ctx context.Context, who auth.Caller, action audit.Action, object string, a *Acceptance, err error) {
	outcome := outcomeOf(err)
	if err == nil && !a.made || err != nil && outcome != audit.Unknown {
		return
	}
	var trace string
	if err == nil {
		trace = a.TraceID // a child is in the trace of its parent
	}
	if trace == "" {
		trace = telemetry.TraceID(ctx)
	}
	e := entryIn(trace, who, action, object, outcome)
	c.trail.say(ctx, e)
	c.trail.later(e)
}

func entryOf(ctx context.Context, who auth.Caller, action audit.Action, object, outcome string) audit.Entry {
	return entryIn(telemetry.TraceID(ctx), who, action, object, outcome)
}

// entryIn is an entry of a trace.
func entryIn(trace string, who auth.Caller, action audit.Action, object, outcome string) audit.Entry {
	e := audit.Entry{
		At: task.Stamp(time.Now()), Tenant: who.Tenant, Subject: who.Subject, KeyID: who.KeyID, Action: action, Object: Clip(object, 128),
		Outcome: outcome, TraceID: trace,
	}
	if who.Addr.IsValid() {
		e.Address = who.Addr.Unmap().String()
	}
	return e
}

// note is audit.
func (t *trail) note(ctx context.Context, who auth.Caller, action audit.Action, object string, err error) {
	outcome := outcomeOf(err)
	e := entryOf(ctx, who, action, object, outcome)
	if outcome != audit.Done && outcome != audit.Unknown {
		t.refused(ctx, e, slog.Attr{})
		return
	}
	t.say(ctx, e)
	t.now(context.WithoutCancel(ctx), e)
}

// outcomeOf is what an operation came to, in a word that has nothing of the
// request in it.
func outcomeOf(err error) string {
	if err == nil {
		return audit.Done
	}
	var refusal *Refusal
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused.Refusal.Code
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.Is(err, task.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return audit.Unknown
	}
	return refusedOutcome
}

// refusedOutcome is the outcome of what was refused for a reason that has no code
// in the core.
const refusedOutcome = "refused"

// Refused notes an attempt that a face refused before it reached the core: err
// says why, and its cause tells the log more; what is the operation. It is
// counted, and logged at a bounded rate.
func (c Audit) Refused(ctx context.Context, who auth.Caller, what string, err error) {
	var reason slog.Attr
	if e := (*Error)(nil); errors.As(err, &e) && e.Cause != nil {
		reason = slog.Any("reason", e.Cause)
	}
	c.trail.refused(ctx, entryOf(ctx, who, audit.Action(what), "", outcomeOf(err)), reason)
}

// AuditList is a page of the trail.
type AuditList struct {
	Entries []audit.Entry
	Next    string // cursor of the next page, empty on the last one
	Scanned int    // entries that were looked at
}

// List lists the trail of all tenants, newest first, a page from a cursor on. A
// page may be short and still have a next one.
func (c Audit) List(ctx context.Context, _ auth.Caller, f audit.Filter, limit int, cursor string) (l AuditList, err error) {
	if f.Action != "" && !f.Action.Valid() {
		return l, RefuseFields(Field("it is "+Clip(string(f.Action), 64)+", which is no action; there are "+actionNames(), "/action"))
	}
	if f.Tenant != "" && !task.ValidTenant(f.Tenant) {
		return l, RefuseFields(Field("it is no name of a tenant", "/tenant"))
	}
	bound := digest("audit", f.Tenant, string(f.Action), f.Object, f.KeyID, f.After.UTC().Format(time.RFC3339Nano), f.Before.UTC().Format(time.RFC3339Nano))
	at, err := decodeAuditPlace(cursor, bound)
	if err != nil {
		return l, err
	}
	page, err := c.store.Audit.List(ctx, f, at, limit)
	if err != nil {
		return l, err
	}
	l.Entries, l.Scanned = page.Entries, page.Scanned
	if page.Next.Seq > 0 {
		l.Next = bookmark{Record: page.Next.Seq, Skip: page.Next.Skip}.encode(bound)
	}
	return l, nil
}

func decodeAuditPlace(s, bound string) (p store.AuditPlace, err error) {
	if s == "" {
		return p, nil
	}
	c, err := readCursor(s, bound)
	if err == nil && c.Record == 0 {
		err = malformedCursor()
	}
	return store.AuditPlace{Seq: c.Record, Skip: c.Skip}, err
}

func actionNames() string {
	all := ""
	for i, a := range audit.Actions {
		if i > 0 {
			all += ", "
		}
		all += string(a)
	}
	return all
}

// say writes the log line of an entry.
func (t *trail) say(ctx context.Context, e audit.Entry) {
	if t.log.Enabled(ctx, slog.LevelInfo) {
		t.log.LogAttrs(ctx, slog.LevelInfo, "audit", auditLine(e)...)
	}
}

func auditLine(e audit.Entry) []slog.Attr {
	line := append(make([]slog.Attr, 0, 9), slog.Bool("audit", true), slog.String("action", string(e.Action)), slog.String("outcome", e.Outcome), slog.String("tenant", e.Tenant))
	for _, a := range [...]struct{ name, value string }{{"object", e.Object}, {"subject", e.Subject}, {"key_id", e.KeyID}, {"address", e.Address}, {"trace_id", e.TraceID}} {
		if a.value != "" {
			line = append(line, slog.String(a.name, a.value))
		}
	}
	return line
}

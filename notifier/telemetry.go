package notifier

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// causeOf is the span of the attempt that changed the task, empty where it was
// not recorded.
func causeOf(t *task.Task) string {
	if t.Lease == nil {
		return ""
	}
	return t.Lease.TraceParent
}

// startFanout begins the span of reading a change.
func startFanout(ctx context.Context, t *task.Task) (context.Context, trace.Span) {
	from := telemetry.Origin{Request: t.TraceParent, RequestState: t.TraceState, Before: []string{causeOf(t)}}
	return telemetry.StartFanout(ctx, from, telemetry.TaskID(t.ID), telemetry.Tenant(t.Tenant), telemetry.Agent(t.Agent), telemetry.Status(string(t.Status)))
}

// startProcess begins the span of one attempt of a delivery: in the trace of
// the request, however late, and linked to what came before.
func startProcess(ctx context.Context, d *webhook.Delivery, hdr map[string][]string) (context.Context, trace.Span) {
	from := telemetry.Origin{Request: d.TraceParent, RequestState: d.TraceState, Before: []string{d.Cause, d.Previous}}
	attrs := append(make([]telemetry.Attribute, 0, 12), telemetry.TaskID(d.Source), telemetry.Tenant(d.Tenant), telemetry.DeliveryID(d.ID),
		telemetry.Attempt(d.Failures+1), telemetry.MessageID(d.ID), telemetry.Consumer(topology.DeliverDurable))
	if d.Webhook != "" {
		attrs = append(attrs, telemetry.WebhookID(d.Webhook))
	}
	return telemetry.StartProcess(ctx, topology.DueTemplate, hdr, from, attrs...)
}

// kindOf is the kind of error of a request without a good answer.
func kindOf(v verdict) string {
	if v.after == finished {
		return ""
	}
	return string(v.attempt.Class)
}

// beginSeries has the counters of deliveries begin at 0.
func beginSeries() {
	for _, name := range []string{topology.FanoutDurable, topology.SchedulesFanoutDurable, topology.DeliverDurable} {
		telemetry.ConsumersLost.Add(0, name)
	}
	for _, c := range webhook.Classes {
		telemetry.DeliveryAttempts.Add(0, string(c))
	}
	for _, s := range webhook.Statuses {
		if s.Final() {
			telemetry.DeliveriesEnded.Add(0, string(s))
		}
	}
}

// count counts an attempt, and the delivery that it has ended.
func count(d *webhook.Delivery, was webhook.Status, v verdict) {
	class := string(v.attempt.Class)
	telemetry.DeliveryAttempts.Add(1, class)
	telemetry.DeliveryDuration.Record(v.attempt.Duration, class)
	if d.Status.Final() && !was.Final() {
		countEnded(d)
	}
	if v.after == finished {
		telemetry.DeliveryLatency.Record(max(time.Since(d.CreatedAt), 0))
	}
}

func countEnded(d *webhook.Delivery) { telemetry.DeliveriesEnded.Add(1, string(d.Status)) }

// observe reads the breakers of this process.
func (n *Notifier) observe(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
	closed, open, probing := n.lanes.breakers(time.Now())
	set(telemetry.Breakers, float64(closed), "closed")
	set(telemetry.Breakers, float64(open), "open")
	set(telemetry.Breakers, float64(probing), "half_open")
}

// breakers counts the lanes by the state of their breaker.
func (l *lanes) breakers(now time.Time) (closed, open, probing int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, in := range l.by {
		switch b := &in.breaker; {
		case b.until.IsZero():
			closed++
		case now.Before(b.until):
			open++
		default:
			probing++
		}
	}
	return closed, open, probing
}

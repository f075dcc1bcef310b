package gateway

import (
	"context"
	"slices"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// deliveries are the operations on what was sent.
type deliveries struct{ mesh *mesh.Mesh }

func (h deliveries) routes() []route {
	const one = "/deliveries/{id}"
	return append([]route{
		operation("GET", "/deliveries", auth.WebhooksRead, "listDeliveries", "List deliveries, newest change first; ?status=dead are those that were given up", h.listDeliveries, mesh.ErrBadCursor),
		operation("GET", one, auth.WebhooksRead, "getDelivery", "Read a delivery, its payload and every attempt", h.getDelivery, mesh.ErrDeliveryNotFound),
		operation("POST", one+"/redeliver", auth.DeliveriesWrite, "redeliver", "Deliver again, from now and with the whole schedule", h.redeliverOne,
			mesh.ErrDeliveryNotFound, mesh.ErrWebhookNotFound, mesh.ErrWebhookDisabled, mesh.ErrConflict),
		operation("GET", "/tasks/{id}/deliveries", auth.WebhooksRead, "taskDeliveries", "List what was sent of a task, and every attempt", h.taskDeliveries, mesh.ErrTaskNotFound),
	}, ofActions(
		operation("GET", "/actions/{id}/deliveries", auth.WebhooksRead, "actionDeliveries", "List what was sent of an action, and every attempt", h.taskDeliveries),
		operation("POST", "/actions/{id}/redeliver", auth.DeliveriesWrite, "redeliverAction", "Send an action's callbacks again", h.redeliverAction, mesh.ErrNothingToRedeliver),
	)...)
}

// deliveryQuery asks for a page of deliveries.
type deliveryQuery struct {
	request
	Status  []string   `query:"status,list" doc:"One or more of pending, retrying, delivered, dead, parked and canceled, separated by commas or repeated."`
	Webhook webhook.ID `query:"webhook_id" doc:"Deliveries to this webhook."`
	Type    string     `query:"type" doc:"Deliveries of this type of event."`
	Class   string     `query:"class" doc:"Deliveries whose last attempt came to this, such as timeout or server_error."`
	Since   string     `query:"since" doc:"Deliveries created at this time (RFC 3339) or later."`
	paged
}

// filter is what a listing asks for.
func (in deliveryQuery) filter() (mesh.DeliveryFilter, error) {
	f := mesh.DeliveryFilter{Webhook: in.Webhook, Type: event.Type(in.Type), Class: webhook.Class(in.Class)}
	for _, s := range in.Status {
		if !webhook.Status(s).Valid() {
			return f, mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v, several separated by commas.", mesh.Clip(s, 32), webhook.Statuses)
		}
		f.Statuses = append(f.Statuses, webhook.Status(s))
	}
	if f.Class != "" && !slices.Contains(webhook.Classes, f.Class) {
		return f, mesh.Refuse(problem.ErrBadQuery, "class is %q, allowed are %v.", mesh.Clip(in.Class, 32), webhook.Classes)
	}
	var err error
	f.Since, err = instant("since", in.Since)
	return f, err
}

// listDeliveries is GET /deliveries.
func (h deliveries) listDeliveries(ctx context.Context, in deliveryQuery) (out page[api.DeliveryList], err error) {
	f, err := in.filter()
	if err != nil {
		return out, err
	}
	found, err := h.mesh.Deliveries.List(ctx, in.caller(), f, in.Limit.items(), in.Cursor)
	if err != nil {
		return out, err
	}
	list := &api.DeliveryList{Deliveries: deliveryViews(found.Deliveries), NextCursor: found.Next, Scanned: found.Scanned}
	return page[api.DeliveryList]{Body: list, Link: in.next(found.Next)}, nil
}

// onDelivery is a request about a delivery.
type onDelivery struct {
	request
	ID webhook.DeliveryID `path:"id"`
}

// getDelivery is GET /deliveries/{id}.
func (h deliveries) getDelivery(ctx context.Context, in onDelivery) (api.Delivery, error) {
	d, err := h.mesh.Deliveries.Get(ctx, in.caller(), in.ID)
	if err != nil {
		return api.Delivery{}, err
	}
	v := deliveryView(d)
	v.Payload = d.Body
	return v, nil
}

// deliveredAgain is the answer of a delivery that begins again.
type deliveredAgain struct {
	Body     *api.Delivery `status:"202"`
	Location string        `header:"Location" doc:"Where the delivery is read."`
}

// redeliverOne is POST /deliveries/{id}/redeliver.
func (h deliveries) redeliverOne(ctx context.Context, in onDelivery) (out deliveredAgain, err error) {
	d, err := h.mesh.Deliveries.Redeliver(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	return deliveredAgain{Body: new(deliveryView(d)), Location: deliveryURL(d.ID)}, nil
}

// taskDeliveries is GET /tasks/{id}/deliveries.
func (h deliveries) taskDeliveries(ctx context.Context, in onTask) (api.DeliveryList, error) {
	all, err := h.mesh.Deliveries.Of(ctx, in.caller(), task.ID(in.ID))
	return api.DeliveryList{Deliveries: deliveryViews(all), Scanned: len(all)}, err
}

// redeliverAction is POST /actions/{id}/redeliver: all that its callback was
// sent, again.
func (h deliveries) redeliverAction(ctx context.Context, in onTask) (out redelivered, err error) {
	again, err := h.mesh.Deliveries.RedeliverTask(ctx, in.caller(), task.ID(in.ID))
	return redelivered{&api.Redelivered{Redelivered: len(again), Deliveries: deliveryViews(again)}}, err
}

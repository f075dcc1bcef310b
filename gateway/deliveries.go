package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// deliveryQuery asks for a page of deliveries.
type deliveryQuery struct {
	request
	Status  string     `query:"status" doc:"pending, retrying, delivered, dead, parked or canceled."`
	Webhook webhook.ID `query:"webhook_id" doc:"Deliveries to this webhook."`
	Type    string     `query:"type" doc:"Deliveries of this type of event."`
	paged
}

// listDeliveries is GET /deliveries.
func (g *Gateway) listDeliveries(ctx context.Context, in deliveryQuery) (out page[api.DeliveryList], err error) {
	f := mesh.DeliveryFilter{Status: webhook.Status(in.Status), Webhook: in.Webhook, Type: event.Type(in.Type)}
	if f.Status != "" && !f.Status.Valid() {
		return out, mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v.", mesh.Clip(in.Status, 32), webhook.Statuses)
	}
	found, err := g.mesh.Deliveries.List(ctx, in.caller(), f, in.Limit.items(), in.Cursor)
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
func (g *Gateway) getDelivery(ctx context.Context, in onDelivery) (api.Delivery, error) {
	d, err := g.mesh.Deliveries.Get(ctx, in.caller(), in.ID)
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
func (g *Gateway) redeliverOne(ctx context.Context, in onDelivery) (out deliveredAgain, err error) {
	d, err := g.mesh.Deliveries.Redeliver(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	return deliveredAgain{Body: new(deliveryView(d)), Location: deliveryURL(d.ID)}, nil
}

// taskDeliveries is GET /tasks/{id}/deliveries.
func (g *Gateway) taskDeliveries(ctx context.Context, in onTask) (api.DeliveryList, error) {
	all, err := g.mesh.Deliveries.Of(ctx, in.caller(), task.ID(in.ID))
	return api.DeliveryList{Deliveries: deliveryViews(all)}, err
}

// redeliverAction is POST /actions/{id}/redeliver: all that its callback was
// sent, again.
func (g *Gateway) redeliverAction(ctx context.Context, in onTask) (out redelivered, err error) {
	again, err := g.mesh.Deliveries.RedeliverTask(ctx, in.caller(), task.ID(in.ID))
	return redelivered{&api.Redelivered{Redelivered: len(again), Deliveries: deliveryViews(again)}}, err
}

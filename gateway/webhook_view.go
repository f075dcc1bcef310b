package gateway

import (
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

func (g *Gateway) webhookView(e *webhook.Endpoint, secret string) api.Webhook {
	v := api.Webhook{
		WebhookID: string(e.ID), URL: e.URL, Description: e.Description, Events: make([]string, 0, len(e.Events)), Agents: e.Agents, Enabled: e.Disabled == nil,
		Headers: e.Headers, ClientCertificate: e.Certificate, CA: e.CA, Secret: secret, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		Keys: []api.Key{},
	}
	for _, k := range e.Signing(time.Now()) {
		v.Keys = append(v.Keys, api.Key{ID: k.ID, Scheme: string(k.Scheme), Public: k.Public, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt})
	}
	for _, name := range e.Events {
		v.Events = append(v.Events, string(name))
	}
	if v.Agents == nil {
		v.Agents = []string{}
	}
	if e.Disabled != nil {
		v.DisabledReason, v.DisabledAt = e.Disabled.Reason, e.Disabled.At
	}
	if lost := g.mesh.Webhooks.Unreadable(e); lost != nil {
		v.Unreadable = lost.Error()
	}
	return v
}

func deliveryView(d *webhook.Delivery) api.Delivery {
	v := api.Delivery{
		DeliveryID: string(d.ID), EventID: d.EventID, Type: string(d.Type), TaskID: string(d.Source), Agent: d.Agent, WebhookID: string(d.Webhook), URL: d.URL,
		Status: string(d.Status), CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, NextAt: d.NextAt,
		Attempts: []api.DeliveryAttempt{}, TraceID: telemetry.TraceIDOf(d.TraceParent),
	}
	switch {
	case d.Test:
		v.TaskID = ""
	case task.ID(d.Source).Kind() == task.KindAction:
		v.ActionID = string(d.Source)
	}
	for _, a := range d.Attempts {
		v.URL = a.URL
		v.Attempts = append(v.Attempts, api.DeliveryAttempt{
			At: a.At, URL: a.URL, StatusCode: a.StatusCode, DurationMS: float64(a.Duration.Microseconds()) / 1000, Class: string(a.Class),
			Error: a.Error, Answer: a.Answer, Location: a.Location, NextAt: a.NextAt,
		})
	}
	return v
}

func deliveryViews(all []*webhook.Delivery) []api.Delivery {
	views := make([]api.Delivery, 0, len(all))
	for _, d := range all {
		views = append(views, deliveryView(d))
	}
	return views
}

// redelivered is the answer of a request to deliver again.
type redelivered struct {
	Body *api.Redelivered `status:"202"`
}

func deliveryURL(id webhook.DeliveryID) string { return "/deliveries/" + string(id) }

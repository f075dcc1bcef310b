package gateway

import (
	"agentmesh/gateway/api"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

func deliveryView(d *webhook.Delivery) api.Delivery {
	v := api.Delivery{
		DeliveryID: string(d.ID), EventID: d.EventID, Type: string(d.Type), TaskID: string(d.Source), Agent: d.Agent, WebhookID: string(d.Webhook), PushID: d.Push, URL: shownURL(d.URL),
		Status: string(d.Status), CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, NextAt: d.NextAt,
		Attempts: []api.DeliveryAttempt{}, TraceID: telemetry.TraceIDOf(d.TraceParent),
	}
	switch {
	case d.Test:
		v.TaskID = ""
	case schedule.ID(d.Source).Valid():
		v.TaskID, v.ScheduleID = "", string(d.Source)
	case task.ID(d.Source).Kind() == task.KindAction:
		v.ActionID = string(d.Source)
	}
	for _, a := range d.Attempts {
		v.URL = shownURL(a.URL)
		v.Attempts = append(v.Attempts, api.DeliveryAttempt{
			At: a.At, URL: v.URL, StatusCode: a.StatusCode, DurationMS: float64(a.Duration.Microseconds()) / 1000, Class: string(a.Class),
			Error: a.Error, Answer: a.Answer, Location: shownURL(a.Location), NextAt: a.NextAt,
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

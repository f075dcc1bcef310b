package gateway

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// bulk does one thing to all that a filter finds.
type bulk struct{ mesh *mesh.Mesh }

func (h bulk) routes() []route {
	return []route{
		operation("POST", "/tasks/bulk", auth.TasksWrite, "bulkTasks", "Cancel or retry all tasks that a filter finds, or count them", h.tasks, mesh.ErrBadCursor),
		operation("POST", "/deliveries/bulk", auth.DeliveriesWrite, "bulkDeliveries", "Deliver again all that a filter finds, or count it", h.deliveries, mesh.ErrBadCursor),
	}
}

// bulkOfTasks asks for something to be done to tasks.
type bulkOfTasks struct {
	request
	Body api.BulkTasks `body:"required,kept"`
}

// tasks is POST /tasks/bulk.
func (h bulk) tasks(ctx context.Context, in bulkOfTasks) (out fresh[api.BulkDone], err error) {
	var f fields
	filter := f.taskFilter(filterOf(&f, in.body, in.Body.Filter))
	if len(f.faults) > 0 {
		return out, mesh.RefuseFields(f.faults...)
	}
	done, err := h.mesh.Bulk.Tasks(ctx, in.caller(), mesh.BulkAction(in.Body.Action), filter, bulkOf(in.Body.Bulk))
	return fresh[api.BulkDone]{Body: bulkDone(in.Body.Action, in.Body.DryRun, done)}, err
}

// bulkOfDeliveries asks for deliveries to be sent again.
type bulkOfDeliveries struct {
	request
	Body api.BulkDeliveries `body:"required,kept"`
}

// deliveries is POST /deliveries/bulk.
func (h bulk) deliveries(ctx context.Context, in bulkOfDeliveries) (out fresh[api.BulkDone], err error) {
	var f fields
	filter := f.deliveryFilter(filterOf(&f, in.body, in.Body.Filter))
	if in.Body.Action != string(mesh.BulkRedeliver) {
		f.faults = append(f.faults, mesh.Field("it is "+strconv.Quote(mesh.Clip(in.Body.Action, 32))+", allowed is redeliver", "/action"))
	}
	if len(f.faults) > 0 {
		return out, mesh.RefuseFields(f.faults...)
	}
	done, err := h.mesh.Bulk.Deliveries(ctx, in.caller(), filter, bulkOf(in.Body.Bulk))
	return fresh[api.BulkDone]{Body: bulkDone(in.Body.Action, in.Body.DryRun, done)}, err
}

// filterOf is the filter of a body. One that is left out is a mistake, and so is a member
// without a value, as in the query of the list: it would choose everything.
func filterOf[F any](f *fields, body []byte, sent *F) (filter F) {
	if sent == nil {
		f.faults = append(f.faults, mesh.Field("it must be there; {} chooses everything that the action is for", "/filter"))
		return filter
	}
	var raw struct {
		Filter map[string]jsontext.Value `json:"filter"`
	}
	_ = json.Unmarshal(body, &raw) // it was decoded before
	for _, name := range slices.Sorted(maps.Keys(raw.Filter)) {
		value := raw.Filter[name]
		if _ = value.Compact(); slices.Contains([]string{`""`, `[]`, `{}`}, string(value)) {
			f.faults = append(f.faults, mesh.Field("it is empty: give it a value or leave it out", "/filter/"+name))
		}
	}
	return *sent
}

func bulkOf(b api.Bulk) mesh.BulkRequest {
	return mesh.BulkRequest{Limit: b.Limit, DryRun: b.DryRun, Cursor: b.Cursor}
}

func bulkDone(action string, dry bool, done mesh.BulkDone) *api.BulkDone {
	v := &api.BulkDone{Action: action, DryRun: dry, Matched: done.Matched, Done: done.Done, Skipped: done.Skipped, Failed: []api.BulkFailure{}, NextCursor: done.Next}
	for _, f := range done.Failed {
		v.Failed = append(v.Failed, api.BulkFailure(f))
	}
	return v
}

// taskFilter reads the filter of a body.
func (f *fields) taskFilter(b api.TaskFilter) mesh.Filter {
	filter := mesh.Filter{
		Agent: b.Agent, Parent: task.ID(b.ParentID), Session: session.ID(b.SessionID), Kind: task.Kind(b.Kind), Error: b.Error, Worker: b.Worker, Labels: b.Labels,
		CreatedAfter: f.time("/filter/created_after", b.CreatedAfter), CreatedBefore: f.time("/filter/created_before", b.CreatedBefore),
	}
	for i, s := range b.Status {
		if filter.Statuses = append(filter.Statuses, task.State(s)); !task.State(s).Valid() {
			f.oneOf("/filter/status/"+strconv.Itoa(i), s, task.States)
		}
	}
	if b.Kind != "" && !filter.Kind.Valid() {
		f.oneOf("/filter/kind", b.Kind, task.Kinds)
	}
	return filter
}

func (f *fields) deliveryFilter(b api.DeliveryFilter) mesh.DeliveryFilter {
	filter := mesh.DeliveryFilter{
		Webhook: webhook.ID(b.WebhookID), Type: event.Type(b.Type), Class: webhook.Class(b.Class), Since: f.time("/filter/since", b.Since),
	}
	for i, s := range b.Status {
		if filter.Statuses = append(filter.Statuses, webhook.Status(s)); !webhook.Status(s).Valid() {
			f.oneOf("/filter/status/"+strconv.Itoa(i), s, webhook.Statuses)
		}
	}
	if b.Class != "" && !slices.Contains(webhook.Classes, filter.Class) {
		f.oneOf("/filter/class", b.Class, webhook.Classes)
	}
	return filter
}

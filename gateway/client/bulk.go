package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"agentmesh/gateway/api"
)

// BulkOptions say how far one bulk request goes.
type BulkOptions struct {
	Limit  int    // at most so many, up to 10,000; 0: 1,000
	DryRun bool   // count them, and do nothing
	Cursor string // NextCursor of the answer before, to go on
}

func (o BulkOptions) wire() api.Bulk {
	return api.Bulk{Limit: o.Limit, DryRun: o.DryRun, Cursor: o.Cursor}
}

// Bulk cancels or retries (action) the tasks that a filter finds, newest first, or
// counts them. f.Order and f.Limit do not count.
func (c Tasks) Bulk(ctx context.Context, action string, f Filter, o BulkOptions) (*api.BulkDone, error) {
	return c.bulk(ctx, "/tasks/bulk", BulkTasks(action, f, o))
}

// BulkTasks is the body of a bulk request on tasks.
func BulkTasks(action string, f Filter, o BulkOptions) api.BulkTasks {
	return api.BulkTasks{Action: action, Filter: f.wire(), Bulk: o.wire()}
}

// Bulk sends the deliveries again that a filter finds, or counts them: those that are
// dead or parked unless f.Status says otherwise.
func (c Deliveries) Bulk(ctx context.Context, f DeliveryFilter, o BulkOptions) (*api.BulkDone, error) {
	return c.bulk(ctx, "/deliveries/bulk", BulkDeliveries(f, o))
}

// BulkDeliveries is the body of a bulk request on deliveries.
func BulkDeliveries(f DeliveryFilter, o BulkOptions) api.BulkDeliveries {
	return api.BulkDeliveries{Action: "redeliver", Filter: f.wire(), Bulk: o.wire()}
}

func (c *wire) bulk(ctx context.Context, path string, request any) (*api.BulkDone, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("bulk request: %w", err)
	}
	var done api.BulkDone
	err = c.call(ctx, http.MethodPost, path, jsonBody, body, &done)
	return &done, err
}

func (f Filter) wire() *api.TaskFilter {
	return &api.TaskFilter{
		Status: f.Statuses, Agent: f.Agent, ParentID: f.ParentID, SessionID: f.SessionID, Kind: f.Kind, Error: f.Error, Worker: f.Worker, Labels: f.Labels,
		CreatedAfter: stamp(f.After), CreatedBefore: stamp(f.Before),
	}
}

func (f DeliveryFilter) wire() *api.DeliveryFilter {
	w := &api.DeliveryFilter{WebhookID: f.WebhookID, Type: f.Type, Class: f.Class, Since: stamp(f.Since)}
	if f.Status != "" {
		w.Status = strings.Split(f.Status, ",")
	}
	return w
}

// stamp is a time as the gateway reads it, empty for none.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}

package api

// BulkTasks is the body of POST /tasks/bulk.
type BulkTasks struct {
	Action string      `json:"action" enum:"cancel,retry" doc:"cancel is for tasks that wait or run, retry for those that have failed or were canceled. A task is retried once within a day by this."`
	Filter *TaskFilter `json:"filter" doc:"Which tasks: those that GET /tasks would list. {} is every task that the action is for."`
	Bulk
}

// BulkDeliveries is the body of POST /deliveries/bulk.
type BulkDeliveries struct {
	Action string          `json:"action" enum:"redeliver"`
	Filter *DeliveryFilter `json:"filter" doc:"Which deliveries: those that GET /deliveries would list. {} is every one that is dead or parked."`
	Bulk
}

// Bulk says how far one request goes.
type Bulk struct {
	Limit  int    `json:"limit,omitempty" minimum:"1" maximum:"10000" doc:"At most so many; 1000 when left out."`
	DryRun bool   `json:"dry_run,omitempty" doc:"Count them, and do nothing."`
	Cursor string `json:"cursor,omitempty" doc:"The next_cursor of the answer before, to go on; the rest as before."`
}

// TaskFilter chooses tasks. Members that are left out choose all.
type TaskFilter struct {
	Status        []string          `json:"status,omitempty" doc:"Any of these; all that the action is for when left out."`
	Agent         string            `json:"agent,omitempty"`
	ParentID      string            `json:"parent_id,omitempty"`
	SessionID     string            `json:"session_id,omitempty"`
	Kind          string            `json:"kind,omitempty" enum:"task,action,turn"`
	Error         string            `json:"error,omitempty" doc:"Code of the task's error."`
	Worker        string            `json:"worker,omitempty" doc:"That has the task, or had it last."`
	Labels        map[string]string `json:"labels,omitempty"`
	CreatedAfter  string            `json:"created_after,omitempty" format:"date-time"`
	CreatedBefore string            `json:"created_before,omitempty" format:"date-time" doc:"The time of the first request when left out: what is made meanwhile is left alone."`
}

// DeliveryFilter chooses deliveries. Members that are left out choose all.
type DeliveryFilter struct {
	Status    []string `json:"status,omitempty" doc:"Any of these; dead and parked when left out."`
	WebhookID string   `json:"webhook_id,omitempty"`
	Type      string   `json:"type,omitempty" doc:"Of the event."`
	Class     string   `json:"class,omitempty" doc:"What the last attempt came to."`
	Since     string   `json:"since,omitempty" format:"date-time" doc:"Created then or later."`
}

// BulkDone is the answer of a bulk request.
type BulkDone struct {
	Action     string        `json:"action"`
	DryRun     bool          `json:"dry_run,omitempty"`
	Matched    int           `json:"matched" doc:"How many the filter found."`
	Done       int           `json:"done"`
	Skipped    int           `json:"skipped" doc:"Those that were retried by such a request within a day."`
	Failed     []BulkFailure `json:"failed" doc:"Those that were refused, by code, the most frequent first."`
	NextCursor string        `json:"next_cursor" doc:"There may be more: repeat the request with it as cursor. Empty: that was all."`
}

// BulkFailure counts those that were refused for one reason.
type BulkFailure struct {
	Code    string `json:"code"`
	Detail  string `json:"detail,omitempty" doc:"Of the first one."`
	Example string `json:"example" doc:"The id of the first one."`
	Count   int    `json:"count"`
}

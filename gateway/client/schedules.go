package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"agentmesh/gateway/api"
)

// The wire types of schedules.
type (
	// Schedule is what starts again and again.
	Schedule = api.Schedule
	// ScheduleRequest is what a schedule is to be; a member that is nil stays as
	// it is.
	ScheduleRequest = api.ScheduleRequest
	// ScheduleRun is one due time and what became of it.
	ScheduleRun = api.ScheduleRun
	// SchedulePreview are the times at which a schedule would be due.
	SchedulePreview = api.SchedulePreview
)

func schedulePath(name string, more ...string) string {
	path := "/schedules/" + url.PathEscape(name)
	for _, m := range more {
		path += "/" + m
	}
	return path
}

// ask sends a request with a body, if there is one, and reads the answer.
func ask[T any](ctx context.Context, w *wire, method, path string, body any) (*T, error) {
	if body == nil {
		out := new(T)
		return out, w.call(ctx, method, path, nil, nil, out)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, w.call(ctx, method, path, jsonBody, raw, out)
}

// Create makes a schedule.
func (s Schedules) Create(ctx context.Context, r ScheduleRequest) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodPost, "/schedules", r)
}

// Put makes the schedule of a name what r says, whatever it was before.
func (s Schedules) Put(ctx context.Context, name string, r ScheduleRequest) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodPut, schedulePath(name), r)
}

// List lists the schedules, oldest first.
func (s Schedules) List(ctx context.Context) ([]Schedule, error) {
	all, err := ask[api.ScheduleList](ctx, s.wire, http.MethodGet, "/schedules", nil)
	if err != nil {
		return nil, err
	}
	return all.Schedules, nil
}

// Get reads a schedule.
func (s Schedules) Get(ctx context.Context, name string) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodGet, schedulePath(name), nil)
}

// Update changes a schedule.
func (s Schedules) Update(ctx context.Context, name string, r ScheduleRequest) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodPatch, schedulePath(name), r)
}

// Delete deletes a schedule; what it has started goes on.
func (s Schedules) Delete(ctx context.Context, name string) error {
	return s.call(ctx, http.MethodDelete, schedulePath(name), nil, nil, nil)
}

// Pause has a schedule start nothing until Resume.
func (s Schedules) Pause(ctx context.Context, name, note string) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodPost, schedulePath(name, "pause"), api.PauseSchedule{Note: note})
}

// Resume has a schedule go on from now.
func (s Schedules) Resume(ctx context.Context, name string) (*Schedule, error) {
	return ask[Schedule](ctx, s.wire, http.MethodPost, schedulePath(name, "resume"), nil)
}

// Trigger starts a run now, by the overlap policy.
func (s Schedules) Trigger(ctx context.Context, name string) (*ScheduleRun, error) {
	return ask[ScheduleRun](ctx, s.wire, http.MethodPost, schedulePath(name, "trigger"), nil)
}

// Backfill runs the times of a span that has passed.
func (s Schedules) Backfill(ctx context.Context, name string, r api.BackfillSchedule) (*api.ScheduleTimes, error) {
	return ask[api.ScheduleTimes](ctx, s.wire, http.MethodPost, schedulePath(name, "backfill"), r)
}

// Runs are the newest due times and what became of them, newest first.
func (s Schedules) Runs(ctx context.Context, name string) ([]ScheduleRun, error) {
	all, err := ask[api.ScheduleRuns](ctx, s.wire, http.MethodGet, schedulePath(name, "runs"), nil)
	if err != nil {
		return nil, err
	}
	return all.Runs, nil
}

// Preview says when a schedule would be due, without keeping it.
func (s Schedules) Preview(ctx context.Context, r api.PreviewSchedule) (*SchedulePreview, error) {
	return ask[SchedulePreview](ctx, s.wire, http.MethodPost, "/schedules/preview", r)
}

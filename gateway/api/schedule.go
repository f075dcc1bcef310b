package api

import (
	"encoding/json"
	"time"
)

// ScheduleRequest is the body of POST, PUT and PATCH of schedules. A member that a
// PATCH leaves out stays as it is; an empty one goes.
type ScheduleRequest struct {
	Name     *string   `json:"name,omitempty" maxLength:"64" doc:"One of your own, to find it by: PUT /schedules/{name}."`
	Cron     *[]string `json:"cron,omitempty" example:"[\"0 2 * * *\"]" doc:"Expressions of five fields (minute hour day month weekday), or @hourly to @yearly; each is due by itself. Not with every."`
	Every    *string   `json:"every,omitempty" example:"90s" doc:"An interval from 1s to 8784h. Not with cron."`
	Anchor   *string   `json:"anchor,omitempty" format:"date-time" doc:"From when every counts; the creation when left out."`
	Timezone *string   `json:"timezone,omitempty" example:"Europe/Berlin" doc:"Of cron and exclude, from the IANA database; UTC when left out."`

	Task        *ScheduleTask      `json:"task,omitempty" doc:"What each run starts. Either this or message."`
	Message     *ScheduleMessage   `json:"message,omitempty" doc:"What each run says in a session."`
	Labels      *map[string]string `json:"labels,omitempty" doc:"Short for task.labels."`
	CallbackURL *string            `json:"callback_url,omitempty" format:"uri" doc:"Short for task.callback_url."`

	Overlap            *string          `json:"overlap,omitempty" enum:"skip,queue,queue_all,cancel_running,allow" doc:"What becomes of a due time while the run before is open: skip (default), one waits, up to 100 wait, the open run is canceled, or both run."`
	CatchUp            *ScheduleCatchUp `json:"catch_up,omitempty" doc:"Which of the times that nobody was there for run after all."`
	Jitter             *string          `json:"jitter,omitempty" example:"5m" doc:"A run begins up to this much late, the same amount each time it is asked for; at most half of the shortest distance."`
	StartAt            *string          `json:"start_at,omitempty" format:"date-time" doc:"No run before."`
	EndAt              *string          `json:"end_at,omitempty" format:"date-time" doc:"No run from then on."`
	Exclude            *[]string        `json:"exclude,omitempty" example:"[\"2026-12-25\"]" doc:"Days without runs."`
	MaxRuns            *int             `json:"max_runs,omitempty" minimum:"0" doc:"After so many runs it is over; 0: never."`
	PauseAfterFailures *int             `json:"pause_after_failures,omitempty" minimum:"0" doc:"After so many failed runs in a row it is paused; 0: never."`
}

// ScheduleTask is the task that each run of a schedule starts: the fields of POST
// /tasks that are the same each time.
type ScheduleTask struct {
	Work
	Input json.RawMessage `json:"input,omitempty" doc:"At most 256 KiB."`
}

// ScheduleMessage is what each run of a schedule says in a session.
type ScheduleMessage struct {
	SessionID string `json:"session_id"`
	Text      string `json:"text"`
}

// ScheduleCatchUp is what becomes of due times that were missed.
type ScheduleCatchUp struct {
	Policy string `json:"policy,omitempty" enum:"one,all,none" doc:"The newest (default), all of them with the oldest first, or none."`
	Window string `json:"window,omitempty" example:"24h" doc:"How late a time may run: 24h when left out, at most 720h."`
	Max    int    `json:"max,omitempty" minimum:"1" maximum:"1000" doc:"Of all: how many, the newest; 100 when left out."`
}

// Schedule is a schedule as clients see it.
type Schedule struct {
	ScheduleID string    `json:"schedule_id"`
	Name       string    `json:"name,omitempty"`
	Cron       []string  `json:"cron,omitempty"`
	Every      string    `json:"every,omitempty"`
	Anchor     time.Time `json:"anchor,omitzero"`
	Timezone   string    `json:"timezone"`

	Task    *ScheduleTask    `json:"task,omitempty"`
	Message *ScheduleMessage `json:"message,omitempty"`

	Overlap            string          `json:"overlap" enum:"skip,queue,queue_all,cancel_running,allow"`
	CatchUp            ScheduleCatchUp `json:"catch_up"`
	Jitter             string          `json:"jitter,omitempty"`
	StartAt            time.Time       `json:"start_at,omitzero"`
	EndAt              time.Time       `json:"end_at,omitzero"`
	Exclude            []string        `json:"exclude,omitempty"`
	MaxRuns            int             `json:"max_runs,omitempty"`
	PauseAfterFailures int             `json:"pause_after_failures,omitempty"`

	NextAt  []time.Time    `json:"next_at" doc:"The next five times, in its zone. Empty while it is paused, and when it is over."`
	Paused  bool           `json:"paused"`
	Note    string         `json:"note,omitempty" doc:"Why it is paused, or what a change of the clock does to one of the next times."`
	Waiting int            `json:"waiting,omitempty" doc:"Due times that wait for the open run."`
	Counts  ScheduleCounts `json:"counts"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ScheduleCounts are how many due times of a schedule had which outcome.
type ScheduleCounts struct {
	Fired   int `json:"fired"`
	Skipped int `json:"skipped" doc:"By the overlap policy."`
	Missed  int `json:"missed" doc:"Nobody was there, and catch_up did not run them."`
	Failed  int `json:"failed" doc:"Runs whose task failed or was refused, as far as the schedule has looked."`
}

// ScheduleList is the answer of GET /schedules.
type ScheduleList struct {
	Schedules []Schedule `json:"schedules"`
}

// ScheduleRun is one due time of a schedule and what became of it.
type ScheduleRun struct {
	ScheduledAt time.Time `json:"scheduled_at" doc:"The nominal time."`
	DecidedAt   time.Time `json:"decided_at"`
	Outcome     string    `json:"outcome" enum:"fired,waiting,skipped,missed,refused"`
	TaskID      string    `json:"task_id,omitempty"`
	StatusURL   string    `json:"status_url,omitempty"`
	Status      string    `json:"status,omitempty" doc:"Of the task, when the schedule looked last."`
	Reason      string    `json:"reason,omitempty"`
}

// ScheduleRuns is the answer of GET /schedules/{id}/runs.
type ScheduleRuns struct {
	Runs []ScheduleRun `json:"runs" doc:"The newest 20, newest first."`
}

// PauseSchedule is the body of POST /schedules/{id}/pause; it may be left out.
type PauseSchedule struct {
	Note string `json:"note,omitempty" maxLength:"256" doc:"Why."`
}

// BackfillSchedule is the body of POST /schedules/{id}/backfill.
type BackfillSchedule struct {
	From    string `json:"from" format:"date-time"`
	To      string `json:"to" format:"date-time"`
	Overlap string `json:"overlap,omitempty" enum:"skip,queue,queue_all,cancel_running,allow" doc:"allow when left out."`
}

// ScheduleTimes is the answer of POST /schedules/{id}/backfill.
type ScheduleTimes struct {
	Times []time.Time `json:"times"`
}

// PreviewSchedule is the body of POST /schedules/preview: the members of a schedule
// that say when.
type PreviewSchedule struct {
	Cron     []string `json:"cron,omitempty"`
	Every    string   `json:"every,omitempty"`
	Anchor   string   `json:"anchor,omitempty" format:"date-time"`
	Timezone string   `json:"timezone,omitempty"`
	StartAt  string   `json:"start_at,omitempty" format:"date-time"`
	EndAt    string   `json:"end_at,omitempty" format:"date-time"`
	Exclude  []string `json:"exclude,omitempty"`
	Count    *int     `json:"count,omitempty" minimum:"1" maximum:"100" doc:"How many times; 5 when left out."`
	From     string   `json:"from,omitempty" format:"date-time" doc:"After when; now when left out."`
}

// SchedulePreview is the answer of POST /schedules/preview.
type SchedulePreview struct {
	NextAt []time.Time   `json:"next_at"`
	Runs   []PreviewTime `json:"runs"`
}

// PreviewTime is a time that would be due.
type PreviewTime struct {
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty" doc:"What a change of the clock does to it."`
}

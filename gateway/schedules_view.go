package gateway

import (
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
)

// view is a schedule as clients see it.
func (h schedules) view(s *schedule.Schedule) api.Schedule {
	v := api.Schedule{
		ScheduleID: string(s.ID), Name: s.Name, Cron: s.Cron, Every: duration(s.Every), Anchor: s.Anchor, Timezone: s.Timezone,
		Overlap: string(s.Overlap), CatchUp: api.ScheduleCatchUp{Policy: string(s.CatchUp.Policy), Window: duration(s.CatchUp.Window), Max: s.CatchUp.Max},
		Jitter: duration(s.Jitter), StartAt: s.StartAt, EndAt: s.EndAt, Exclude: s.Exclude, MaxRuns: s.MaxRuns, PauseAfterFailures: s.PauseAfterFailures,
		NextAt: []time.Time{}, Paused: s.Paused, Note: s.Note, Waiting: len(s.Waits), Counts: api.ScheduleCounts(s.Counts), CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
	if w := s.Task; w != nil {
		v.Task = &api.ScheduleTask{Work: workView(w.Work), Input: w.Input}
	}
	if m := s.Message; m != nil {
		v.Message = &api.ScheduleMessage{SessionID: m.SessionID, Text: m.Text}
	}
	for _, r := range h.mesh.Schedules.Next(s, 5) {
		v.NextAt = append(v.NextAt, r.At)
		if v.Note == "" {
			v.Note = r.Note
		}
	}
	return v
}

// applySchedule puts the members that a request has into a specification.
func applySchedule(s *schedule.Spec, r api.ScheduleRequest) []mesh.Invalid {
	var f fields
	put(&s.Name, r.Name)
	put(&s.Cron, r.Cron)
	put(&s.Timezone, r.Timezone)
	put(&s.Exclude, r.Exclude)
	put(&s.MaxRuns, r.MaxRuns)
	put(&s.PauseAfterFailures, r.PauseAfterFailures)
	for _, d := range []struct {
		to      *task.Duration
		from    *string
		pointer string
	}{{&s.Every, r.Every, "/every"}, {&s.Jitter, r.Jitter, "/jitter"}} {
		if d.from != nil {
			*d.to = f.duration(d.pointer, *d.from)
		}
	}
	for _, t := range []struct {
		to      *time.Time
		from    *string
		pointer string
	}{{&s.Anchor, r.Anchor, "/anchor"}, {&s.StartAt, r.StartAt, "/start_at"}, {&s.EndAt, r.EndAt, "/end_at"}} {
		if t.from != nil {
			*t.to = f.time(t.pointer, *t.from)
		}
	}
	if r.Overlap != nil {
		s.Overlap = schedule.Overlap(*r.Overlap)
	}
	if c := r.CatchUp; c != nil {
		if c.Policy != "" {
			s.CatchUp.Policy = schedule.Policy(c.Policy)
		}
		if c.Window != "" {
			s.CatchUp.Window = f.duration("/catch_up/window", c.Window)
		}
		if c.Max != 0 {
			s.CatchUp.Max = c.Max
		}
	}
	applyWork(&f, s, r)
	return f.faults
}

// work puts what a schedule starts into its specification. A task takes the place
// of a message, and the other way round.
func applyWork(f *fields, s *schedule.Spec, r api.ScheduleRequest) {
	if t := r.Task; t != nil {
		s.Task = &schedule.Work{Work: f.work(t.Work), Input: null(t.Input)}
		if r.Message == nil {
			s.Message = nil
		}
	}
	if m := r.Message; m != nil {
		s.Message = &schedule.Message{SessionID: m.SessionID, Text: m.Text}
		if r.Task == nil {
			s.Task = nil
		}
	}
	for pointer, sent := range map[string]bool{"/labels": r.Labels != nil, "/callback_url": r.CallbackURL != nil} {
		if sent && s.Task == nil {
			f.faults = append(f.faults, mesh.Field("it is for a schedule that starts a task", pointer))
		}
	}
	if s.Task != nil {
		put(&s.Task.Labels, r.Labels)
		if r.CallbackURL != nil {
			s.Task.CallbackURL, s.Task.CallbackSealed = *r.CallbackURL, nil
		}
	}
}

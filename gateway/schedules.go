package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/schedule"
)

// schedules are the operations on schedules.
type schedules struct{ mesh *mesh.Mesh }

func (h schedules) routes() []route {
	const one = "/schedules/{id}"
	read, write := auth.SchedulesRead, auth.SchedulesWrite
	refused := []*mesh.Refusal{mesh.ErrAgentNotFound, mesh.ErrAgentRequired, mesh.ErrInputInvalid, mesh.ErrInputTooComplex, mesh.ErrCallbackBlocked, mesh.ErrCallbacksOff,
		mesh.ErrSessionNotFound, mesh.ErrSessionExpired, mesh.ErrTooManySchedules, mesh.ErrScheduleExists, mesh.ErrConflict}
	known := []*mesh.Refusal{mesh.ErrScheduleNotFound, mesh.ErrConflict}
	return []route{
		operation("POST", "/schedules", write, "createSchedule", "Start a task, or say something in a session, again and again", h.create, refused...),
		operation("GET", "/schedules", read, "listSchedules", "List schedules, oldest first", h.list),
		operation("POST", "/schedules/preview", read, "previewSchedule", "Read when a schedule would be due, without keeping it", h.preview),
		operation("GET", one, read, "getSchedule", "Read a schedule, by its id or name", h.get, mesh.ErrScheduleNotFound),
		operation("PUT", one, write, "putSchedule", "Make the schedule of a name what the body says", h.put, refused...),
		operation("PATCH", one, write, "updateSchedule", "Change a schedule", h.update, append(refused, mesh.ErrScheduleNotFound, mesh.ErrPreconditionFailed)...),
		operation("DELETE", one, write, "deleteSchedule", "Delete a schedule; what it has started goes on", h.remove, append(known, mesh.ErrPreconditionFailed)...),
		operation("POST", one+"/pause", write, "pauseSchedule", "Have a schedule start nothing until it is resumed", h.pause, known...),
		operation("POST", one+"/resume", write, "resumeSchedule", "Have a schedule go on from now", h.resume, known...),
		operation("POST", one+"/trigger", write, "triggerSchedule", "Start a run now, by the overlap policy", h.trigger, known...),
		operation("POST", one+"/backfill", write, "backfillSchedule", "Run the times of a span that has passed", h.backfill, known...),
		operation("GET", one+"/runs", read, "scheduleRuns", "Read what became of the newest due times", h.runs, mesh.ErrScheduleNotFound),
	}
}

// onSchedule is a request about a schedule.
type onSchedule struct {
	request
	ID string `path:"id"`
}

// scheduleCreation asks for a new schedule.
type scheduleCreation struct {
	request
	Body api.ScheduleRequest `body:"required"`
}

// scheduleMade is an answer with a schedule that is new, or one that was there.
type scheduleMade struct {
	Old      *api.Schedule `status:"200"`
	Body     *api.Schedule `status:"201"`
	Location string        `header:"Location" on:"201" doc:"Where the schedule is read."`
	ETag     string        `header:"ETag" doc:"The version of the schedule."`
}

// scheduleCreated is the answer of a POST.
type scheduleCreated struct {
	Body     *api.Schedule `status:"201"`
	Location string        `header:"Location" doc:"Where the schedule is read."`
	ETag     string        `header:"ETag" doc:"The version of the schedule."`
}

// create is POST /schedules.
func (h schedules) create(ctx context.Context, in scheduleCreation) (out scheduleCreated, err error) {
	var spec schedule.Spec
	faults := applySchedule(&spec, in.Body)
	s, err := h.mesh.Schedules.Create(ctx, in.caller(), spec, faults...)
	if err != nil {
		return out, err
	}
	return scheduleCreated{new(h.view(s)), schedulePath(s), revTag(s.Rev)}, nil
}

func schedulePath(s *schedule.Schedule) string { return "/schedules/" + string(s.ID) }

// schedulePut asks for the schedule of a name.
type schedulePut struct {
	onSchedule
	Body api.ScheduleRequest `body:"required"`
}

// put is PUT /schedules/{name}.
func (h schedules) put(ctx context.Context, in schedulePut) (out scheduleMade, err error) {
	var spec schedule.Spec
	faults := applySchedule(&spec, in.Body)
	s, created, err := h.mesh.Schedules.Put(ctx, in.caller(), in.ID, spec, faults...)
	if err != nil {
		return out, err
	}
	if created {
		return scheduleMade{Body: new(h.view(s)), Location: schedulePath(s), ETag: revTag(s.Rev)}, nil
	}
	return scheduleMade{Old: new(h.view(s)), ETag: revTag(s.Rev)}, nil
}

// list is GET /schedules.
func (h schedules) list(ctx context.Context, in plain) (api.ScheduleList, error) {
	all, err := h.mesh.Schedules.List(ctx, in.caller())
	list := api.ScheduleList{Schedules: make([]api.Schedule, 0, len(all))}
	for _, s := range all {
		list.Schedules = append(list.Schedules, h.view(s))
	}
	return list, err
}

// get is GET /schedules/{id}.
func (h schedules) get(ctx context.Context, in onSchedule) (out cached[api.Schedule], err error) {
	return h.answer(h.mesh.Schedules.Get(ctx, in.caller(), in.ID))
}

func (h schedules) answer(s *schedule.Schedule, err error) (out cached[api.Schedule], _ error) {
	if err != nil {
		return out, err
	}
	return cached[api.Schedule]{Body: new(h.view(s)), ETag: revTag(s.Rev)}, nil
}

// scheduleChange asks for a change of a schedule.
type scheduleChange struct {
	onSchedule
	ifUnchanged
	Body api.ScheduleRequest `body:"required"`
}

// update is PATCH /schedules/{id}.
func (h schedules) update(ctx context.Context, in scheduleChange) (out cached[api.Schedule], err error) {
	return h.answer(h.mesh.Schedules.Update(ctx, in.caller(), in.ID, in.expect(), func(spec *schedule.Spec) []mesh.Invalid {
		return applySchedule(spec, in.Body)
	}))
}

// scheduleDeletion asks for the end of a schedule.
type scheduleDeletion struct {
	onSchedule
	ifUnchanged
}

// remove is DELETE /schedules/{id}.
func (h schedules) remove(ctx context.Context, in scheduleDeletion) (deleted, error) {
	return deleted{Gone: true}, h.mesh.Schedules.Delete(ctx, in.caller(), in.ID, in.expect())
}

// schedulePause asks a schedule to rest.
type schedulePause struct {
	onSchedule
	Body api.PauseSchedule `body:"optional"`
}

// pause is POST /schedules/{id}/pause.
func (h schedules) pause(ctx context.Context, in schedulePause) (out cached[api.Schedule], err error) {
	return h.answer(h.mesh.Schedules.Pause(ctx, in.caller(), in.ID, in.Body.Note))
}

// resume is POST /schedules/{id}/resume.
func (h schedules) resume(ctx context.Context, in onSchedule) (out cached[api.Schedule], err error) {
	return h.answer(h.mesh.Schedules.Resume(ctx, in.caller(), in.ID))
}

// triggered is the answer of a run that was asked for.
type triggered struct {
	Body *api.ScheduleRun `status:"202"`
}

// trigger is POST /schedules/{id}/trigger.
func (h schedules) trigger(ctx context.Context, in onSchedule) (out triggered, err error) {
	r, err := h.mesh.Schedules.Trigger(ctx, in.caller(), in.ID)
	if err != nil {
		return out, err
	}
	return triggered{new(runView(in.links(), r))}, nil
}

// scheduleBackfill asks for times that have passed.
type scheduleBackfill struct {
	onSchedule
	Body api.BackfillSchedule `body:"required"`
}

// backfilled is its answer.
type backfilled struct {
	Body *api.ScheduleTimes `status:"202"`
}

// backfill is POST /schedules/{id}/backfill.
func (h schedules) backfill(ctx context.Context, in scheduleBackfill) (out backfilled, err error) {
	var f fields
	from, to := f.time("/from", in.Body.From), f.time("/to", in.Body.To)
	if len(f.faults) > 0 {
		return out, mesh.RefuseFields(f.faults...)
	}
	times, err := h.mesh.Schedules.Backfill(ctx, in.caller(), in.ID, from, to, schedule.Overlap(in.Body.Overlap))
	if err != nil {
		return out, err
	}
	return backfilled{&api.ScheduleTimes{Times: append([]time.Time{}, times...)}}, nil
}

// runs is GET /schedules/{id}/runs.
func (h schedules) runs(ctx context.Context, in onSchedule) (api.ScheduleRuns, error) {
	s, err := h.mesh.Schedules.Seen(ctx, in.caller(), in.ID)
	if err != nil {
		return api.ScheduleRuns{}, err
	}
	list := api.ScheduleRuns{Runs: make([]api.ScheduleRun, 0, len(s.Runs))}
	for i := len(s.Runs) - 1; i >= 0; i-- {
		list.Runs = append(list.Runs, runView(in.links(), s.Runs[i]))
	}
	return list, nil
}

func runView(l links, r schedule.Run) api.ScheduleRun {
	v := api.ScheduleRun{ScheduledAt: r.At, DecidedAt: r.Decided, Outcome: string(r.Outcome), TaskID: string(r.TaskID), Status: string(r.Status), Reason: r.Reason}
	if r.TaskID != "" {
		v.StatusURL = string(l) + taskURL(r.TaskID)
	}
	return v
}

// schedulePreview asks when a schedule would be due.
type schedulePreview struct {
	request
	Body api.PreviewSchedule `body:"required"`
}

// preview is POST /schedules/preview.
func (h schedules) preview(_ context.Context, in schedulePreview) (out api.SchedulePreview, err error) {
	b := in.Body
	var f fields
	spec := schedule.Spec{
		Cron: b.Cron, Every: f.duration("/every", b.Every), Anchor: f.time("/anchor", b.Anchor), Timezone: b.Timezone,
		StartAt: f.time("/start_at", b.StartAt), EndAt: f.time("/end_at", b.EndAt), Exclude: b.Exclude,
	}
	from, n := f.time("/from", b.From), 5
	if from.IsZero() {
		from = time.Now()
	}
	if b.Count != nil {
		n = *b.Count
	}
	runs, err := h.mesh.Schedules.Coming(spec, from, n, f.faults...)
	out = api.SchedulePreview{NextAt: []time.Time{}, Runs: []api.PreviewTime{}}
	for _, r := range runs {
		out.NextAt, out.Runs = append(out.NextAt, r.At), append(out.Runs, api.PreviewTime(r))
	}
	return out, err
}

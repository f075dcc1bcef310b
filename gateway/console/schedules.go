package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

var (
	// schedulesScreen lists what starts by itself, scheduleScreen is one of them.
	schedulesScreen = screen{name: "schedules", path: "/schedules", title: "Schedules", load: loadSchedules, live: []string{"schedules-rows"}, every: 5 * time.Second}
	scheduleScreen  = screen{
		name: "schedule", path: "/schedules/{id}", nav: "schedules", load: loadSchedule, named: func(body any) string { return scheduleName(body.(*schedulePage).S) },
		live: []string{"schedule-head", "schedule-runs"}, every: 3 * time.Second,
	}
)

type schedulesPage struct {
	Schedules []client.Schedule
	Agents    []client.Agent
}

func loadSchedules(v *visit) (any, error) {
	all, err := v.api.Schedules.List(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &schedulesPage{Schedules: all}
	p.Agents, err = optional(v.api.Agents.List(v.ctx()))
	return p, err
}

// schedulePage is a schedule and its runs.
type schedulePage struct {
	S      *client.Schedule
	Runs   []client.ScheduleRun
	Record []byte
}

func loadSchedule(v *visit) (any, error) {
	s, err := v.api.Schedules.Get(v.ctx(), v.id())
	if err != nil {
		return nil, err
	}
	p := &schedulePage{S: s}
	if p.Runs, err = v.api.Schedules.Runs(v.ctx(), v.id()); err != nil {
		return nil, err
	}
	p.Record, err = json.Marshal(struct {
		Task    *api.ScheduleTask    `json:"task,omitempty"`
		Message *api.ScheduleMessage `json:"message,omitempty"`
	}{s.Task, s.Message})
	return p, err
}

// scheduleName is what people call a schedule.
func scheduleName(s *client.Schedule) string { return firstOf(s.Name, short(s.ScheduleID)) }

// rhythm says when a schedule is due.
func rhythm(s client.Schedule) string {
	if s.Every != "" {
		return "every " + s.Every
	}
	return strings.Join(s.Cron, "; ")
}

func createSchedule(v *visit) (string, error) {
	name, when, zone := v.form("name"), v.form("when"), v.form("timezone")
	task := &api.ScheduleTask{Work: api.Work{Agent: v.form("agent"), Instruction: v.form("instruction")}}
	if input := v.form("input"); input != "" {
		if !json.Valid([]byte(input)) {
			v.status = http.StatusUnprocessableEntity
			return "", errors.New("the input is no JSON; a text needs quotes")
		}
		task.Input = json.RawMessage(input)
	}
	r := client.ScheduleRequest{Task: task}
	if name != "" {
		r.Name = &name
	}
	if zone != "" {
		r.Timezone = &zone
	}
	if every, ok := strings.CutPrefix(when, "every "); ok {
		every = strings.TrimSpace(every)
		r.Every = &every
	} else {
		r.Cron = &[]string{when}
	}
	s, err := v.api.Schedules.Create(v.ctx(), r)
	if err != nil {
		return "", err
	}
	return "schedules/" + s.ScheduleID + "?said=created", nil
}

func pauseSchedule(v *visit) (string, error) {
	_, err := v.api.Schedules.Pause(v.ctx(), v.id(), v.form("note"))
	return "schedules/" + v.id() + "?said=paused", err
}

func resumeSchedule(v *visit) (string, error) {
	_, err := v.api.Schedules.Resume(v.ctx(), v.id())
	return "schedules/" + v.id() + "?said=resumed", err
}

func triggerSchedule(v *visit) (string, error) {
	_, err := v.api.Schedules.Trigger(v.ctx(), v.id())
	return "schedules/" + v.id() + "?said=triggered", err
}

func deleteSchedule(v *visit) (string, error) {
	return "schedules?said=deleted", v.api.Schedules.Delete(v.ctx(), v.id())
}

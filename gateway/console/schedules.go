package console

import (
	"encoding/json"
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
	Schedules window[client.Schedule]
	Agents    []client.Agent
	Form      scheduleForm
}

// scheduleForm is what is in the form of a schedule.
type scheduleForm struct {
	faults
	Name, When, Zone, Agent, Instruction, Input string
	Open                                        bool // it was sent, and not taken
}

func loadSchedules(v *visit) (any, error) {
	all, err := v.api.Schedules.List(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &schedulesPage{Schedules: windowOf(v.r.URL.Query(), all, func(s client.Schedule) string { return s.Name + " " + s.ScheduleID + " " + startsOf(s) })}
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

// startsOf is the agent, or the session, of what a schedule starts.
func startsOf(s client.Schedule) string {
	if s.Task != nil {
		return s.Task.Agent
	}
	if s.Message != nil {
		return s.Message.SessionID
	}
	return ""
}

// rhythm says when a schedule is due.
func rhythm(s client.Schedule) string {
	if s.Every != "" {
		return "every " + s.Every
	}
	return strings.Join(s.Cron, "; ")
}

// request is the schedule as the API takes it.
func (f scheduleForm) request() (r client.ScheduleRequest, err error) {
	r.Task = &api.ScheduleTask{Work: api.Work{Agent: f.Agent, Instruction: f.Instruction}}
	if f.Input != "" {
		if !json.Valid([]byte(f.Input)) {
			return r, wrong("The input is no JSON; a text needs quotes.")
		}
		r.Task.Input = json.RawMessage(f.Input)
	}
	if f.Name != "" {
		r.Name = &f.Name
	}
	if f.Zone != "" {
		r.Timezone = &f.Zone
	}
	if every, ok := strings.CutPrefix(f.When, "every "); ok {
		every = strings.TrimSpace(every)
		r.Every = &every
	} else {
		r.Cron = &[]string{f.When}
	}
	return r, nil
}

func createSchedule(v *visit) (string, error) {
	f := scheduleForm{Name: v.form("name"), When: v.form("when"), Zone: v.form("timezone"), Agent: v.form("agent"), Instruction: v.form("instruction"), Input: v.form("input"), Open: true}
	r, err := f.request()
	var s *client.Schedule
	if err == nil {
		s, err = v.api.Schedules.Create(v.ctx(), r)
	}
	if err == nil {
		return "schedules/" + s.ScheduleID + "?said=created", nil
	}
	if f.faults, err = v.faultsOf(err); err != nil {
		return "", err
	}
	body, err := loadSchedules(v)
	if err != nil {
		return "", err
	}
	p := body.(*schedulesPage)
	p.Form = f
	v.show(schedulesScreen.page(v, p))
	return "", nil
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

package mesh_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
	"agentmesh/shared/tenant"
	"agentmesh/shared/topology"
)

// alarm is the version that the alarm of a schedule is set for, and when it goes off;
// 0: there is none.
func (h *timed) alarm(id schedule.ID) (version int, at time.Time) {
	h.t.Helper()
	alarms, err := h.js().Stream(h.t.Context(), topology.Schedules)
	if err != nil {
		h.t.Fatal(err)
	}
	msg, err := alarms.GetLastMsgForSubject(h.t.Context(), topology.ScheduleAlarm(auth.DefaultTenant, id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, at
	}
	if err == nil {
		version, err = strconv.Atoi(msg.Header.Get("Mesh-Revision"))
	}
	if err == nil {
		at, err = time.Parse(time.RFC3339Nano, msg.Header.Get("Mesh-Slot"))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return version, at
}

// over is a core on a wire that calls meanwhile once, before its first change of an
// alarm reaches the server.
func (h *timed) over(meanwhile func()) *mesh.Mesh {
	h.t.Helper()
	var once sync.Once
	wire := &meshtest.Wire{Server: h.srv.Server}
	wire.Before = func(subject string) {
		if strings.HasPrefix(subject, "mesh.schedules.at.") || subject == "$JS.API.STREAM.MSG.DELETE."+topology.Schedules {
			once.Do(meanwhile)
		}
	}
	st, hangUp, err := (&meshtest.Mesh{T: h.t, Server: h.srv}).StoreOver(wire)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(hangUp)
	return mesh.New(st, mesh.Options{Log: quiet(), Limits: unlimited(func(*tenant.Limits) {}), Keys: meshtest.RingOf(h.t, meshtest.TestKey)})
}

// Of two who change a schedule at once the alarm is that of the later record, whoever
// sets its alarm last.
func TestTheAlarmIsThatOfTheLastChange(t *testing.T) {
	type change func(*mesh.Mesh, schedule.ID) error
	every := func(d time.Duration) change {
		return func(core *mesh.Mesh, id schedule.ID) error {
			_, err := core.Schedules.Update(t.Context(), auth.Local(), string(id), nil, func(s *schedule.Spec) []mesh.Invalid {
				s.Cron, s.Every = nil, task.Duration(d)
				return nil
			})
			return err
		}
	}
	pause := func(core *mesh.Mesh, id schedule.ID) error {
		_, err := core.Schedules.Pause(t.Context(), auth.Local(), string(id), "")
		return err
	}
	resume := func(core *mesh.Mesh, id schedule.ID) error {
		_, err := core.Schedules.Resume(t.Context(), auth.Local(), string(id))
		return err
	}
	remove := func(core *mesh.Mesh, id schedule.ID) error {
		return core.Schedules.Delete(t.Context(), auth.Local(), string(id), nil)
	}
	for name, c := range map[string]struct {
		first, last change
		version     int // of the alarm
	}{
		"two times":              {every(2 * time.Hour), every(3 * time.Hour), 3},
		"a pause, then a resume": {pause, resume, 3},
		"a time, then a pause":   {every(2 * time.Hour), pause, 0},
		"a time, then the end":   {every(2 * time.Hour), remove, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := &timed{house: newHouse(t)}
			h.core = h.limited(func(*tenant.Limits) {})
			s := h.create(hourly(nil))
			core := h.over(func() {
				if err := c.last(h.core, s.ID); err != nil {
					t.Error(err)
				}
			})
			if err := c.first(core, s.ID); err != nil {
				t.Fatal(err)
			}
			if version, at := h.alarm(s.ID); version != c.version {
				t.Errorf("the alarm is that of version %d, at %v; want %d", version, at, c.version)
			}
		})
	}
}

// The same holds for a change that comes while the schedule fires.
func TestTheAlarmIsThatOfAChangeWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &timed{house: newHouse(t)}
		h.core = h.limited(func(*tenant.Limits) {})
		s := h.create(hourly(nil))
		core := h.over(func() {
			if _, err := h.core.Schedules.Update(t.Context(), auth.Local(), string(s.ID), nil, func(s *schedule.Spec) []mesh.Invalid {
				s.Cron, s.Every = nil, task.Duration(3*time.Hour)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- core.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		time.Sleep(61 * time.Minute)
		if version, at := h.alarm(s.ID); version != 2 || at.Before(s.CreatedAt.Add(2*time.Hour)) {
			t.Errorf("the alarm is that of version %d, at %v; want 2", version, at)
		}
	})
}

// An alarm that a gateway has left behind, which died before it looked again, is set
// anew by the next one that looks at all schedules: one of another version, and one
// that goes off too late.
func TestAnAlarmThatIsNotItsSchedulesIsSetAnew(t *testing.T) {
	inTime(t, 1, func(h *timed) {
		s := h.create(hourly(nil))
		old := *s
		old.Version = 7
		for what, set := range map[string]struct {
			of *schedule.Schedule
			at time.Time
		}{
			"another version": {&old, s.CreatedAt.Add(time.Hour)},
			"too late":        {s, s.CreatedAt.Add(100 * time.Hour)},
		} {
			if err := h.st.Schedules.Arm(h.t.Context(), set.of, set.at); err != nil {
				h.t.Fatal(err)
			}
			time.Sleep(6 * time.Minute)
			if version, at := h.alarm(s.ID); version != 1 || at.Sub(s.CreatedAt) > time.Hour {
				h.t.Errorf("%s: the alarm is that of version %d, at %v", what, version, at)
			}
		}
	})
}

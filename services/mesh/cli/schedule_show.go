package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/client"
)

func showPreview(out io.Writer, p *client.SchedulePreview) error {
	t := newTable(out)
	for _, r := range p.Runs {
		t.row(r.At.Format("Mon 2006-01-02 15:04:05 -07:00"), r.Note)
	}
	return t.flush()
}

// timing is when a schedule is due, in a few words.
func timing(s client.Schedule) string {
	if s.Every != "" {
		return "every " + s.Every
	}
	return strings.Join(s.Cron, ", ") + " " + s.Timezone
}

func stateOf(s client.Schedule) string {
	switch {
	case s.Paused:
		return "paused"
	case len(s.NextAt) == 0:
		return "over"
	}
	return "active"
}

func showSchedules(out io.Writer, all []client.Schedule) error {
	t := newTable(out, "SCHEDULE", "NAME", "STATE", "WHEN", "NEXT", "FIRED")
	for _, s := range all {
		next := ""
		if len(s.NextAt) > 0 {
			next = s.NextAt[0].Local().Format(time.DateTime)
		}
		t.row(s.ScheduleID, s.Name, stateOf(s), timing(s), next, strconv.Itoa(s.Counts.Fired))
	}
	return t.flush()
}

func showSchedule(out io.Writer, s *client.Schedule) error {
	t := newTable(out)
	t.field("id", s.ScheduleID)
	t.field("name", s.Name)
	t.field("state", stateOf(*s))
	t.field("note", s.Note)
	t.field("when", timing(*s))
	if s.Task != nil {
		t.field("agent", s.Task.Agent)
	}
	if s.Message != nil {
		t.field("session", s.Message.SessionID)
	}
	t.field("overlap", s.Overlap)
	t.field("catch up", s.CatchUp.Policy+" within "+s.CatchUp.Window)
	t.field("jitter", s.Jitter)
	t.field("counts", fmt.Sprintf("%d fired, %d skipped, %d missed, %d failed", s.Counts.Fired, s.Counts.Skipped, s.Counts.Missed, s.Counts.Failed))
	for i, at := range s.NextAt {
		t.field([]string{"next", ""}[min(i, 1)], at.Format("Mon 2006-01-02 15:04:05 -07:00"))
	}
	return t.flush()
}

func showRuns(out io.Writer, all []client.ScheduleRun) error {
	t := newTable(out, "DUE", "OUTCOME", "TASK", "STATUS", "REASON")
	for _, r := range all {
		t.row(r.ScheduledAt.Local().Format(time.DateTime), r.Outcome, r.TaskID, r.Status, r.Reason)
	}
	return t.flush()
}

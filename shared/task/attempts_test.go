package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
)

// change is one write of a record, at a second of its life.
type change struct {
	to      task.State
	attempt int
	err     string
}

func TestAttempts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		began   int // of the first attempt, 0: its claim says it
		changes []change
		want    string // n outcome from-to [error]
	}{
		{"waits", 0, nil, ""},
		{"runs", 0, []change{{task.Processing, 1, ""}}, "1 running 1-"},
		{"completed", 0, []change{{task.Processing, 1, ""}, {task.Completed, 1, ""}}, "1 completed 1-2"},
		{"too quick to be claimed", 5, []change{{task.Completed, 1, ""}}, "1 completed 5-1"},
		{"retried until it failed", 0, []change{{task.Processing, 1, ""}, {task.Pending, 1, "agent_error"}, {task.Processing, 2, ""}, {task.Failed, 2, "agent_timeout"}}, "1 retried 1-2 agent_error, 2 failed 3-4 agent_timeout"},
		{"an heir", 0, []change{{task.Processing, 1, ""}, {task.Processing, 2, ""}, {task.Completed, 2, ""}}, "1 lost 1-2, 2 completed 2-3"},
		{"lost for good", 0, []change{{task.Processing, 1, ""}, {task.Failed, 1, "worker_lost"}}, "1 lost 1-2 worker_lost"},
		{"handed back", 0, []change{{task.Processing, 1, ""}, {task.Pending, 0, ""}, {task.Processing, 1, ""}, {task.Completed, 1, ""}}, "1 handed_back 1-2, 1 completed 3-4"},
		{"canceled while it ran", 0, []change{{task.Processing, 1, ""}, {task.Canceled, 1, ""}}, "1 canceled 1-2"},
		{"canceled while it waited", 0, []change{{task.Canceled, 0, ""}}, ""},
		{"canceled between attempts", 0, []change{{task.Processing, 1, ""}, {task.Pending, 1, "agent_error"}, {task.Canceled, 1, ""}}, "1 retried 1-2 agent_error"},
		{"out of time between attempts", 0, []change{{task.Processing, 1, ""}, {task.Pending, 1, "agent_error"}, {task.Failed, 1, "deadline_exceeded"}}, "1 retried 1-2 agent_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record := &task.Task{Status: task.Pending}
			if tt.began > 0 {
				record.StartedAt = time.Unix(int64(tt.began), 0)
			}
			for i, c := range tt.changes {
				record.Attempt, record.Error = c.attempt, nil
				if c.err != "" {
					record.Error = &task.Error{Code: c.err}
				}
				record.Lease = &task.Lease{Worker: fmt.Sprint("wrk_", c.attempt)}
				if err := record.To(c.to, time.Unix(int64(i+1), 0)); err != nil {
					t.Fatal(err)
				}
				record.Rev++
			}
			var got []string
			for _, a := range record.Attempts() {
				one := fmt.Sprintf("%d %s %d-", a.N, a.Outcome, a.StartedAt.Unix())
				if !a.EndedAt.IsZero() {
					one += fmt.Sprint(a.EndedAt.Unix())
				}
				if a.Error != nil {
					one += " " + a.Error.Code
				}
				got = append(got, one)
				if tt.began == 0 && a.Worker != fmt.Sprint("wrk_", a.N) {
					t.Errorf("attempt %d ran on %q", a.N, a.Worker)
				}
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

// The history is bounded, whatever happens to a task.
func TestAttemptsAreBounded(t *testing.T) {
	record := &task.Task{Status: task.Pending}
	for n := range 3 * task.MaxTransitions {
		record.Attempt, record.Error = n/2+1, &task.Error{Code: "agent_error"}
		to := task.Processing
		if n%2 == 1 {
			to = task.Pending
		}
		if err := record.To(to, time.Unix(int64(n+1), 0)); err != nil {
			t.Fatal(err)
		}
		record.Rev++
	}
	all := record.Attempts()
	if len(all) != task.MaxTransitions/2 || all[len(all)-1].N != record.Attempt {
		t.Errorf("%d attempts, the last is %d of %d", len(all), all[len(all)-1].N, record.Attempt)
	}
}

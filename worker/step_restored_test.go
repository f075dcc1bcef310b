package worker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Row 23: after a restore a task's record and its journal may be of different times.
// What the store does not have runs again, what it has is believed, and the task goes
// on with the attempt that it has.
func TestRow23ARecordAndAJournalOfDifferentTimesAreNoFaultOfTheTask(t *testing.T) {
	for name, c := range map[string]struct {
		restore func(m *meshtest.Mesh, rec *task.Task) error
		ran     string
	}{
		"the journal is older": {func(m *meshtest.Mesh, rec *task.Task) error {
			return m.Store.Steps.Purge(m.T.Context(), "default", rec.ID, 0)
		}, "map[one:2 two:1]"},
		"the journal is newer": {later, "map[one:1]"},
		"the record knows of no journal": {func(m *meshtest.Mesh, rec *task.Task) error {
			if err := later(m, rec); err != nil {
				return err
			}
			rec.Steps = nil
			return m.Store.Tasks.Save(m.T.Context(), rec)
		}, "map[one:2 two:1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				var r ran
				a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
					if _, err := r.step(ctx, job, "one"); err != nil {
						return nil, err
					}
					if job.Attempt == 1 {
						return nil, &agent.Error{Message: "later", RetryAfter: time.Minute}
					}
					return r.step(ctx, job, "two")
				})
				a.Retry.MaxAttempts = 2
				m.Work(a)
				id := m.Create(`{"agent":"a","instruction":"x"}`)
				rec := record(t, m, id, func(rec *task.Task) bool { return rec.Status == task.Pending && rec.Attempt == 1 })
				if err := c.restore(m, rec); err != nil {
					t.Fatal(err)
				}
				v := m.End(id)
				if v.Status != "completed" || v.Attempt != 2 || string(v.Result) != `"two done"` || r.String() != c.ran {
					t.Errorf("%s in attempt %d, %s: %v, %+v", v.Status, v.Attempt, v.Result, &r, v.Error)
				}
			})
		})
	}
}

// later adds what a run has finished that began after all that the record knows.
func later(m *meshtest.Mesh, rec *task.Task) error {
	_, last, err := m.Store.Steps.Last(m.T.Context(), "default", rec.ID)
	if err != nil {
		return err
	}
	e := &task.Entry{Kind: task.EntryStep, Name: "two", Value: []byte(`"two done"`), Attempt: 2, Epoch: rec.Rev + 1000, At: task.Stamp(time.Now())}
	_, err = m.Store.Steps.Append(m.T.Context(), "default", rec.ID, e, last)
	return err
}

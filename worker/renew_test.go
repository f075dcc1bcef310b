package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// versioned is an agent of a step, a question, a checkpoint and, after the answer, a pause
// in which its first version is replaced.
func versioned(r *ran, version string, policy task.OnNewVersion) agent.Agent {
	a := meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		if _, err := r.step(ctx, job, "one"); err != nil {
			return nil, err
		}
		ok, err := agent.Ask[string](ctx, job, "approve", agent.Question{Prompt: "Go on?"})
		if err != nil {
			return nil, err
		}
		if found, err := job.LastCheckpoint(new(int)); err != nil || found && policy == task.VersionRestart {
			return nil, agent.Permanent(errors.New("a checkpoint of the version before"))
		}
		if version == "1" {
			return nil, errors.Join(job.Checkpoint(ctx, 7), job.Sleep(ctx, time.Hour))
		}
		_, err = r.step(ctx, job, "two")
		return ok, err
	}))
	a.Version, a.OnNewVersion = version, policy
	return a
}

// Another version of the agent goes on with the steps of the one before, begins anew
// with new questions, or fails, as its definition says.
func TestANewVersionOfAnAgentDoesAsItsDefinitionSays(t *testing.T) {
	for policy, want := range map[task.OnNewVersion]struct{ status, ran, code string }{
		"":                   {"completed", "map[one:1 two:1]", ""},
		task.VersionContinue: {"completed", "map[one:1 two:1]", ""},
		task.VersionRestart:  {"completed", "map[one:2 two:1]", ""},
		task.VersionFail:     {"failed", "map[one:1]", task.CodeVersionChanged},
	} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				var r ran
				stop := m.Work(versioned(&r, "1", policy))
				id := m.Create(`{"agent":"a","instruction":"x"}`)
				answer := func(value string) {
					t.Helper()
					record(t, m, id, func(rec *task.Task) bool { return rec.Status == task.InputRequired })
					if w := m.Do("POST", "/tasks/"+id+"/input", `{"name":"approve","value":"`+value+`"}`); w.Code != 202 {
						t.Fatalf("%d %s", w.Code, w.Body)
					}
				}
				answer("first")
				record(t, m, id, func(rec *task.Task) bool { return rec.Suspended && rec.Waits.For(task.WaitSleep) })
				stop()
				m.Work(versioned(&r, "2", policy))
				time.Sleep(time.Hour)
				result := `"first"`
				if policy == task.VersionRestart {
					answer("second")
					result = `"second"`
				}
				v := m.End(id)
				code := ""
				if v.Error != nil {
					code, result = v.Error.Code, ""
				}
				if v.Status != want.status || r.String() != want.ran || code != want.code || string(v.Result) != result {
					t.Errorf("%s %s %s: %v, %+v", v.Status, v.Result, code, &r, v.Error)
				}
			})
		})
	}
}

// A retry from a step takes over what a version before has finished: somebody wants that.
func TestARetryFromAStepTakesOverStepsOfAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		of := func(version string) agent.Agent {
			a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
				for _, name := range []string{"one", "two"} {
					if _, err := r.step(ctx, job, name); err != nil {
						return nil, err
					}
				}
				if version == "1" {
					return nil, agent.Permanent(errors.New("too old"))
				}
				return 1, nil
			})
			a.Version, a.OnNewVersion = version, task.VersionFail
			return a
		}
		stop := m.Work(of("1"))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		m.End(id)
		stop()
		m.Work(of("2"))
		again := meshtest.Decode[struct {
			TaskID string `json:"task_id"`
		}](t, m.Do("POST", "/tasks/"+id+"/retry", `{"from":"two"}`).Body).TaskID
		if v := m.End(again); v.Status != "completed" || r.String() != "map[one:1 two:2]" {
			t.Errorf("%s: %v, %+v", v.Status, &r, v.Error)
		}
	})
}

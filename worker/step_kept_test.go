package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

func TestTwoStepsOfOneNameAtOnceAreToldApartByAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		var second *agent.Error
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			inside, goOn, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := agent.Step(ctx, job, "fetch", func(_ context.Context, s agent.StepInfo) (int, error) {
					r.count(s)
					close(inside)
					<-goOn
					return 1, nil
				})
				first <- err
			}()
			<-inside
			_, err := r.step(ctx, job, "fetch")
			errors.As(err, &second)
			_, other := r.step(ctx, job, "other")
			close(goOn)
			return "both", errors.Join(<-first, other)
		}))
		v := m.End(m.Create(`{"agent":"a","instruction":"x"}`))
		if second == nil || second.Code != task.CodeStepAmbiguous || !second.Permanent {
			t.Errorf("the second of a name: %+v", second)
		}
		if v.Status != "completed" || r.String() != "map[fetch:1 other:1]" {
			t.Errorf("%s: %v, %+v", v.Status, &r, v.Error)
		}
	})
}

func TestAFailureForGoodIsRememberedAndAnotherIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		var said []string
		m.Work(meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for _, permanent := range []bool{true, false} {
				_, err := agent.Step(ctx, job, fmt.Sprint("permanent ", permanent), func(_ context.Context, s agent.StepInfo) (int, error) {
					r.count(s)
					return 0, &agent.Error{Code: "card_declined", Message: fmt.Sprintf("no in attempt %d", s.Attempt), Permanent: permanent}
				})
				fault := (*agent.Error)(nil)
				if !errors.As(err, &fault) {
					return nil, agent.Permanent(fmt.Errorf("no error of an agent: %w", err))
				}
				said = append(said, fmt.Sprintf("%s %s %v", fault.Code, fault.Message, fault.Permanent))
			}
			if job.Attempt == 1 {
				return nil, errors.New("once more")
			}
			return nil, nil
		})))
		v := m.End(m.Create(`{"agent":"a","instruction":"x"}`))
		want := "card_declined no in attempt 1 true|card_declined no in attempt 1 false|card_declined no in attempt 1 true|card_declined no in attempt 2 false"
		if got := strings.Join(said, "|"); v.Status != "completed" || got != want || r.String() != "map[permanent false:2 permanent true:1]" {
			t.Errorf("%s: %s, %v", v.Status, got, &r)
		}
	})
}

func TestAValueThatIsTooLargeEndsItsStepForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		cfg := worker.Default()
		cfg.MaxResult = 1 << 20
		var r ran
		m.WorkWith(cfg, m.Store, meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			_, err := agent.Step(ctx, job, "large", func(_ context.Context, s agent.StepInfo) (string, error) {
				r.count(s)
				return strings.Repeat("x", 1<<20), nil
			})
			if job.Attempt == 1 {
				return nil, fmt.Errorf("once more, after %T", err)
			}
			return nil, err
		})))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		v := m.End(id)
		if v.Status != "failed" || v.Error.Code != task.CodeResultTooLarge || v.Error.Retryable || v.Attempt != 2 || r.String() != "map[large:1]" {
			t.Errorf("%s in attempt %d, %v: %+v", v.Status, v.Attempt, &r, v.Error)
		}
		if lines := archived(t, m, id); len(lines) != 1 || len(lines[0]) > 1000 {
			t.Errorf("%d lines are kept, the first has %d bytes", len(lines), len(lines[0]))
		}
	})
}

func TestAJournalAbove8MiBIsKeptWithItsValuesCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for i := range 45 {
				_, err := agent.Step(ctx, job, fmt.Sprint("page ", i), func(context.Context, agent.StepInfo) (string, error) {
					return strings.Repeat("x", 200<<10), nil
				})
				if err != nil {
					return nil, err
				}
			}
			return nil, nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		m.End(id)
		rec, lines := m.Record(id), archived(t, m, id)
		if rec.Steps.Count != 45 || len(lines) != 45 || rec.Steps.Size > 45*1000 {
			t.Fatalf("%+v, %d lines", rec.Steps, len(lines))
		}
		var e task.Entry
		if err := json.Unmarshal([]byte(lines[7]), &e); err != nil || e.Name != "page 7" || e.Value != nil || e.Size != 200<<10+2 || len(e.Head) < 200 || !strings.HasPrefix(e.Head, `"xxx`) {
			t.Errorf("%+v, %v", e, err)
		}
		noJournals(t, m)
	})
}

// A gateway ends what a crash has left: journals of tasks that have ended, or are
// gone, for a day. One of a task that is open stays.
func TestASweeperDropsJournalsOfTasksThatAreOver(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		stop := m.Work(meshtest.Named("a", func(context.Context, *agent.Job) (any, error) { return nil, nil }))
		ended := task.ID(m.Create(`{"agent":"a","instruction":"x"}`))
		m.End(string(ended))
		stop()
		open, gone := task.ID(m.Create(`{"agent":"a","instruction":"x"}`)), task.ID("tsk_00dc6acfac007001b3c0a883faa4d6c9")
		for _, id := range []task.ID{ended, open, gone} {
			e := &task.Entry{Kind: task.EntryStep, Name: "one", Value: json.RawMessage("1"), At: task.Stamp(time.Now())}
			if _, err := m.Store.Steps.Append(t.Context(), "default", id, e, 0); err != nil {
				t.Fatal(err)
			}
		}
		left := func() (n int) {
			all, err := m.Store.Steps.Journals(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range all {
				if j.ID == open {
					n += 10
				} else {
					n++
				}
			}
			return n
		}
		core, running := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(running); _ = core.Run(ctx) }()
		defer func() { core.Close(); cancel(); <-running }()
		time.Sleep(23 * time.Hour)
		if n := left(); n != 12 {
			t.Errorf("within a day: %d", n)
		}
		time.Sleep(2*time.Hour + time.Minute)
		if n := left(); n != 10 {
			t.Errorf("after a day: %d", n)
		}
	})
}

func TestAChildHasAJournalOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var parent, child ran
		m.Work(meshtest.WithRetry(meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			if _, err := parent.step(ctx, job, "one"); err != nil {
				return nil, err
			}
			said, err := job.Call(ctx, "child", 1)
			if err == nil && job.Attempt == 1 {
				return nil, errors.New("once more")
			}
			return said, err
		})), meshtest.WithRetry(meshtest.Named("child", func(ctx context.Context, job *agent.Job) (any, error) {
			said, err := child.step(ctx, job, "one")
			if err == nil && job.Attempt == 1 {
				return nil, errors.New("once more")
			}
			return said, err
		})))
		id := m.Create(`{"agent":"parent","input":1}`)
		v := m.End(id)
		if v.Status != "completed" || string(v.Result) != `"one done"` || parent.String() != "map[one:1]" || child.String() != "map[one:1]" || parent.keys["one"] == child.keys["one"] {
			t.Errorf("%s %s: parent %v, child %v, keys %v %v, %+v", v.Status, v.Result, &parent, &child, parent.keys, child.keys, v.Error)
		}
		time.Sleep(time.Second)
		children, err := m.Store.Children.Of(t.Context(), "default", task.ID(id))
		if err != nil || len(children) != 1 || len(archived(t, m, string(children[0]))) != 1 || len(archived(t, m, id)) != 1 {
			t.Errorf("children %v, %v", children, err)
		}
		noJournals(t, m)
	})
}

func TestATurnThatIsRunAgainKeepsItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ran
		hangs, reached := make(chan struct{}), make(chan struct{})
		a := agent.Conversation(func(ctx context.Context, job *agent.Job, text string, state *struct{ N int }) (string, error) {
			said, err := r.step(ctx, job, "look up")
			if job.Attempt == 1 && text == "one" {
				close(reached)
				<-hangs
			}
			state.N++
			return fmt.Sprintf("%d %s %s", state.N, text, said), err
		})
		a.Definition = agent.Definition{Name: "a"}
		m, kill := dies(t, meshtest.WithRetry(a))
		session := m.Session("a")
		turn := m.Say(http.StatusAccepted, session, "one", "Prefer", "respond-async")
		<-reached
		kill()
		m.Work(meshtest.WithRetry(a))
		if got := m.Turn(session, turn.TurnID, "Prefer", "wait=120"); got.Message != "1 one look up done" || r.String() != "map[look up:1]" {
			t.Errorf("%+v: %v", got, &r)
		}
		next := m.Say(http.StatusAccepted, session, "two", "Prefer", "respond-async")
		if got := m.Turn(session, next.TurnID, "Prefer", "wait=120"); got.Message != "2 two look up done" || r.String() != "map[look up:2]" {
			t.Errorf("%+v: %v", got, &r)
		}
		time.Sleep(time.Second)
		if lines := archived(t, m, turn.TurnID); len(lines) != 1 {
			t.Errorf("%s", lines)
		}
		noJournals(t, m)
		close(hangs)
	})
}

func TestTasksInBulkKeepTheirSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCrowdedMesh(t, 100*time.Millisecond)
		var r told
		counted := make(chan struct{})
		m.before = func(job *agent.Job) error {
			<-counted
			_, err := agent.Step(t.Context(), job, "one", func(_ context.Context, s agent.StepInfo) (int, error) {
				r.add(s)
				return 1, nil
			})
			if err == nil && job.Attempt == 1 {
				return &agent.Error{Message: "once more", RetryAfter: time.Second}
			}
			return err
		}
		a := m.agent(2, 0)
		a.Retry.Backoff = task.Duration(time.Second)
		m.Work(a)
		ids := m.accept("big", 30)
		bulk := m.comesInBulk()
		close(counted)
		time.Sleep(time.Minute)
		for _, id := range ids {
			v, err := m.core.Tasks.Get(t.Context(), auth.Caller{Tenant: "big"}, id)
			if err != nil || v.Status != task.Completed || v.Attempt != 2 || v.Steps == nil || v.Steps.Count != 1 {
				t.Errorf("%s: %+v, %v", id, v, err)
			}
		}
		if len(r.all) != 30 || bulk == 0 {
			t.Errorf("%d steps ran of 30 tasks, of which %d were in bulk", len(r.all), bulk)
		}
		noJournals(t, m.Mesh)
	})
}

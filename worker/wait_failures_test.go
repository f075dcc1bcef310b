package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// The rows of the table of failures that waits have, each named after its row.

// asks is an agent that asks whether it may go on; runs counts its runs.
func asks(runs *atomic.Int32, q agent.Question) agent.Agent {
	return meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
		runs.Add(1)
		yes, err := agent.Ask[bool](ctx, job, "approve", q)
		if errors.Is(err, agent.ErrInputTimeout) {
			return "nobody answered", nil
		}
		return yes, err
	})
}

// asked starts a task of such an agent and waits until it asks.
func asked(t *testing.T, m *meshtest.Mesh, body string) string {
	t.Helper()
	id := m.Create(body)
	record(t, m, id, func(r *task.Task) bool { return r.Status == task.InputRequired })
	return id
}

func input(m *meshtest.Mesh, id, body string, headers ...string) *httptest.ResponseRecorder {
	return m.Do("POST", "/tasks/"+id+"/input", body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// nothingLeft fails where the queue still has something.
func nothingLeft(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 0 {
		t.Errorf("%d messages are left, %v", n, err)
	}
}

func TestRow9ACancelOfAWaitingTaskCountsAtOnceAndNobodyIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}), meshtest.Named("sleeps", func(ctx context.Context, job *agent.Job) (any, error) {
			runs.Add(1)
			return nil, job.Sleep(ctx, time.Hour)
		}))
		question := asked(t, m, `{"agent":"asks","input":1}`)
		sleep := m.Create(`{"agent":"sleeps","input":1}`)
		record(t, m, sleep, func(r *task.Task) bool { return r.Suspended })
		if v := m.Get(sleep); v.Status != "pending" || v.Waiting == nil || v.Waiting.Reason != "sleeping" || !v.NotBefore.After(time.Now().Add(59*time.Minute)) {
			t.Errorf("asleep: %+v %+v", v, v.Waiting)
		}
		for _, id := range []string{question, sleep} {
			if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"canceled"`) {
				t.Errorf("cancel = %d %s", w.Code, w.Body)
			}
		}
		nothingLeft(t, m)
		time.Sleep(2 * time.Hour)
		if w := input(m, question, `{"name":"approve","value":true}`); w.Code != 409 || meshtest.Code(t, w) != "task_finished" {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs", n)
		}
	})
}

func TestRow10OfAnAnswerAndACancelOneDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}))
		for range 8 {
			id := asked(t, m, `{"agent":"asks","input":1}`)
			var both sync.WaitGroup
			var answered, canceled *httptest.ResponseRecorder
			both.Go(func() { answered = input(m, id, `{"value":true}`) })
			both.Go(func() { canceled = m.Do("POST", "/tasks/"+id+"/cancel", "") })
			both.Wait()
			v := m.End(id)
			switch {
			case canceled.Code == 200 && v.Status == "canceled":
			case canceled.Code == 409 && answered.Code == 202 && v.Status == "completed" && string(v.Result) == "true":
			default:
				t.Errorf("answer = %d, cancel = %d, and it is %s %s", answered.Code, canceled.Code, v.Status, v.Result)
			}
			if answered.Code == 409 && meshtest.Code(t, answered) != "task_finished" {
				t.Errorf("answer = %s", answered.Body)
			}
		}
		time.Sleep(time.Minute)
		nothingLeft(t, m)
	})
}

func TestRow11OfTwoAnswersTheFirstCountsAndARepeatReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}))
		for range 5 {
			id := asked(t, m, `{"agent":"asks","input":1}`)
			var both sync.WaitGroup
			answers := make([]*httptest.ResponseRecorder, 2)
			for i := range answers {
				both.Go(func() {
					answers[i] = input(m, id, fmt.Sprintf(`{"name":"approve","value":%v}`, i == 0), "Idempotency-Key", fmt.Sprintf(`"%s-%d"`, id, i))
				})
			}
			both.Wait()
			first := 0
			if answers[1].Code == 202 {
				first = 1
			}
			late := answers[1-first]
			if code := meshtest.Code(t, late); answers[first].Code != 202 || late.Code != 409 || code != "already_answered" && code != "task_finished" {
				t.Errorf("%d %s, %d %s", answers[0].Code, answers[0].Body, answers[1].Code, answers[1].Body)
			}
			v := m.End(id)
			if string(v.Result) != fmt.Sprint(first == 0) {
				t.Errorf("%d was first, the result is %s", first, v.Result)
			}
			again := input(m, id, fmt.Sprintf(`{"name":"approve","value":%v}`, first == 0), "Idempotency-Key", fmt.Sprintf(`"%s-%d"`, id, first))
			if again.Code != 202 || again.Header().Get("Idempotent-Replayed") != "true" {
				t.Errorf("the repeat = %d %s", again.Code, again.Body)
			}
		}
	})
}

func TestRow12AnAnswerThatComesBeforeItsQuestionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}))
		id := m.Create(`{"agent":"asks","input":1,"delay":"10m"}`)
		if w := input(m, id, `{"name":"approve","value":true}`); w.Code != 202 {
			t.Fatalf("answer = %d %s", w.Code, w.Body)
		}
		for i := range task.MaxAnswers {
			want := 202
			if i == task.MaxAnswers-1 {
				want = 409
			}
			if w := input(m, id, `{"name":"other","value":1}`); w.Code != want || want == 409 && meshtest.Code(t, w) != "too_many_inputs" {
				t.Errorf("answer %d = %d %s", i, w.Code, w.Body)
			}
		}
		if v := m.End(id); v.Status != "completed" || string(v.Result) != "true" || runs.Load() != 1 {
			t.Errorf("%d runs, %+v %+v", runs.Load(), v, v.Error)
		}
	})
}

func TestRow13AnAnswerAgainstTheSchemaIsRefusedAndTheQuestionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		type refund struct {
			Amount int `json:"amount" minimum:"1"`
		}
		m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Ask[refund](ctx, job, "refund", agent.Question{Prompt: "How much?"})
		}))
		id := asked(t, m, `{"agent":"asks","input":1}`)
		w := input(m, id, `{"name":"refund","value":{"amount":"much"}}`)
		if w.Code != 422 || !strings.Contains(w.Body.String(), `"/value/amount"`) {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
		v := m.Get(id)
		if v.Status != "input_required" || v.Question == nil || v.Question.Name != "refund" || v.Question.Prompt != "How much?" || len(v.Question.Schema) == 0 || len(v.Questions) != 1 {
			t.Errorf("%+v %+v", v, v.Question)
		}
		if w := input(m, id, `{"value":{"amount":80}}`); w.Code != 202 {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
		if v := m.End(id); string(v.Result) != `{"amount":80}` || v.Question != nil {
			t.Errorf("%+v", v)
		}
	})
}

func TestRow14AnAnswerWhoseGatewayDiesIsHeardWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}))
		// After the schedule was set, the gateway dies: the question stays open.
		before := asked(t, m, `{"agent":"asks","input":1}`)
		rec := record(t, m, before, func(*task.Task) bool { return true })
		if _, err := m.Store.Tasks.Rearm(t.Context(), rec, time.Now().Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if v := m.Get(before); v.Status != "input_required" || runs.Load() != 1 {
			t.Errorf("%d runs, %+v", runs.Load(), v)
		}
		// After the record was written, it dies: the task goes on.
		after := asked(t, m, `{"agent":"asks","input":1}`)
		rec = record(t, m, after, func(*task.Task) bool { return true })
		if _, err := m.Store.Tasks.Rearm(t.Context(), rec, time.Now().Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		n := 0
		rec.Answers = append(rec.Answers, task.Answer{ID: rec.Rev, Kind: task.WaitInput, Name: "approve", N: &n, Value: json.RawMessage("true"), At: task.Stamp(time.Now())})
		if err := errors.Join(rec.Wake(time.Now()), m.Store.Tasks.Save(t.Context(), rec)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if v := m.End(after); v.Status != "completed" || time.Since(began) > 11*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), v)
		}
		if w := input(m, before, `{"value":true}`); w.Code != 202 {
			t.Errorf("answer = %d %s", w.Code, w.Body)
		}
		m.End(before)
	})
}

func TestRow15AMeshThatIsDownOverTheDueTimeFiresOnceWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := meshtest.NewIn(t, dir)
		var runs atomic.Int32
		sleeps := meshtest.Named("sleeps", func(ctx context.Context, job *agent.Job) (any, error) {
			runs.Add(1)
			return "slept", job.Sleep(ctx, 10*time.Minute)
		})
		stop := m.Work(sleeps)
		id := m.Create(`{"agent":"sleeps","input":1}`)
		record(t, m, id, func(r *task.Task) bool { return r.Suspended })
		time.Sleep(time.Minute)
		stop()
		m.Gateway.Close()
		m.NC.Close()
		m.Server.Stop()
		time.Sleep(time.Hour)
		m = meshtest.NewIn(t, dir)
		m.Work(sleeps)
		if v := m.End(id); v.Status != "completed" || v.Attempt != 1 || runs.Load() != 2 {
			t.Errorf("%d runs, %+v %+v", runs.Load(), v, v.Error)
		}
		time.Sleep(time.Minute)
		nothingLeft(t, m)
	})
}

func TestRow16AQuestionWhoseTimeIsOverTellsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{Timeout: 5 * time.Minute}))
		id, began := asked(t, m, `{"agent":"asks","input":1}`), time.Now()
		v := m.End(id)
		if took := time.Since(began); v.Status != "completed" || string(v.Result) != `"nobody answered"` || took < 4*time.Minute || took > 6*time.Minute || runs.Load() != 2 {
			t.Errorf("%d runs, after %v: %+v %+v", runs.Load(), took, v, v.Error)
		}
	})
}

// Of an answer that comes with the end of the time one counts.
func TestRow16OfAnAnswerAndTheEndOfTheTimeOneDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{Timeout: time.Minute}))
		for i := range 6 {
			id := asked(t, m, `{"agent":"asks","input":1}`)
			until := m.Get(id).Question.Until
			time.Sleep(time.Until(until) + time.Duration(i-3)*time.Millisecond)
			w := input(m, id, `{"name":"approve","value":true}`)
			v := m.End(id)
			want := map[int]string{202: "true", 409: `"nobody answered"`}[w.Code]
			if v.Status != "completed" || string(v.Result) != want {
				t.Errorf("answer = %d %s, and it is %s %s", w.Code, w.Body, v.Status, v.Result)
			}
		}
	})
}

func TestRow17ADeadlineThatPassesWhileATaskWaitsEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{}))
		deadline := time.Now().Add(10 * time.Minute).UTC()
		id := asked(t, m, `{"agent":"asks","input":1,"deadline":"`+deadline.Format(time.RFC3339)+`"}`)
		v := m.End(id)
		if v.Status != "failed" || v.Error.Code != "deadline_exceeded" || runs.Load() != 1 || time.Since(deadline) > time.Minute {
			t.Errorf("%d runs, %v after the deadline: %+v %+v", runs.Load(), time.Since(deadline), v, v.Error)
		}
		time.Sleep(time.Second)
		nothingLeft(t, m)
	})
}

func TestRow22AParentThatIsSuspendedIsWokenByItsChildAndCancelReachesTheChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var parents, children atomic.Int32
		stopped := make(chan struct{}, 1)
		parent := meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			parents.Add(1)
			return job.Call(ctx, "child", 1)
		})
		parent.MaxInFlight = 1
		m.Work(parent, meshtest.Named("child", func(ctx context.Context, _ *agent.Job) (any, error) {
			children.Add(1)
			select {
			case <-time.After(3 * time.Minute):
				return "done", nil
			case <-ctx.Done():
				stopped <- struct{}{}
				return nil, ctx.Err()
			}
		}))
		first, began := m.Create(`{"agent":"parent","input":1}`), time.Now()
		second := m.Create(`{"agent":"parent","input":1}`)
		record(t, m, first, func(r *task.Task) bool { return r.Suspended })
		if v := m.Get(first); v.Waiting == nil || v.Waiting.Reason != "waiting_for_child" {
			t.Errorf("%+v %+v", v, v.Waiting)
		}
		record(t, m, second, func(r *task.Task) bool { return r.Suspended }) // the first holds no place
		if w := m.Do("POST", "/tasks/"+second+"/cancel", ""); w.Code != 200 {
			t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
		<-stopped
		v := m.End(first)
		if took := time.Since(began); v.Status != "completed" || string(v.Result) != `"done"` || v.Attempt != 1 || took > 3*time.Minute+10*time.Second {
			t.Errorf("after %v: %+v %+v", took, v, v.Error)
		}
		if parents.Load() != 3 || children.Load() != 2 {
			t.Errorf("%d runs of parents, %d of children", parents.Load(), children.Load())
		}
	})
}

// A worker that dies between the record of a suspension and its schedule is followed
// by one that completes it.
func TestASuspensionThatACrashCutsOffIsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		gate := &meshtest.Gate{Server: m.Server}
		frozen := m.StoreThrough(gate)
		cfg := worker.Default()
		sleeps := meshtest.Named("sleeps", func(ctx context.Context, job *agent.Job) (any, error) {
			if runs.Add(1) == 1 {
				defer gate.Freeze()
			}
			return "slept", job.Sleep(ctx, 10*time.Minute)
		})
		m.WorkWith(cfg, frozen, sleeps)
		id := m.Create(`{"agent":"sleeps","input":1}`)
		rec := record(t, m, id, func(r *task.Task) bool { return runs.Load() == 1 && r.Status == task.Processing })
		time.Sleep(time.Second)
		rec.Waits = []task.Wait{{Kind: task.WaitSleep, Name: "sleep", Until: task.Stamp(time.Now().Add(10 * time.Minute)), AskedAt: task.Stamp(time.Now())}}
		if err := errors.Join(rec.Suspend(time.Now()), m.Store.Tasks.Save(t.Context(), rec)); err != nil {
			t.Fatal(err)
		}
		m.Work(sleeps)
		began := time.Now()
		v := m.End(id)
		if took := time.Since(began); v.Status != "completed" || v.Attempt != 1 || took < 9*time.Minute || took > 11*time.Minute {
			t.Errorf("after %v, %d runs: %+v %+v", took, runs.Load(), v, v.Error)
		}
		gate.Thaw()
	})
}

// A task that waits and has lost its schedule gets one, and is not taken for lost.
func TestTheReconcilerGivesAWaitingTaskItsScheduleBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var runs atomic.Int32
		m.Work(asks(&runs, agent.Question{Timeout: time.Hour}))
		id := asked(t, m, `{"agent":"asks","input":1}`)
		rec := record(t, m, id, func(*task.Task) bool { return true })
		look := func() {
			t.Helper()
			if err := mesh.NewReconciler(m.Store, "test", meshtest.Quiet()).Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		look()
		if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 1 {
			t.Fatalf("%d messages, %v", n, err)
		}
		if err := m.Store.Tasks.Withdraw(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		look()
		if n, err := m.Store.Tasks.Queued(t.Context()); err != nil || n != 1 || runs.Load() != 1 {
			t.Fatalf("%d messages, %d runs, %v", n, runs.Load(), err)
		}
		if v := m.End(id); string(v.Result) != `"nobody answered"` {
			t.Errorf("%+v", v)
		}
	})
}

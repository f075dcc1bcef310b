package worker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Cancel reaches the whole tree: tasks that run, that wait for a child, and that
// wait for a worker.
func TestCancelReachesChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		ended := make(chan error, 1)
		m.Work(meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			go func() { _, _ = job.Call(ctx, "nowhere", nil) }()
			return job.Call(ctx, "child", nil)
		}), meshtest.Named("child", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		}))
		if _, err := m.Store.Registry.Register(t.Context(), task.Definition{Name: "nowhere"}, ""); err != nil {
			t.Fatal(err)
		}
		id := m.Create(`{"agent":"parent","instruction":"x"}`)
		time.Sleep(time.Second)
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if err := <-ended; !errors.Is(err, agent.ErrCanceled) {
			t.Errorf("the child ended with %v", err)
		}
		time.Sleep(time.Second)
		v := m.Get(id)
		if v.Status != "canceled" || v.StoppedAt.IsZero() || len(v.Children) != 2 {
			t.Errorf("%+v", v)
		}
		for _, child := range v.Children {
			if c := m.Get(child); c.Status != "canceled" {
				t.Errorf("child %+v", c)
			}
		}
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// A child that nobody knew when its parent was canceled ends when it is claimed.
func TestCancelMeetsALateChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		if _, err := m.Store.Registry.Register(t.Context(), task.Definition{Name: "child"}, ""); err != nil {
			t.Fatal(err)
		}
		parent := m.Create(`{"agent":"child","instruction":"x"}`)
		if w := m.Do("POST", "/tasks/"+parent+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		late := &task.Task{ID: task.ChildID(task.ID(parent), "late", 0), Tenant: "default", Kind: task.KindTask, Agent: "child", Status: task.Pending, ParentID: task.ID(parent), CreatedAt: task.Stamp(time.Now())}
		if _, err := m.Store.Tasks.Enqueue(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		m.Work(meshtest.Named("child", func(context.Context, *agent.Job) (any, error) { t.Error("it ran"); return nil, nil }))
		if v := m.End(string(late.ID)); v.Status != "canceled" {
			t.Errorf("%+v", v)
		}
	})
}

// The record of a task that was canceled right after its agent started another does not
// say so: its worker had no time to.
func TestACanceledTaskNamesTheChildOfItsLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		started := make(chan struct{})
		m.Work(meshtest.Named("parent", func(ctx context.Context, _ *agent.Job) (any, error) {
			close(started)
			<-ctx.Done()
			return nil, ctx.Err()
		}), meshtest.Named("child", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		id := m.Create(`{"agent":"parent","instruction":"x"}`)
		<-started
		child := m.Create(`{"agent":"child","instruction":"x"}`, "Mesh-Parent-Task", id)
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("cancel = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if v := m.Get(id); v.StoppedAt.IsZero() || !slices.Equal(v.Children, []string{child}) {
			t.Errorf("it stopped at %v, its children are %v, not %s", v.StoppedAt, v.Children, child)
		}
		if c := m.Get(child); c.Status != "canceled" {
			t.Errorf("child %+v", c)
		}
	})
}

// TestOfACancelAndACompletionExactlyOneWins: exactly one wins, and status never goes
// backwards (I1, I10).
func TestOfACancelAndACompletionExactlyOneWins(t *testing.T) {
	m := meshtest.New(t)
	a := meshtest.Named("brief", func(ctx context.Context, job *agent.Job) (any, error) {
		select { // ends before, while or after the cancel comes
		case <-time.After(rand.N(30 * time.Millisecond)):
			return job.Input, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
	a.Concurrency = 64
	m.Work(a)
	var canceled, completed atomic.Int32
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range natstest.Fewer(1000) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			id := m.Create(`{"agent":"brief","input":1}`)
			for range i % 4 { // spread the cancels over the task's life
				m.Get(id)
			}
			w := m.Do("POST", "/tasks/"+id+"/cancel", "")
			seen := m.End(id)
			switch {
			case w.Code == http.StatusOK && seen.Status == "canceled":
				canceled.Add(1)
			case w.Code == http.StatusConflict && seen.Status == "completed" && strings.Contains(w.Body.String(), "task_finished"):
				completed.Add(1)
			default:
				t.Errorf("cancel = %d %s, task = %+v", w.Code, w.Body, seen)
			}
			rec := m.Record(id)
			terminal := 0
			for _, tr := range rec.Transitions {
				if tr.Status.Terminal() {
					terminal++
				}
			}
			if terminal != 1 || rec.Transitions[len(rec.Transitions)-1].Status != rec.Status {
				t.Errorf("transitions of %s: %+v", id, rec.Transitions)
			}
		})
	}
	wg.Wait()
	t.Logf("%d canceled, %d completed", canceled.Load(), completed.Load())
	if canceled.Load() == 0 || completed.Load() == 0 {
		t.Errorf("no race: %d canceled, %d completed", canceled.Load(), completed.Load())
	}
	natstest.Until(t, "the queue is empty", func() bool { return m.Queued() == 0 })
}

func TestCancelStopsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		ended := make(chan time.Time, 1)
		started := make(chan struct{}, 1)
		stop := m.Work(meshtest.Named("long", func(ctx context.Context, _ *agent.Job) (any, error) {
			started <- struct{}{}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), agent.ErrCanceled) {
				t.Errorf("cause = %v", context.Cause(ctx))
			}
			ended <- time.Now()
			time.Sleep(2 * time.Second) // it has something to put away
			return nil, ctx.Err()
		}))
		id := m.Create(`{"agent":"long","instruction":"x"}`)
		<-started
		time.Sleep(time.Minute)
		before := time.Now()
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK || meshtest.Decode[client.Task](t, w.Body).Status != "canceled" {
			t.Fatalf("cancel = %d", w.Code)
		}
		if took := (<-ended).Sub(before); took > time.Second {
			t.Errorf("the agent's context ended after %v", took)
		}
		if got := m.Get(id); !got.StoppedAt.IsZero() {
			t.Errorf("stopped_at %v while the agent still runs", got.StoppedAt)
		}
		time.Sleep(5 * time.Second)
		got := m.Get(id)
		if stopped := got.StoppedAt.Sub(got.FinishedAt); got.Status != "canceled" || stopped < 2*time.Second || stopped > 3*time.Second {
			t.Errorf("after the agent ended: %+v", got)
		}
		if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			t.Errorf("second cancel = %d %s", w.Code, w.Body)
		}
		stop()
		// One that waits and one that is scheduled never run.
		ids := []string{m.Create(`{"agent":"long","instruction":"x"}`), m.Create(`{"agent":"long","instruction":"x","delay":"5m"}`)}
		for _, id := range ids {
			if w := m.Do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
				t.Errorf("cancel = %d %s", w.Code, w.Body)
			}
		}
		if n := m.Queued(); n != 0 {
			t.Errorf("%d messages of canceled tasks in the queue", n)
		}
		m.Work(meshtest.Named("long", func(context.Context, *agent.Job) (any, error) { t.Error("a canceled task ran"); return nil, nil }))
		time.Sleep(time.Hour)
		for _, id := range ids {
			if got := m.Get(id); got.Status != "canceled" {
				t.Errorf("canceled task became %s", got.Status)
			}
		}
	})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// chain calls itself as often as its input says.
func chain(slots, inFlight int) agent.Agent {
	a := named("chain", func(ctx context.Context, job *agent.Job) (any, error) {
		var n int
		if err := job.Bind(&n); err != nil || n == 0 {
			return "end", err
		}
		below, err := job.Call(ctx, "chain", n-1)
		return fmt.Sprintf("%d %s", n, strings.Trim(string(below), `"`)), err
	})
	a.Concurrency, a.MaxInFlight = slots, inFlight
	return a
}

// A waiting parent gives its slot back: one slot carries a chain of five, all
// of it one trace under one deadline.
func TestCallChainOnOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(chain(1, 100))
		deadline := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		root := m.end(m.create(`{"agent":"chain","input":5,"deadline":"` + deadline + `"}`))
		if root.Status != "completed" || string(root.Result) != `"5 4 3 2 1 end"` {
			t.Fatalf("%+v %+v", root, root.Error)
		}
		depth := 0
		for v := root; len(v.Children) > 0; depth++ {
			child := m.get(v.Children[0])
			if len(v.Children) != 1 || child.ParentID != v.TaskID || child.TraceID != root.TraceID || !child.Deadline.Equal(root.Deadline) {
				t.Errorf("child %+v of %+v", child, v)
			}
			list := decode[struct{ Tasks []client.Task }](t, m.do("GET", "/tasks?parent_id="+v.TaskID, "").Body)
			if len(list.Tasks) != 1 || list.Tasks[0].TaskID != child.TaskID {
				t.Errorf("listed by parent: %+v", list)
			}
			v = child
		}
		if depth != 5 {
			t.Errorf("%d levels", depth)
		}
	})
}

// A call that could never end fails with a code.
func TestCallsThatCannotEnd(t *testing.T) {
	for _, tt := range []struct {
		name     string
		agent    agent.Agent
		n        int
		code     string
		attempts int
	}{
		{"too deep", chain(1, 100), 17, task.CodeCallTooDeep, 1},
		{"waits for itself", chain(1, 3), 3, task.CodeCallDeadlock, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMesh(t)
				m.work(tt.agent)
				v := m.end(m.create(`{"agent":"chain","input":` + strconv.Itoa(tt.n) + `}`))
				if v.Status != "failed" || v.Error.Code != task.CodeChildFailed || v.Attempt != tt.attempts {
					t.Errorf("root %+v %+v", v, v.Error)
				}
				for len(v.Children) > 0 {
					v = m.get(v.Children[0])
				}
				if v.Status != "failed" || v.Error.Code != tt.code {
					t.Errorf("last %+v %+v", v, v.Error)
				}
			})
		})
	}
}

// Two parents hold all that may run of their agent, and each waits for another:
// one gives way, and both end.
func TestCallsThatBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(chain(4, 2))
		a, b := m.create(`{"agent":"chain","input":1}`), m.create(`{"agent":"chain","input":1}`)
		if va, vb := m.end(a), m.end(b); va.Status != "completed" || vb.Status != "completed" {
			t.Errorf("%+v %+v, %+v %+v", va, va.Error, vb, vb.Error)
		}
	})
}

// A retried parent finds the children of the attempt before: the n-th equal
// call is the n-th child.
func TestCallsAreFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var mu sync.Mutex
		runs := map[string]int{}
		child := named("child", func(_ context.Context, job *agent.Job) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			runs[string(job.Input)]++
			return len(runs), nil
		})
		parent := named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			var got []string
			for _, input := range []string{"a", "b", "a"} {
				raw, err := job.Call(ctx, "child", input)
				if err != nil {
					return nil, err
				}
				got = append(got, string(raw))
				if len(got) == job.Attempt { // fails one call later each time
					return nil, errors.New("not yet")
				}
			}
			return got, nil
		})
		parent.Retry = agent.Retry{MaxAttempts: 5, Backoff: task.Duration(time.Second), MaxBackoff: task.Duration(time.Minute)}
		m.work(parent, child)
		v := m.end(m.create(`{"agent":"parent","instruction":"x"}`))
		if v.Status != "completed" || v.Attempt != 4 || len(v.Children) != 3 || runs[`"a"`] != 2 || runs[`"b"`] != 1 {
			t.Errorf("%+v %+v after runs %v", v, v.Error, runs)
		}
	})
}

// An attempt that is handed back at shutdown is begun again under its number,
// and finds what it has called.
func TestHandedBackCallsAreFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("child", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
		called := make(chan struct{}, 2)
		parent := named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			if _, err := job.Call(ctx, "child", nil); err != nil {
				return nil, err
			}
			called <- struct{}{}
			if len(called) == 1 {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return "done", nil
		})
		stop := m.work(parent)
		id := m.create(`{"agent":"parent","instruction":"x"}`)
		time.Sleep(time.Second)
		stop()
		m.work(parent)
		if v := m.end(id); v.Status != "completed" || v.Attempt != 1 || len(v.Children) != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

// The error of a child is the parent's, and no retry of the parent mends it.
func TestCallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			return job.Call(ctx, job.Instruction, nil)
		}), named("child", func(context.Context, *agent.Job) (any, error) {
			return nil, agent.Permanent(errors.New("broken"))
		}))
		for instruction, want := range map[string]string{"child": "is failed: agent_error: broken", "nobody": `there is no agent "nobody"`} {
			v := m.end(m.create(`{"agent":"parent","instruction":"` + instruction + `"}`))
			if v.Status != "failed" || v.Attempt != 1 || v.Error.Code != task.CodeChildFailed || !strings.Contains(v.Error.Message, want) {
				t.Errorf("%+v %+v", v, v.Error)
			}
		}
	})
}

// Cancel reaches the whole tree: tasks that run, that wait for a child, and that
// wait for a worker.
func TestCancelReachesChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		ended := make(chan error, 1)
		m.work(named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			go func() { _, _ = job.Call(ctx, "nowhere", nil) }()
			return job.Call(ctx, "child", nil)
		}), named("child", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		}))
		if _, err := m.st.RegisterAgent(t.Context(), task.Definition{Name: "nowhere"}, ""); err != nil {
			t.Fatal(err)
		}
		id := m.create(`{"agent":"parent","instruction":"x"}`)
		time.Sleep(time.Second)
		if w := m.do("POST", "/tasks/"+id+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if err := <-ended; !errors.Is(err, agent.ErrCanceled) {
			t.Errorf("the child ended with %v", err)
		}
		time.Sleep(time.Second)
		v := m.get(id)
		if v.Status != "canceled" || v.StoppedAt.IsZero() || len(v.Children) != 2 {
			t.Errorf("%+v", v)
		}
		for _, child := range v.Children {
			if c := m.get(child); c.Status != "canceled" {
				t.Errorf("child %+v", c)
			}
		}
		if n := m.queued(); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// A child that nobody knew when its parent was canceled ends when it is claimed.
func TestCancelMeetsALateChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		if _, err := m.st.RegisterAgent(t.Context(), task.Definition{Name: "child"}, ""); err != nil {
			t.Fatal(err)
		}
		parent := m.create(`{"agent":"child","instruction":"x"}`)
		if w := m.do("POST", "/tasks/"+parent+"/cancel", ""); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		late := &task.Task{ID: task.ChildID(parent, "late", 0), Tenant: "default", Kind: task.KindTask, Agent: "child", Status: task.Pending, ParentID: parent, CreatedAt: task.Stamp(time.Now())}
		if _, err := m.st.Enqueue(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		m.work(named("child", func(context.Context, *agent.Job) (any, error) { t.Error("it ran"); return nil, nil }))
		if v := m.end(late.ID); v.Status != "canceled" {
			t.Errorf("%+v", v)
		}
	})
}

// Agents of other languages call through the gateway, and get the same.
func TestCallsThroughTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var parents [][]string
		parent := named("parent", func(_ context.Context, job *agent.Job) (any, error) {
			var ids []string
			for _, body := range []string{`{"agent":"child","input":1}`, `{"agent":"child","input":1}`, `{"agent":"child","input":2}`} {
				ids = append(ids, m.create(body, "Mesh-Parent-Task", job.TaskID))
			}
			ids = append(ids, m.create(`{"agent":"child","input":3}`, "Mesh-Parent-Task", job.TaskID, "Idempotency-Key", "step-4"))
			for _, id := range ids {
				if v := m.end(id); v.Status != "completed" {
					t.Errorf("child %+v %+v", v, v.Error)
				}
			}
			if parents = append(parents, ids); job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return "done", nil
		})
		parent.Concurrency = 1
		child := named("child", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
		child.Concurrency = 1
		m.work(parent, child)
		v := m.end(m.create(`{"agent":"parent","instruction":"x"}`))
		if v.Status != "completed" || len(v.Children) != 4 || len(parents) != 2 || !slices.Equal(parents[0], parents[1]) {
			t.Fatalf("%+v %+v, children of each attempt %v", v, v.Error, parents)
		}
		if c := m.get(v.Children[0]); c.TraceID != v.TraceID || c.ParentID != v.TaskID {
			t.Errorf("child %+v of %+v", c, v)
		}
		w := m.do("POST", "/tasks", `{"agent":"child","input":1}`, "Mesh-Parent-Task", v.TaskID)
		if p := problem(t, w); p.Code != "parent_finished" {
			t.Errorf("under a finished parent: %+v", p)
		}
		for _, bad := range []string{"x", "tsk_*", "tsk_01a20cd9e03b7276be6a181888e33e52"} {
			if p := problem(t, m.do("POST", "/tasks", `{"agent":"child","input":1}`, "Mesh-Parent-Task", bad)); p.Code != "parent_not_found" || p.Status != 404 {
				t.Errorf("under %s: %+v", bad, p)
			}
		}
	})
}

// A chain through the gateway needs no more slots than one in Go.
func TestGatewayChainOnOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		a := named("chain", func(_ context.Context, job *agent.Job) (any, error) {
			var n int
			if err := job.Bind(&n); err != nil || n == 0 {
				return "end", err
			}
			v := m.end(m.create(`{"agent":"chain","input":`+strconv.Itoa(n-1)+`}`, "Mesh-Parent-Task", job.TaskID))
			return n, json.Unmarshal(v.Result, new(any))
		})
		a.Concurrency = 1
		m.work(a)
		if v := m.end(m.create(`{"agent":"chain","input":5}`)); v.Status != "completed" {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

// A reload changes what is served and lets what runs go on.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		release := make(chan struct{})
		says := func(version, text string) agent.Agent {
			a := named("a", func(_ context.Context, job *agent.Job) (any, error) {
				if job.Instruction == "slow" {
					<-release
				}
				return text, nil
			})
			a.Version, a.Concurrency = version, 1
			return a
		}
		w, err := worker.New(t.Context(), worker.Default(), m.st, []agent.Agent{says("1.0.0", "old"), named("gone", says("1", "x").Handler)}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		slow := m.create(`{"agent":"a","instruction":"slow"}`)
		synctest.Wait()
		if err := w.Reload(ctx, []agent.Agent{says("2.0.0", "new")}); err != nil {
			t.Fatal(err)
		}
		quick := m.create(`{"agent":"a","instruction":"quick"}`)
		gone := m.create(`{"agent":"gone","instruction":"x"}`)
		time.Sleep(time.Minute)
		if v := m.get(quick); v.Status != "pending" {
			t.Errorf("the one slot is taken, and there is %+v", v)
		}
		close(release)
		if v := m.end(slow); string(v.Result) != `"old"` || v.Attempt != 1 {
			t.Errorf("what ran came to %+v", v)
		}
		if v := m.end(quick); string(v.Result) != `"new"` {
			t.Errorf("after the reload: %+v", v)
		}
		if v := m.get(gone); v.Status != "pending" {
			t.Errorf("an agent that is not served any more: %+v", v)
		}
		if err := w.Reload(ctx, nil); err == nil {
			t.Error("a reload to nothing")
		}
		if v := decode[struct{ Version string }](t, call(m.newGateway(m.st).Handler(), "GET", "/agents/a", "").Body); v.Version != "2.0.0" {
			t.Errorf("registered %+v", v)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := w.Reload(t.Context(), []agent.Agent{says("3", "x")}); err == nil {
			t.Error("a reload after the end")
		}
	})
}

// Two versions of an agent are both seen. Inputs are checked by the newer while
// a worker serves it, and by the older again when that is gone.
func TestTwoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		version := func(v, required string) agent.Agent {
			a := named("a", func(context.Context, *agent.Job) (any, error) { return v, nil })
			a.Version, a.InputSchema = v, json.RawMessage(`{"required":["`+required+`"]}`)
			return a
		}
		accepts := func(field string, after time.Duration) {
			t.Helper()
			time.Sleep(after)
			g := m.newGateway(m.st) // knows what is registered now
			for _, f := range []string{"old", "new"} {
				want := http.StatusUnprocessableEntity
				if f == field {
					want = http.StatusAccepted
				}
				if w := call(g.Handler(), "POST", "/tasks", `{"agent":"a","input":{"`+f+`":1}}`); w.Code != want {
					t.Errorf("with %s: %d %s, want %d", f, w.Code, w.Body, want)
				}
			}
		}
		m.work(version("1.9.0", "old"))
		accepts("old", time.Second)
		stop := m.work(version("1.10.0", "new"))
		m.work(version("1.9.0", "old")) // an old worker restarts
		accepts("new", time.Second)
		v := decode[client.Agent](t, call(m.newGateway(m.st).Handler(), "GET", "/agents/a", "").Body)
		if v.Version != "1.10.0" || v.LiveWorkers != 3 {
			t.Errorf("%+v", v)
		}
		stop()
		accepts("old", topology.PresenceEvery+time.Second) // registered again
	})
}

// Output lines cost no write each, and who comes late gets the text so far.
func TestOutputCostsFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.work(named("talks", func(ctx context.Context, job *agent.Job) (any, error) {
			for i := range 1000 {
				job.Output(strconv.Itoa(i) + "\n")
				time.Sleep(time.Millisecond)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		id := m.create(`{"agent":"talks","instruction":"x"}`)
		time.Sleep(2 * time.Second)
		rec := m.record(id)
		if rec.Rev > 10 { // of this bucket, in which there is nothing else
			t.Errorf("%d writes for 1,000 lines in a second", rec.Rev)
		}
		if lines := strings.Count(rec.Output, "\n"); lines != 1000 || !strings.HasSuffix(rec.Output, "\n999\n") || rec.OutputBytes != int64(len(rec.Output)) {
			t.Errorf("%d lines are kept, %d bytes of %d", lines, len(rec.Output), rec.OutputBytes)
		}
		m.do("POST", "/tasks/"+id+"/cancel", "")
	})
}

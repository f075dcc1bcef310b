package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// chain calls itself as often as its input says.
func chain(slots, inFlight int) agent.Agent {
	a := meshtest.Named("chain", func(ctx context.Context, job *agent.Job) (any, error) {
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
func TestOneSlotCarriesAChainOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(chain(1, 100))
		deadline := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		root := m.End(m.Create(`{"agent":"chain","input":5,"deadline":"` + deadline + `"}`))
		if root.Status != "completed" || string(root.Result) != `"5 4 3 2 1 end"` {
			t.Fatalf("%+v %+v", root, root.Error)
		}
		depth := 0
		for v := root; len(v.Children) > 0; depth++ {
			child := m.Get(v.Children[0])
			if len(v.Children) != 1 || child.ParentID != v.TaskID || child.TraceID != root.TraceID || !child.Deadline.Equal(root.Deadline) {
				t.Errorf("child %+v of %+v", child, v)
			}
			list := meshtest.Decode[struct{ Tasks []client.Task }](t, m.Do("GET", "/tasks?parent_id="+v.TaskID, "").Body)
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
func TestCallsThatGoTooDeepEndWithACode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(chain(1, 100))
		v := m.End(m.Create(`{"agent":"chain","input":17}`))
		if v.Status != "failed" || v.Error.Code != task.CodeChildFailed || v.Attempt != 1 {
			t.Errorf("root %+v %+v", v, v.Error)
		}
		for len(v.Children) > 0 {
			v = m.Get(v.Children[0])
		}
		if v.Status != "failed" || v.Error.Code != task.CodeCallTooDeep {
			t.Errorf("last %+v %+v", v, v.Error)
		}
	})
}

// Two parents hold all that may run of their agent, and each waits for another:
// each lets go of its task while it waits, and both end.
func TestCallsThatBlockEachOtherGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(chain(4, 2))
		a, b := m.Create(`{"agent":"chain","input":1}`), m.Create(`{"agent":"chain","input":1}`)
		if va, vb := m.End(a), m.End(b); va.Status != "completed" || vb.Status != "completed" {
			t.Errorf("%+v %+v, %+v %+v", va, va.Error, vb, vb.Error)
		}
	})
}

// A retried parent finds the children of the attempt before: the n-th equal
// call is the n-th child.
func TestARetriedParentFindsItsCallsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var mu sync.Mutex
		runs := map[string]int{}
		child := meshtest.Named("child", func(_ context.Context, job *agent.Job) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			runs[string(job.Input)]++
			return len(runs), nil
		})
		parent := meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
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
		m.Work(parent, child)
		v := m.End(m.Create(`{"agent":"parent","instruction":"x"}`))
		if v.Status != "completed" || v.Attempt != 4 || len(v.Children) != 3 || runs[`"a"`] != 2 || runs[`"b"`] != 1 {
			t.Errorf("%+v %+v after runs %v", v, v.Error, runs)
		}
	})
}

// An attempt that is handed back at shutdown is begun again under its number,
// and finds what it has called.
func TestAnAttemptHandedBackFindsItsCallsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("child", func(context.Context, *agent.Job) (any, error) { return 1, nil }))
		called := make(chan struct{}, 2)
		parent := meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
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
		stop := m.Work(parent)
		id := m.Create(`{"agent":"parent","instruction":"x"}`)
		time.Sleep(time.Second)
		stop()
		m.Work(parent)
		if v := m.End(id); v.Status != "completed" || v.Attempt != 1 || len(v.Children) != 1 {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

// The error of a child is the parent's, and no retry of the parent mends it.
func TestTheErrorOfAChildIsItsParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			return job.Call(ctx, job.Instruction, nil)
		}), meshtest.Named("child", func(context.Context, *agent.Job) (any, error) {
			return nil, agent.Permanent(errors.New("broken"))
		}))
		for instruction, want := range map[string]string{"child": "is failed: agent_error: broken", "nobody": `there is no agent "nobody"`} {
			v := m.End(m.Create(`{"agent":"parent","instruction":"` + instruction + `"}`))
			if v.Status != "failed" || v.Attempt != 1 || v.Error.Code != task.CodeChildFailed || !strings.Contains(v.Error.Message, want) {
				t.Errorf("%+v %+v", v, v.Error)
			}
		}
	})
}

// A call is refused as a request is, and before it is a task: the parent sees why.
func TestACallWithAnInputThatBreaksTheSchemaStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var seen *agent.Error
		strict := meshtest.Named("strict", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
		strict.InputSchema = json.RawMessage(`{"type":"object","required":["topic"],"properties":{"depth":{"type":"integer"}}}`)
		m.Work(strict, meshtest.Named("parent", func(ctx context.Context, job *agent.Job) (any, error) {
			out, err := job.Call(ctx, "strict", job.Input)
			errors.As(err, &seen)
			return out, err
		}))
		v := m.End(m.Create(`{"agent":"parent","input":{"depth":"deep"}}`))
		direct := m.Do("POST", "/tasks", `{"agent":"strict","input":{"depth":"deep"}}`)
		want := meshtest.Decode[struct {
			Code   string
			Errors []struct{ Detail, Pointer string }
		}](t, direct.Body)
		if v.Status != "failed" || v.Attempt != 1 || v.Error.Code != want.Code || seen == nil || seen.Code != want.Code || !seen.Permanent || len(want.Errors) != 2 {
			t.Fatalf("%+v %+v, the agent saw %+v; a request gets %+v", v, v.Error, seen, want)
		}
		for _, fault := range want.Errors {
			if !strings.Contains(v.Error.Message, fault.Pointer+": "+fault.Detail) {
				t.Errorf("%q does not name %+v", v.Error.Message, fault)
			}
		}
		if time.Sleep(time.Second); len(v.Children) != 0 || m.Queued() != 0 { // the parent's message is acknowledged last
			t.Errorf("children %v, %d messages", v.Children, m.Queued())
		}
		if good := m.End(m.Create(`{"agent":"parent","input":{"topic":"x"}}`)); good.Status != "completed" || len(good.Children) != 1 {
			t.Errorf("a good call: %+v %+v", good, good.Error)
		}
	})
}

// Agents of other languages call through the gateway, and get the same.
func TestAgentsOfOtherLanguagesCallThroughTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var parents [][]string
		parent := meshtest.Named("parent", func(_ context.Context, job *agent.Job) (any, error) {
			var ids []string
			for _, body := range []string{`{"agent":"child","input":1}`, `{"agent":"child","input":1}`, `{"agent":"child","input":2}`} {
				ids = append(ids, m.Create(body, "Mesh-Parent-Task", job.TaskID))
			}
			ids = append(ids, m.Create(`{"agent":"child","input":3}`, "Mesh-Parent-Task", job.TaskID, "Idempotency-Key", "step-4"))
			for _, id := range ids {
				if v := m.End(id); v.Status != "completed" {
					t.Errorf("child %+v %+v", v, v.Error)
				}
			}
			if parents = append(parents, ids); job.Attempt == 1 {
				return nil, errors.New("not yet")
			}
			return "done", nil
		})
		parent.Concurrency = 1
		child := meshtest.Named("child", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
		child.Concurrency = 1
		m.Work(parent, child)
		v := m.End(m.Create(`{"agent":"parent","instruction":"x"}`))
		if v.Status != "completed" || len(v.Children) != 4 || len(parents) != 2 || !slices.Equal(parents[0], parents[1]) {
			t.Fatalf("%+v %+v, children of each attempt %v", v, v.Error, parents)
		}
		if c := m.Get(v.Children[0]); c.TraceID != v.TraceID || c.ParentID != v.TaskID {
			t.Errorf("child %+v of %+v", c, v)
		}
		w := m.Do("POST", "/tasks", `{"agent":"child","input":1}`, "Mesh-Parent-Task", v.TaskID)
		if p := meshtest.Problem(t, w); p.Code != "parent_finished" {
			t.Errorf("under a finished parent: %+v", p)
		}
		for _, bad := range []string{"x", "tsk_*", "tsk_01a20cd9e03b7276be6a181888e33e52"} {
			if p := meshtest.Problem(t, m.Do("POST", "/tasks", `{"agent":"child","input":1}`, "Mesh-Parent-Task", bad)); p.Code != "parent_not_found" || p.Status != 404 {
				t.Errorf("under %s: %+v", bad, p)
			}
		}
	})
}

// A chain through the gateway needs no more slots than one in Go.
func TestOneSlotCarriesAChainThroughTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		a := meshtest.Named("chain", func(_ context.Context, job *agent.Job) (any, error) {
			var n int
			if err := job.Bind(&n); err != nil || n == 0 {
				return "end", err
			}
			v := m.End(m.Create(`{"agent":"chain","input":`+strconv.Itoa(n-1)+`}`, "Mesh-Parent-Task", job.TaskID))
			return n, json.Unmarshal(v.Result, new(any))
		})
		a.Concurrency = 1
		m.Work(a)
		if v := m.End(m.Create(`{"agent":"chain","input":5}`)); v.Status != "completed" {
			t.Errorf("%+v %+v", v, v.Error)
		}
	})
}

// Output lines cost no write each, and who comes late gets the text so far.
func TestOutputCostsFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("talks", func(ctx context.Context, job *agent.Job) (any, error) {
			for i := range 1000 {
				job.Output(strconv.Itoa(i) + "\n")
				time.Sleep(time.Millisecond)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		id := m.Create(`{"agent":"talks","instruction":"x"}`)
		time.Sleep(2 * time.Second)
		rec := m.Record(id)
		if rec.Rev > 10 { // of this bucket, in which there is nothing else
			t.Errorf("%d writes for 1,000 lines in a second", rec.Rev)
		}
		if lines := strings.Count(rec.Output, "\n"); lines != 1000 || !strings.HasSuffix(rec.Output, "\n999\n") || rec.OutputBytes != int64(len(rec.Output)) {
			t.Errorf("%d lines are kept, %d bytes of %d", lines, len(rec.Output), rec.OutputBytes)
		}
		m.Do("POST", "/tasks/"+id+"/cancel", "")
	})
}

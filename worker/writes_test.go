package worker_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A task without steps and waits costs three writes and no read, from its acceptance
// to its end: the message, the final record and the acknowledgement. The first step
// makes the claim, that is skipped otherwise, be written; each step is a write more,
// and the end three: the archive of two and the purge.
func TestATaskWithoutStepsPaysNothingForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		wire := &meshtest.Wire{Server: m.Server.Server}
		st, hangUp, err := m.StoreOver(wire)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(hangUp)
		m.WorkWith(worker.Default(), st, meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for range strings.Count(job.Instruction, "step") {
				if _, err := agent.Step(ctx, job, "one", func(context.Context, agent.StepInfo) (int, error) { return 1, nil }); err != nil {
					return nil, err
				}
			}
			return 7, nil
		}))
		front := m.NewGateway(st).Handler()
		run := func(instruction string) (writes, reads []string) {
			time.Sleep(time.Second)
			written, read := len(wire.Writes()), len(wire.Reads())
			w := meshtest.Call(front, "POST", "/tasks", `{"agent":"a","instruction":"`+instruction+`"}`)
			if w.Code != http.StatusAccepted {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			id := meshtest.Decode[struct {
				ID string `json:"task_id"`
			}](t, w.Body).ID
			time.Sleep(50 * time.Millisecond)
			if rec := m.Record(id); rec.Status != task.Completed {
				t.Fatalf("%+v", rec)
			}
			return wire.Writes()[written:], wire.Reads()[read:]
		}
		for range 10 {
			run("x") // the quick streak
		}
		same := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.EqualFunc(got, want, strings.HasPrefix) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		writes, reads := run("x")
		same("writes of a task", writes, "mesh.tasks.", "$KV.tasks.", "$JS.ACK.")
		same("its reads", reads)
		writes, reads = run("step step")
		same("writes of a task with two steps", writes,
			"mesh.tasks.", "$KV.tasks.", "mesh.steps.", "mesh.steps.", "$O.mesh-artifacts.C", "$O.mesh-artifacts.M", "$KV.tasks.", "$JS.API.STREAM.PURGE.", "$JS.ACK.")
		same("its reads", reads, "$JS.API.STREAM.MSG.GET.OBJ_") // of an archive before this one
	})
}

package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// The store's trouble is no fault of an agent: its reports wait until the store
// is back, and are kept once, in their order.
func TestMilestonesWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		line := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(line))
		var runs atomic.Int32
		m.WorkWith(worker.Default(), st, meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			runs.Add(1)
			for i, name := range []string{"before", "during", "after"} {
				if i == 1 {
					line.Freeze()
					time.AfterFunc(20*time.Second, line.Thaw)
				}
				if err := job.Milestone(ctx, name, "", nil); err != nil {
					t.Errorf("milestone %s: %v", name, err)
					return nil, agent.Permanent(err)
				}
			}
			return "done", nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		got := m.End(id)
		var names []string
		for _, e := range m.Record(id).Milestones {
			names = append(names, e.Name)
		}
		if got.Status != "completed" || got.Attempt != 1 || runs.Load() != 1 || strings.Join(names, " ") != "before during after" {
			t.Errorf("%+v %+v after %d runs, milestones %v", got, got.Error, runs.Load(), names)
		}
	})
}

// An attempt whose claim cannot be written for a while waits for it: the message
// is not let go of, and nothing is counted that has not begun.
func TestAClaimWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		line := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(line))
		var runs atomic.Int32
		a := meshtest.Named("a", func(context.Context, *agent.Job) (any, error) { runs.Add(1); return "done", nil })
		a.Retry.MaxAttempts = 1
		m.WorkWith(worker.Default(), st, a)
		synctest.Wait()
		line.Mute()
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(25 * time.Second)
		line.Thaw()
		if got := m.End(id); got.Status != "completed" || got.Attempt != 1 || runs.Load() != 1 {
			t.Errorf("%+v %+v after %d runs", got, got.Error, runs.Load())
		}
	})
}

// A write whose outcome nobody heard of may have been stored. The attempt goes on
// from there, and its work is not done twice.
func TestAnUnknownWriteDoesNotCostTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		line := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(line))
		var runs atomic.Int32
		m.WorkWith(worker.Default(), st, meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
			runs.Add(1)
			time.Sleep(time.Second)
			line.Mute()
			job.Progress(50, "half of it")
			time.Sleep(13 * time.Second) // the write is given up, and waits on the line
			line.Thaw()
			return "done", nil
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		if got := m.End(id); got.Status != "completed" || got.Attempt != 1 || runs.Load() != 1 {
			t.Errorf("%+v %+v after %d runs", got, got.Error, runs.Load())
		}
		time.Sleep(2 * time.Minute)
		if runs.Load() != 1 || m.Queued() != 0 {
			t.Errorf("%d runs, %d messages are left", runs.Load(), m.Queued())
		}
	})
}

// A call that finds the store away waits for it as well.
func TestACallWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		line := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(line))
		m.WorkWith(worker.Default(), st, meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			line.Freeze()
			time.AfterFunc(20*time.Second, line.Thaw)
			return job.Call(ctx, "b", 1)
		}), meshtest.Named("b", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }))
		if got := m.End(m.Create(`{"agent":"a","instruction":"x"}`)); got.Status != "completed" || got.Attempt != 1 {
			t.Errorf("%s in attempt %d: %+v", got.Status, got.Attempt, got.Error)
		}
	})
}

// An agent that goes on telling after its context has ended neither keeps the
// attempt from ending nor fills the stream: its reports are written together.
func TestAChattyAgentEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		const told = 3000
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			<-ctx.Done()
			for i := range told {
				_ = job.Milestone(ctx, fmt.Sprint(i), "", nil)
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			return nil, ctx.Err()
		}))
		began := time.Now()
		id := m.Create(`{"agent":"a","instruction":"x","timeout":"10s","max_attempts":1}`)
		got, took := m.End(id), time.Since(began)
		rec := m.Record(id)
		if got.Error == nil || got.Error.Code != task.CodeAgentTimeout || took > 11*time.Second {
			t.Errorf("%+v %+v after %v", got, got.Error, took)
		}
		if rec.Rev > 20 || len(rec.Milestones) == 0 || rec.Milestones[len(rec.Milestones)-1].Name != fmt.Sprint(told-1) {
			t.Errorf("%d revisions with %d milestones", rec.Rev, len(rec.Milestones))
		}
	})
}

// A task that does not fit into a record ends at once, with a word on what is too
// large; one that does not fit into the queue is refused before it is accepted.
func TestARecordThatCannotBeWrittenEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		var runs atomic.Int32
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			runs.Add(1)
			switch job.Instruction {
			case "result":
				return strings.Repeat("x", 100<<10), nil
			case "output":
				job.Output(strings.Repeat("\x01", 60<<10)) // six times as long as JSON
			case "milestones":
				for range 40 {
					if err := job.Milestone(ctx, "m", "", strings.Repeat("x", 4000)); err != nil {
						return nil, err
					}
				}
			}
			return "done", nil
		}))
		input := `"` + strings.Repeat("i", 60<<10) + `"`
		for _, what := range []string{"result", "output"} {
			runs.Store(0)
			got := m.End(m.Create(`{"agent":"a","instruction":"` + what + `","input":` + input + `}`))
			if got.Error == nil || got.Error.Code != task.CodeResultTooLarge || got.Error.Retryable || !strings.Contains(got.Error.Message, "the "+what+" with ") || runs.Load() != 1 {
				t.Errorf("%s: %s %+v after %d runs", what, got.Status, got.Error, runs.Load())
			}
		}
		// Side notes do not cost the result.
		id := m.Create(`{"agent":"a","instruction":"milestones"}`)
		if got, rec := m.End(id), m.Record(id); got.Status != "completed" || len(rec.Milestones) == 0 || len(rec.Milestones) == 40 || len(rec.Warnings) != 1 {
			t.Errorf("%s %+v with %d milestones, warnings %q", got.Status, got.Error, len(rec.Milestones), rec.Warnings)
		}
		for body, status := range map[string]int{
			`{"agent":"a","input":"` + strings.Repeat("i", 200<<10) + `"}`:                                             http.StatusRequestEntityTooLarge,
			`{"agent":"a","input":"` + strings.Repeat("i", 127<<10) + `"}`:                                             http.StatusRequestEntityTooLarge,
			`{"agent":"a","input":` + strings.Repeat("[", 9998) + strings.Repeat("]", 9998) + `}`:                      http.StatusUnprocessableEntity,
			`{"agent":"a","instruction":"x","metadata":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`: http.StatusUnprocessableEntity,
		} {
			if w := m.Do("POST", "/tasks", body); w.Code != status {
				t.Errorf("%.40s with %d bytes = %d %.300s", body, len(body), w.Code, w.Body)
			}
		}
		if got := m.End(m.Create(`{"agent":"a","input":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`)); got.Status != "completed" {
			t.Errorf("%+v %+v", got, got.Error)
		}
	})
}

// A worker asks for no more bytes at once than its connection takes in time,
// however many slots are free.
func TestPullsAreBoundedByBytes(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.New(t)
	_, spy := m.OpenStore()
	pulls, err := spy.SubscribeSync(topology.PullSubject(topology.Tasks, topology.AgentDurable("a")))
	if err != nil {
		t.Fatal(err)
	}
	runs := make([]atomic.Int32, max(50, natstest.Fewer(100)))
	var ids []string
	a := meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
		var in struct{ N int }
		err := job.Bind(&in)
		runs[in.N].Add(1)
		return nil, err
	})
	a.Concurrency = 1000
	stop := m.Work(a)
	stop()
	for n := range runs {
		ids = append(ids, m.Create(fmt.Sprintf(`{"agent":"a","input":{"n":%d,"text":%q}}`, n, strings.Repeat("x", 240_000))))
	}
	m.Work(a)
	for i, id := range ids {
		if got := m.End(id); got.Status != "completed" || got.Attempt != 1 || runs[i].Load() != 1 {
			t.Errorf("%s %+v after %d runs", got.Status, got.Error, runs[i].Load())
		}
	}
	asked := 0
	for {
		msg, err := pulls.NextMsg(50 * time.Millisecond)
		if errors.Is(err, nats.ErrTimeout) {
			break
		}
		var req struct {
			Batch    int
			MaxBytes int64 `json:"max_bytes"`
		}
		if err != nil || json.Unmarshal(msg.Data, &req) != nil || req.MaxBytes < m.NC.MaxPayload() || req.MaxBytes > 8<<20 {
			t.Fatalf("pull %s: %v", msg.Data, err)
		}
		asked++
	}
	if asked < len(runs)/25 { // 24 MB in several goes
		t.Errorf("%d pulls", asked)
	}
}

// The registry tells within two seconds how many slots are taken, what a reload
// serves, and that a worker has left or was missed.
func TestTheRegistryFollowsTheWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		line := &meshtest.Gate{Server: m.Server.Server}
		st, _ := m.OpenStore(nats.InProcessServer(line))
		block := make(chan struct{})
		slow := meshtest.Named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		})
		workers := func(name string) (live, busy int) {
			v := meshtest.Decode[api.Agent](t, m.Do("GET", "/agents/"+name, "").Body)
			for _, w := range v.Workers {
				busy += w.Busy
			}
			return v.LiveWorkers, busy
		}
		expect := func(when, name string, live, busy int) {
			t.Helper()
			time.Sleep(1900 * time.Millisecond)
			if l, b := workers(name); l != live || b != busy {
				t.Errorf("%s: %d workers of %s with %d busy slots; want %d and %d", when, l, name, b, live, busy)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		w, err := worker.New(ctx, worker.Default(), st, []agent.Agent{slow}, meshtest.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		expect("it runs", "a", 1, 1)
		if err := w.Reload(ctx, []agent.Agent{slow, meshtest.Named("b", slow.Handler)}); err != nil {
			t.Fatal(err)
		}
		if live, _ := workers("b"); live != 1 {
			t.Errorf("right after the reload %d workers serve b", live)
		}
		other := m.Create(`{"agent":"b","instruction":"x"}`)
		expect("both run", "b", 1, 1)
		close(block)
		m.End(id)
		m.End(other)
		expect("both have ended", "a", 1, 0)
		expect("both have ended", "b", 1, 0)

		block = make(chan struct{})
		id = m.Create(`{"agent":"a","instruction":"x"}`)
		expect("it runs", "a", 1, 1)
		line.Freeze()
		stop := m.Work(slow)
		for m.Record(id).Attempt < 2 { // the heir has missed the first
			time.Sleep(time.Second)
		}
		expect("the first is frozen", "a", 1, 1)
		line.Thaw()
		time.Sleep(worker.Default().Lease / 3) // then it looks at its record
		expect("it is back", "a", 2, 1)
		close(block)
		m.End(id)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		expect("it has left", "a", 1, 0)
		stop()
		expect("both have left", "a", 0, 0)
	})
}

// A turn whose session cannot be written fails at once as well, and the session
// takes the next message.
func TestASessionThatCannotBeWrittenFailsTheTurnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		var runs atomic.Int32
		m.Work(meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
			if runs.Add(1); job.Turn.Text() == "much" {
				return strings.Repeat("x", 200<<10), nil
			}
			return "little", nil
		}))
		id := m.Session("a")
		got := m.Say(http.StatusOK, id, "much")
		if got.Status != "failed" || got.Error == nil || got.Error.Code != task.CodeResultTooLarge || runs.Load() != 1 {
			t.Errorf("%s %+v after %d runs", got.Status, got.Error, runs.Load())
		}
		if got := m.Say(http.StatusOK, id, "and now?"); got.Message != "little" {
			t.Errorf("%s %+v", got.Status, got.Error)
		}
	})
}

// The one line of an attempt says what became of its task, also of one that was
// canceled while it ran.
func TestTheLineOfACanceledAttemptSaysCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		said := &meshtest.Transcript{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, err := worker.New(ctx, worker.Default(), m.Store, []agent.Agent{meshtest.Named("a", func(ctx context.Context, _ *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})}, slog.New(slog.NewTextHandler(said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(time.Second)
		m.Do("POST", "/tasks/"+id+"/cancel", "")
		time.Sleep(time.Second)
		if text := said.String(); !strings.Contains(text, "outcome=canceled status=canceled") {
			t.Errorf("it said\n%s", text)
		}
		cancel()
		<-ended
	})
}

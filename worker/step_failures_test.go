package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// The rows of the table of failures that steps have, each named after its row.

// told are the StepInfos of the runs of one step.
type told struct {
	mu  sync.Mutex
	all []agent.StepInfo
}

func (r *told) add(s agent.StepInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

// entries are what the store has of a task's journal.
func entries(t *testing.T, m *meshtest.Mesh, id string) []*task.Entry {
	t.Helper()
	all, err := m.Store.Steps.Read(t.Context(), "default", task.ID(id), 0)
	if err != nil {
		t.Fatal(err)
	}
	return task.Noted(all)
}

// noJournals fails where the store still has one.
func noJournals(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	left, err := m.Store.Steps.Journals(t.Context())
	for range 100 { // they go after the record has its end
		if err != nil || len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
		left, err = m.Store.Steps.Journals(t.Context())
	}
	if err != nil || len(left) != 0 {
		t.Errorf("journals are left: %v, %v", left, err)
	}
}

// archived are the entries of a journal that has ended.
func archived(t *testing.T, m *meshtest.Mesh, id string) (lines []string) {
	t.Helper()
	rec := m.Record(id)
	if rec.Steps == nil || rec.Steps.Object == "" {
		t.Fatalf("no journal is kept: %+v", rec.Steps)
	}
	text, err := m.Store.Artifacts.Read(t.Context(), task.Value{Object: rec.Steps.Object, Size: rec.Steps.Size})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestRow2AStepInWhichAWorkerWasKilledRunsAgainWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ran
		var three told
		reached, forever := make(chan struct{}), make(chan struct{})
		a := meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			_, _ = r.step(ctx, job, "one")
			_, _ = r.step(ctx, job, "two")
			return agent.Step(ctx, job, "three", func(_ context.Context, s agent.StepInfo) (int, error) {
				three.add(s)
				if s.Attempt == 1 {
					close(reached)
					<-forever
				}
				return s.Attempt, nil
			})
		}))
		m, kill := dies(t, a)
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-reached
		kill()
		m.Work(a)
		v := m.End(id)
		if string(v.Result) != "2" || r.String() != "map[one:1 two:1]" || len(three.all) != 2 {
			t.Fatalf("%s %s: %v, %+v", v.Status, v.Result, &r, three.all)
		}
		if first, again := three.all[0], three.all[1]; first.IdempotencyKey != id+".three.0" || again.IdempotencyKey != first.IdempotencyKey || again.Again {
			t.Errorf("%+v, then %+v", first, again)
		}
		close(forever)
	})
}

func TestRow3AMarkedStepThatWasKilledAfterItsEffectIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var charge told
		var kill func()
		var m *meshtest.Mesh
		a := meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Step(ctx, job, "charge", func(_ context.Context, s agent.StepInfo) (string, error) {
				charge.add(s)
				if s.Attempt == 1 {
					kill() // the effect is there, the entry is never written
				}
				return "charged", nil
			}, agent.Marked())
		}))
		m, kill = dies(t, a)
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		record(t, m, id, func(rec *task.Task) bool { return rec.Steps != nil })
		time.Sleep(time.Second)
		if e := entries(t, m, id); len(e) != 1 || e[0].Kind != task.EntryStarted {
			t.Errorf("the journal has %+v", e)
		}
		m.Work(a)
		v := m.End(id)
		if v.Status != "completed" || len(charge.all) != 2 || charge.all[0].Again || !charge.all[1].Again || charge.all[0].IdempotencyKey != charge.all[1].IdempotencyKey {
			t.Errorf("%s: %+v", v.Status, charge.all)
		}
	})
}

func TestRow5AStepWaitsForAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		gate := &meshtest.Gate{Server: m.Server.Server}
		st := m.StoreThrough(gate)
		cfg := worker.Default()
		cfg.Lease = 10 * time.Minute
		var r ran
		a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			_, _ = r.step(ctx, job, "one") // the record says that there is a journal
			return agent.Step(ctx, job, "two", func(_ context.Context, s agent.StepInfo) (int, error) {
				r.count(s)
				gate.Freeze()
				time.AfterFunc(2*time.Minute, gate.Thaw)
				return 7, nil
			})
		})
		a.Retry.MaxAttempts = 1
		m.WorkWith(cfg, st, a)
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		if v := m.End(id); string(v.Result) != "7" || v.Attempt != 1 || r.String() != "map[one:1 two:1]" {
			t.Errorf("%s %s in attempt %d, %v: %+v", v.Status, v.Result, v.Attempt, &r, v.Error)
		}
	})
}

// A worker is frozen for two minutes within step three. Its heir has run that step and
// is in the next one when it thaws.
func TestRow6TheEntryAndTheResultOfAThawedWorkerAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		gate := &meshtest.Gate{Server: m.Server.Server}
		inThree, inFour, thawed, finish := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
		said := make(chan error, 1)
		var r ran
		a := meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			_, _ = r.step(ctx, job, "one")
			_, _ = r.step(ctx, job, "two")
			v, err := agent.Step(ctx, job, "three", func(_ context.Context, s agent.StepInfo) (int, error) {
				if s.Attempt == 1 {
					close(inThree)
					<-thawed
				}
				return s.Attempt, nil
			})
			if job.Attempt == 1 {
				said <- err
				return "of the frozen one", nil
			}
			close(inFour)
			<-finish
			return v, err
		}))
		a.Timeout = task.Duration(time.Hour)
		m.WorkWith(worker.Default(), m.StoreThrough(gate), a)
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-inThree
		gate.Freeze()
		m.Work(a)
		<-inFour
		time.Sleep(2 * time.Minute)
		close(thawed) // it runs on: its entry goes out as soon as the line is there
		gate.Thaw()
		if err := <-said; !errors.Is(err, agent.ErrLeaseLost) {
			t.Errorf("the frozen worker's step: %v", err)
		}
		time.Sleep(time.Minute)
		if e := entries(t, m, id); len(e) != 3 || e[2].Attempt != 2 || string(e[2].Value) != "2" {
			t.Errorf("the journal has %s", list(e))
		}
		close(finish)
		if v := m.End(id); string(v.Result) != "2" || v.Attempt != 2 {
			t.Errorf("%s %s in attempt %d: %+v", v.Status, v.Result, v.Attempt, v.Error)
		}
	})
}

// list is entries as text.
func list(entries []*task.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%+v %s\n", *e, e.Value)
	}
	return b.String()
}

// snare is a way to the server that is frozen when the first message below a subject
// is published.
type snare struct {
	*meshtest.Gate
	subject string
	caught  chan struct{}
	once    sync.Once
}

func (s *snare) InProcessConn() (net.Conn, error) {
	c, err := s.Gate.InProcessConn()
	return snared{c, s}, err
}

type snared struct {
	net.Conn
	snare *snare
}

func (c snared) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("PUB "+c.snare.subject)) {
		c.snare.once.Do(func() { c.snare.Freeze(); close(c.snare.caught) })
	}
	return c.Conn.Write(b)
}

// The first heir is frozen with its fence on the way, the second one runs.
func TestRow7OfTwoHeirsOneGoesOnAndTheOtherEndsAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inTwo, hangs, finish := make(chan int, 3), make(chan struct{}), make(chan struct{})
		var r ran
		a := meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			if _, err := r.step(ctx, job, "one"); err != nil {
				return nil, err
			}
			inTwo <- job.Attempt
			if job.Attempt == 1 {
				<-hangs
				return nil, nil
			}
			<-finish
			return r.step(ctx, job, "two")
		}))
		a.Retry.MaxAttempts, a.Timeout = 10, task.Duration(time.Hour)
		m, kill := dies(t, a)
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-inTwo
		kill()
		s := &snare{Gate: &meshtest.Gate{Server: m.Server.Server}, subject: "mesh.steps.", caught: make(chan struct{})}
		st, _ := m.OpenStore(nats.InProcessServer(s), nats.PingInterval(time.Hour))
		m.WorkWith(worker.Default(), st, a)
		<-s.caught
		m.Work(a)
		heir := <-inTwo
		s.Thaw()
		time.Sleep(time.Minute)
		select {
		case other := <-inTwo:
			t.Errorf("attempt %d runs beside attempt %d", other, heir)
		default:
		}
		close(finish)
		if v := m.End(id); v.Status != "completed" || v.Attempt != heir || heir != 3 || r.String() != "map[one:1 two:1]" {
			t.Errorf("%s in attempt %d, the heir was %d: %v, %+v", v.Status, v.Attempt, heir, &r, v.Error)
		}
		close(hangs)
	})
}

func TestRow8ACancelWhileAStepRunsEndsItAndTheJournalIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		inTwo := make(chan struct{})
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			if _, err := r.step(ctx, job, "one"); err != nil {
				return nil, err
			}
			return agent.Step(ctx, job, "two", func(ctx context.Context, s agent.StepInfo) (string, error) {
				close(inTwo)
				<-ctx.Done()
				return "done nevertheless", nil
			})
		}))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		<-inTwo
		m.Do("POST", "/tasks/"+id+"/cancel", "")
		time.Sleep(10 * time.Second)
		lines := archived(t, m, id)
		if v := m.Get(id); v.Status != "canceled" || len(lines) != 2 || !strings.Contains(lines[1], "done nevertheless") {
			t.Errorf("%s: %s", v.Status, lines)
		}
		noJournals(t, m)
		nothingLeft(t, m)
	})
}

func TestRow21AStepAboveTheBoundOfAJournalIsRefusedBeforeItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var r ran
		m.WorkWith(worker.Default().WithEntries(3), m.Store, meshtest.WithRetry(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			for _, name := range []string{"one", "two", "three"} {
				if _, err := r.step(ctx, job, name); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
			if job.Attempt == 1 {
				return nil, errors.New("once more: what is in the journal is found there")
			}
			return r.step(ctx, job, "four")
		})))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		v := m.End(id)
		if v.Status != "failed" || v.Error.Code != task.CodeJournalFull || v.Error.Retryable || v.Attempt != 2 || r.String() != "map[one:1 three:1 two:1]" {
			t.Errorf("%s in attempt %d, %v: %+v", v.Status, v.Attempt, &r, v.Error)
		}
	})
}

func TestRow24AJournalThatACrashLeftIsDroppedByTheRedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		nodes := []node{{kind: "step", name: "a"}, {kind: "step", name: "b"}}
		whole, err := m.run(nodes)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(whole.writes, func(subject string) bool { return strings.Contains(subject, ".PURGE.") })
		if at < 0 {
			t.Fatalf("no purge in %v", whole.writes)
		}
		o, err := m.run(nodes, cut{at + 1, false})
		if err != nil || o.crashes != 1 || o.result != whole.result || o.ledger.made != 2 {
			t.Errorf("after %d crashes %s, %d steps ran: %v", o.crashes, o.result, o.ledger.made, err)
		}
	})
}

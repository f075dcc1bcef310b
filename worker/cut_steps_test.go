package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// A made handler is a list of these.
type node struct {
	kind     string // step, no (a step that fails for good), sleep, ask, at-once
	name     string
	nap      time.Duration
	branches [][]node
}

func (n node) String() string {
	switch n.kind {
	case "sleep":
		return fmt.Sprintf("sleep %s %v", n.name, n.nap)
	case "at-once":
		return fmt.Sprint(n.branches)
	}
	return n.kind + " " + n.name
}

// drawn draws a handler. Names of branches begin with their place, so that no
// two of them at once are equal.
func drawn(depth int, prefix string) *rapid.Generator[[]node] {
	return rapid.Custom(func(t *rapid.T) []node {
		kinds := []string{"step", "step", "step", "no", "sleep", "ask", "at-once"}
		if depth == 0 {
			kinds = kinds[:6]
		}
		var all []node
		for i := range rapid.IntRange(1, 4).Draw(t, "length") {
			n := node{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), name: prefix + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}
			switch n.kind {
			case "sleep":
				n.nap = rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 45 * time.Second, 20 * time.Minute}).Draw(t, "nap")
			case "at-once":
				for b := range rapid.IntRange(2, 3).Draw(t, "branches") {
					n.branches = append(n.branches, drawn(depth-1, fmt.Sprintf("%s%d%c/", prefix, i, 'x'+b)).Draw(t, "branch"))
				}
			}
			all = append(all, n)
		}
		return all
	})
}

// ledger is what the functions of a task's steps did, outside of the mesh.
type ledger struct {
	mu    sync.Mutex
	runs  map[string]int // by step
	made  int
	saw   map[string]int // which of the values that a step made its handler got
	fault error
}

// made is the value of a step, and which one of all values that were made.
type made struct {
	Step string
	Nth  int
}

func (l *ledger) run(step string) made {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[step]++
	l.made++
	return made{step, l.made}
}

// got notes what the handler got from a step: always the same.
func (l *ledger) got(v made) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.saw[v.Step]; ok && before != v.Nth {
		l.fault = fmt.Errorf("step %s gave its handler value %d, and %d before", v.Step, v.Nth, before)
	}
	l.saw[v.Step] = v.Nth
}

// life is one worker process: from its start until its wire breaks.
type life struct {
	ledger *ledger
	wire   *meshtest.Wire
}

// do is the handler of nodes: it returns what each of them gave.
func (l life) do(ctx context.Context, job *agent.Job, nodes []node) (all []string, err error) {
	for _, n := range nodes {
		said, err := l.one(ctx, job, n)
		if err != nil {
			return nil, err
		}
		all = append(all, said)
	}
	return all, nil
}

func (l life) one(ctx context.Context, job *agent.Job, n node) (string, error) {
	switch n.kind {
	case "step", "no":
		v, err := agent.Step(ctx, job, n.name, func(ctx context.Context, s agent.StepInfo) (made, error) {
			if l.wire.Dead() { // nothing runs in a process that was killed
				<-ctx.Done()
				return made{}, context.Cause(ctx)
			}
			id := strings.TrimPrefix(s.IdempotencyKey, job.TaskID+".")
			v := l.ledger.run(id)
			if n.kind == "no" {
				return made{}, agent.Permanent(errors.New("no " + id))
			}
			return v, nil
		})
		var fault *agent.Error
		if n.kind == "no" && errors.As(err, &fault) && fault.Permanent {
			return fault.Message, nil
		}
		if err == nil {
			l.ledger.got(v)
		}
		return v.Step, err
	case "sleep":
		_, err := job.Wait(ctx, agent.Wait{Kind: task.WaitSleep, Name: n.name, For: n.nap})
		return "slept", err
	case "ask":
		return agent.Ask[string](ctx, job, n.name, agent.Question{Prompt: "Go on?"})
	}
	said, errs := make([][]string, len(n.branches)), make([]error, len(n.branches))
	var branches sync.WaitGroup
	for i, b := range n.branches {
		branches.Go(func() { said[i], errs[i] = l.do(ctx, job, b) })
	}
	branches.Wait()
	return fmt.Sprint(said), errors.Join(errs...)
}

// cut is where a life ends: at its n-th write, before or after it reached the server.
type cut struct {
	at    int
	after bool
}

// cutMesh runs tasks through workers that are killed at their writes.
type cutMesh struct {
	*meshtest.Mesh
	core *mesh.Mesh
}

func newCutMesh(t *testing.T) *cutMesh {
	m := &cutMesh{Mesh: meshtest.New(t)}
	m.core = mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	t.Cleanup(m.core.Close)
	return m
}

// outcome of a task that was run through cuts.
type cutOutcome struct {
	result  string
	crashes int
	writes  []string // of the last life
	ledger  *ledger
}

// run runs a made handler once: a life for each cut, and one that is not cut. The
// error says which promise was broken.
func (m *cutMesh) run(nodes []node, cuts ...cut) (o cutOutcome, err error) {
	o.ledger = &ledger{runs: map[string]int{}, saw: map[string]int{}}
	id := ""
	for i := range len(cuts) + 1 {
		wire, broken := &meshtest.Wire{Server: m.Server.Server}, make(chan struct{})
		wire.Broken = func() { close(broken) }
		if i < len(cuts) {
			wire.Cut, wire.After = cuts[i].at, cuts[i].after
		}
		stop := m.live(life{o.ledger, wire}, nodes)
		if id == "" {
			id = m.Create(`{"agent":"made","instruction":"x"}`)
		}
		ended := m.until(id, broken)
		stop()
		o.writes = wire.Writes()
		if wire.Dead() {
			o.crashes++
			continue
		}
		if ended != nil {
			return o, ended
		}
		break
	}
	return o, m.check(id, &o)
}

// live starts a worker behind a wire. stop ends it at once.
func (m *cutMesh) live(l life, nodes []node) (stop func()) {
	a := meshtest.Named("made", func(ctx context.Context, job *agent.Job) (any, error) { return l.do(ctx, job, nodes) })
	a.Retry.MaxAttempts, a.Timeout = 100, task.Duration(time.Hour)
	cfg := worker.Default()
	cfg.Drain = 0
	st, hangUp, err := m.StoreOver(l.wire)
	if err != nil {
		return func() {} // it broke before anything began
	}
	ctx, cancel := context.WithCancel(m.T.Context())
	done := make(chan struct{})
	w, err := worker.New(ctx, cfg, st, []agent.Agent{a}, meshtest.Quiet())
	go func() {
		defer close(done)
		if err == nil {
			_ = w.Run(ctx)
		}
	}()
	return func() { cancel(); <-done; hangUp() }
}

// until waits for the end of a task and of all that it left, and answers what it asks.
// It ends early when broken is closed.
func (m *cutMesh) until(id string, broken <-chan struct{}) error {
	ctx := m.T.Context()
	rev, wait := uint64(0), 100*time.Millisecond
	for end := time.Now().Add(2 * time.Hour); time.Now().Before(end); {
		if t, err := m.Store.Tasks.Get(ctx, "default", task.ID(id)); err == nil {
			if t.Rev != rev {
				rev, wait = t.Rev, 100*time.Millisecond
			}
			for _, q := range t.Questions() {
				_, err := m.core.Tasks.Answer(ctx, auth.Local(), t.ID, mesh.AnswerRequest{Name: q.Name, Value: json.RawMessage(`"` + q.Name + fmt.Sprint(q.N) + `"`)})
				if err != nil && !errors.Is(err, mesh.ErrAlreadyAnswered) {
					return fmt.Errorf("answer %s: %w", q.Name, err)
				}
			}
			if n, err := m.Store.Tasks.Queued(ctx); err == nil && n == 0 && t.Status.Terminal() {
				return nil
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-broken:
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, time.Minute)
	}
	t, err := m.Store.Tasks.Get(ctx, "default", task.ID(id))
	n, _ := m.Store.Tasks.Queued(ctx)
	return fmt.Errorf("it does not end: %+v, %v, %d messages are left", t, err, n)
}

// check looks whether the promises were kept.
func (m *cutMesh) check(id string, o *cutOutcome) error {
	v := m.Get(id)
	o.result = string(v.Result)
	if v.Status != "completed" {
		return fmt.Errorf("it is %s: %+v", v.Status, v.Error)
	}
	left, err := m.Store.Steps.Journals(m.T.Context())
	if err != nil || len(left) > 0 {
		return fmt.Errorf("journals are left: %v, %v", left, err)
	}
	for step, n := range o.ledger.runs {
		if n > 1+o.crashes {
			return fmt.Errorf("step %s ran %d times in %d crashes", step, n, o.crashes)
		}
	}
	return o.ledger.fault
}

// everything is a handler with each kind of node.
var everything = []node{
	{kind: "step", name: "a"}, {kind: "step", name: "a"}, {kind: "no", name: "b"},
	{kind: "at-once", branches: [][]node{
		{{kind: "step", name: "x/a"}, {kind: "sleep", name: "x/nap", nap: 45 * time.Second}, {kind: "step", name: "x/b"}},
		{{kind: "ask", name: "y/q"}, {kind: "step", name: "y/a"}},
	}},
	{kind: "sleep", name: "nap", nap: 5 * time.Second}, {kind: "ask", name: "q"}, {kind: "step", name: "a"},
}

// Wherever a worker is killed, before or after any of its writes, what was finished is
// not done again, and the end is that of a run without a crash.
func TestACrashAtEachWriteRepeatsNothingThatWasFinished(t *testing.T) {
	natstest.Long(t)
	synctest.Test(t, func(t *testing.T) {
		m := newCutMesh(t)
		whole, err := m.run(everything)
		if err != nil {
			t.Fatal(err)
		}
		if len(whole.writes) < 15 || len(whole.ledger.runs) != 7 {
			t.Fatalf("writes %v, steps %v", whole.writes, whole.ledger.runs)
		}
		for at := range len(whole.writes) {
			for _, after := range []bool{false, true} {
				if after != (at%2 == 0) && !*meshtest.Chaos {
					continue // every other of both ways
				}
				o, err := m.run(everything, cut{at + 1, after})
				if err == nil && (o.result != whole.result || o.crashes != 1 && len(o.writes) > at) { // a run may write less often
					err = fmt.Errorf("the result is %s, want %s", o.result, whole.result)
				}
				if err != nil {
					t.Errorf("killed at write %d (%s), after it %v: %v", at+1, whole.writes[at], after, err)
				}
			}
		}
	})
}

// So it is for whatever handler, and more than one crash.
func TestCrashesRepeatNothingThatWasFinished(t *testing.T) {
	if !*meshtest.Chaos {
		quick := flag.Lookup("rapid.checks")
		before := quick.Value.String()
		_ = quick.Value.Set("6")
		defer func() { _ = quick.Value.Set(before) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		nodes := drawn(2, "").Draw(rt, "handler")
		cuts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) cut {
			return cut{rapid.IntRange(1, 30).Draw(t, "at"), rapid.Bool().Draw(t, "after")}
		}), 1, 4).Draw(rt, "cuts")
		var fault error
		synctest.Test(t, func(t *testing.T) {
			m := newCutMesh(t)
			whole, err := m.run(nodes)
			if err != nil {
				fault = fmt.Errorf("without a crash: %w", err)
				return
			}
			o, err := m.run(nodes, cuts...)
			if fault = err; err == nil && o.result != whole.result {
				fault = fmt.Errorf("the result is %s, want %s", o.result, whole.result)
			}
		})
		if fault != nil {
			rt.Fatalf("%v", fault)
		}
	})
}

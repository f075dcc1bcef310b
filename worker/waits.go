package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// waits are what the handler of an attempt waits for in this run. When it waits for
// nothing that is over soon, and nothing else of it goes on, the run is suspended.
type waits struct {
	at   *attempt
	stop context.CancelCauseFunc // ends the handler's context

	mu     sync.Mutex
	known  []task.Answer // of the record, as it was last read or written
	begun  map[waitName]int
	open   []*openWait
	ended  []task.Wait // in this run
	taken  map[uint64]task.Wait
	busy   int // steps that run
	moved  time.Time
	quiet  *time.Timer
	over   chan struct{} // closed when the run is suspended; nil: nothing was waited for
	closed bool
	anew   bool // what earlier runs waited for is forgotten
}

// waitName tells waits apart whose number counts them.
type waitName struct {
	kind task.WaitKind
	name string
}

// openWait is a wait of this run that is not over.
type openWait struct {
	task.Wait
	got      chan task.Answer // takes one
	numbered bool             // it said its n
	done     bool             // it has got it
	willing  bool             // the run may be suspended for it
	expired  bool             // its time is over: the record is to say so, if no answer came
	shown    bool             // it is to be in the record while the run goes on
}

// quietFor is how long nothing of a handler may go on before its run is suspended:
// another goroutine may be about to begin a step.
const quietFor = 100 * time.Millisecond

// showAfter is how long a question may be open before the record of a run that
// goes on has it.
const showAfter = 250 * time.Millisecond

// begin numbers a wait, unless it says its n. Two of one kind and name at once cannot
// be told apart.
func (ws *waits) begin(kind task.WaitKind, name string, n *int) (*openWait, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.suspendedLocked() {
		return nil, agent.ErrSuspended
	}
	key := waitName{kind, name}
	if slices.ContainsFunc(ws.open, func(o *openWait) bool {
		return o.Kind == kind && o.Name == name && (n == nil || !o.numbered || o.N == *n)
	}) {
		return nil, &agent.Error{Code: task.CodeStepAmbiguous, Permanent: true, Message: fmt.Sprintf("two waits of kind %s have the name %q at the same time: give each a name of its own", kind, name)}
	}
	if ws.begun == nil {
		ws.begun, ws.over = map[waitName]int{}, make(chan struct{})
	}
	o := &openWait{Wait: task.Wait{Kind: kind, Name: name, N: ws.begun[key]}, got: make(chan task.Answer, 1), numbered: n != nil}
	if o.numbered {
		o.N = *n
	} else {
		ws.begun[key]++
	}
	ws.open = append(ws.open, o)
	ws.movedLocked()
	return o, nil
}

// end ends a wait. One that has got what it waited for is over for good.
func (ws *waits) end(o *openWait, over bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.suspendedLocked() {
		return // the record keeps what was open
	}
	ws.open = slices.DeleteFunc(ws.open, func(other *openWait) bool { return other == o })
	if over {
		ws.ended = append(ws.ended, o.Wait)
	} else if !o.numbered {
		ws.begun[waitName{o.Kind, o.Name}]-- // the same wait may be begun again
	}
	ws.movedLocked()
}

// work counts the steps and other work that must end before the run is suspended.
func (ws *waits) work(n int) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if n > 0 && ws.suspendedLocked() {
		return agent.ErrSuspended
	}
	ws.busy += n
	ws.movedLocked()
	return nil
}

// allow says that the run may be suspended for a wait.
func (ws *waits) allow(o *openWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	o.willing = true
	ws.considerLocked()
}

// offer gives a wait what the record had for it when the run began.
func (ws *waits) offer(o *openWait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.giveLocked(o)
}

// show has the record say what a run waits for that goes on.
func (ws *waits) show(o *openWait) {
	ws.mu.Lock()
	o.shown = true
	ring := !ws.suspendedLocked()
	ws.mu.Unlock()
	if ring {
		ws.at.rec.reports.ring()
	}
}

// expire has the record decide whether an answer came before the time was over.
func (ws *waits) expire(o *openWait) {
	ws.mu.Lock()
	o.expired, o.shown = true, true
	ring := !o.done && !ws.suspendedLocked()
	ws.mu.Unlock()
	if ring {
		ws.at.rec.reports.ring()
	}
}

func (ws *waits) movedLocked() {
	ws.moved = time.Now()
	ws.considerLocked()
}

func (ws *waits) quietLocked() bool {
	return !ws.closed && ws.busy == 0 && len(ws.open) > 0 && len(ws.open) <= task.MaxWaits && !ws.suspendedLocked() &&
		!slices.ContainsFunc(ws.open, func(o *openWait) bool { return !o.willing || o.done })
}

func (ws *waits) considerLocked() {
	if ws.quiet != nil {
		ws.quiet.Stop()
		ws.quiet = nil
	}
	if ws.quietLocked() {
		ws.quiet = time.AfterFunc(max(0, time.Until(ws.moved.Add(quietFor))), ws.suspend)
	}
}

// suspend ends the run if nothing of it has moved.
func (ws *waits) suspend() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.quietLocked() && time.Since(ws.moved) >= quietFor {
		close(ws.over)
		ws.stop(agent.ErrSuspended)
	}
}

func (ws *waits) suspendedLocked() bool {
	select {
	case <-ws.over:
		return true
	default:
		return false
	}
}

// bind is ctx until the run is suspended.
func (ws *waits) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-ws.over:
			cancel(agent.ErrSuspended)
		case <-stop:
		}
	}()
	return ctx, func() { close(stop); cancel(nil) }
}

// close ends what waits are for: the attempt is being settled.
func (ws *waits) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	if ws.quiet != nil {
		ws.quiet.Stop()
	}
}

// saw takes note of the record as it is, and gives waits their answers.
func (ws *waits) saw(t *task.Task) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.known = t.Answers
	for _, o := range ws.open {
		ws.giveLocked(o)
	}
}

// giveLocked gives a wait the answer to it, or the first one of its name that no
// wait has taken.
func (ws *waits) giveLocked(o *openWait) {
	if o.done || !o.Kind.Answered() || ws.suspendedLocked() {
		return
	}
	for _, a := range ws.known {
		if _, taken := ws.taken[a.ID]; a.Used || !a.For(o.Wait) && (a.N != nil || taken || a.Name != o.Name) {
			continue
		}
		if a.N == nil {
			ws.takeLocked(a, o.Wait)
		}
		o.done = true
		o.got <- a
		return
	}
}

// put puts what the run waits for into the next version of its record: on from the
// waits and answers of the version before.
func (ws *waits) put(t *task.Task) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if t.Status.Terminal() {
		t.EndWaits()
		return
	}
	if ws.anew {
		t.Restart(func(w task.Wait) bool {
			return slices.ContainsFunc(ws.open, func(o *openWait) bool { return o.Is(w.Kind, w.Name, w.N) })
		}, func(a task.Answer) bool {
			return slices.ContainsFunc(ws.ended, func(w task.Wait) bool { return a.For(w) })
		})
	}
	if t.Waits == nil && ws.begun == nil {
		return
	}
	t.Use(ws.usedLocked)
	t.Waits = slices.DeleteFunc(slices.Clone(t.Waits), func(w task.Wait) bool {
		return slices.ContainsFunc(ws.ended, func(e task.Wait) bool { return e.Is(w.Kind, w.Name, w.N) })
	})
	for _, o := range ws.open {
		i := slices.IndexFunc(t.Waits, func(w task.Wait) bool { return w.Is(o.Kind, o.Name, o.N) })
		switch {
		case i >= 0:
			t.Waits[i] = o.Wait
		case o.shown && len(t.Waits) < task.MaxWaits:
			t.Waits = append(t.Waits, o.Wait)
		}
	}
	slices.SortStableFunc(t.Waits, task.Wait.Compare)
	if slices.ContainsFunc(ws.open, func(o *openWait) bool { return o.expired }) {
		t.Expire(time.Now())
	}
}

// restart forgets what earlier runs waited for, with the next record that is written.
func (ws *waits) restart() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.anew = true
}

// first is the question that was asked first, of a run that was suspended.
func (ws *waits) first() (first task.Wait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, o := range ws.open {
		if o.Kind == task.WaitInput && (first.Name == "" || o.Compare(first) < 0) {
			first = o.Wait
		}
	}
	return first
}

// rest puts what is left open at the end of a suspended run into its record.
func (ws *waits) rest(t *task.Task) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.known = t.Answers
	t.Use(ws.usedLocked)
	t.Waits = nil
	for _, o := range ws.open {
		t.Waits = append(t.Waits, o.Wait)
	}
	slices.SortStableFunc(t.Waits, task.Wait.Compare)
	for i, a := range t.Answers { // one that came before its question is for it now
		if w, ok := ws.takesLocked(a); ok {
			t.Answers[i].Kind, t.Answers[i].N = w.Kind, &w.N
		}
	}
	t.Expire(time.Now())
}

// takesLocked is the open wait that an answer without one is for, if any.
func (ws *waits) takesLocked(a task.Answer) (w task.Wait, ok bool) {
	if a.N != nil || a.Used {
		return w, false
	}
	if w, ok = ws.taken[a.ID]; ok {
		return w, true
	}
	for _, o := range ws.open {
		if o.Kind.Answered() && o.Name == a.Name && !ws.servedLocked(o.Wait) {
			ws.takeLocked(a, o.Wait)
			return o.Wait, true
		}
	}
	return w, false
}

// servedLocked reports whether a wait has an answer.
func (ws *waits) servedLocked(w task.Wait) bool {
	for _, taken := range ws.taken {
		if taken.Is(w.Kind, w.Name, w.N) {
			return true
		}
	}
	return slices.ContainsFunc(ws.known, func(a task.Answer) bool { return a.For(w) })
}

func (ws *waits) takeLocked(a task.Answer, w task.Wait) {
	if ws.taken == nil {
		ws.taken = map[uint64]task.Wait{}
	}
	ws.taken[a.ID] = w
}

// usedLocked reports whether the agent has an answer for good, and completes it by
// what it was for.
func (ws *waits) usedLocked(a *task.Answer) bool {
	if w, ok := ws.taken[a.ID]; ok && a.N == nil {
		a.Kind, a.N = w.Kind, &w.N
	}
	return slices.ContainsFunc(ws.ended, func(w task.Wait) bool { return a.For(w) })
}

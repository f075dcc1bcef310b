package worker

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// lines keeps what an agent outside of Go tells, in the journal of its task, and
// waits for it. Its waits say which of their name they are: a program does not begin
// again what has come.
type lines struct {
	mu     sync.Mutex
	caller *caller      // nil: the agent has not begun
	begun  int          // how often the agent was started in this run
	waits  []agent.Wait // that it has told since
	until  map[waitOf]time.Time
	listen func([]byte) ([]byte, error)
}

// waitOf tells the waits of a task apart.
type waitOf struct {
	kind task.WaitKind
	name string
	n    int
}

// open begins the lines of a run.
func (l *lines) open(c *caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.caller = c
}

func (l *lines) journal() *journal { return &l.caller.at.journal }

// Past implements agent.Lines.
func (l *lines) Past(ctx context.Context, valueURL string) (agent.Past, error) {
	l.mu.Lock()
	t, first := l.caller.parent, l.begun == 0
	l.mu.Unlock()
	if first {
		if err := l.come(ctx); err != nil {
			return agent.Past{}, err
		}
	}
	l.mu.Lock()
	past := agent.Past{Run: t.Attempt + t.Run + l.begun, Checkpoint: l.journal().LastCheckpoint()}
	l.begun++
	l.mu.Unlock()
	for _, e := range l.journal().all() {
		s := agent.PastStep{Name: e.Name, N: e.N, Key: e.Key}
		switch e.Kind {
		case task.EntryStep:
		case task.EntryStarted:
			s.Kind = agent.LineStarted
		case task.EntrySleep:
			s.Kind = agent.LineSleep
		case task.EntryAnswer, task.EntryWait:
			s.Kind = agent.PastAnswer
		default:
			continue
		}
		if e.Error != nil {
			s.Error = &agent.LineError{Code: e.Error.Code, Message: e.Error.Message}
		}
		if e.Object != "" && e.Error == nil && valueURL != "" && l.journal().of == t.ID { // else the value may be of another task
			s.ValueURL = valueURL + "?" + url.Values{"kind": {string(e.Kind)}, "name": {e.Name}, "n": {strconv.Itoa(e.N)}}.Encode()
		} else if err := l.value(ctx, e, &s); err != nil {
			return past, err
		}
		past.Steps = append(past.Steps, s)
	}
	return past, nil
}

// come keeps what has come while the task was suspended: the agent is not started to
// ask again.
func (l *lines) come(ctx context.Context) error {
	t := l.caller.parent
	if l.journal().anew {
		return nil
	}
	for _, w := range t.Waits {
		if came := w.Over(time.Now()) || w.Kind.Answered() && !t.Open(w); !came || w.Kind == task.WaitChild {
			continue
		}
		_, err := l.caller.Wait(ctx, agent.Wait{Kind: w.Kind, Name: w.Name, N: &w.N, Prompt: w.Prompt, Schema: w.Schema, Until: w.Until})
		if err != nil && !errors.Is(err, agent.ErrInputTimeout) {
			return err
		}
	}
	return nil
}

// value gives the agent what an entry has.
func (l *lines) value(ctx context.Context, e *task.Entry, s *agent.PastStep) error {
	if e.Error != nil || s.Kind == agent.LineStarted || s.Kind == agent.LineSleep {
		return nil
	}
	raw, err := l.journal().recall(ctx, e)
	s.Value = raw
	return err
}

// Keep implements agent.Lines. A wait is kept when the agent has ended.
func (l *lines) Keep(ctx context.Context, line agent.Line) error {
	e := &task.Entry{Kind: task.EntryStep, Name: line.Name, N: line.N, Key: line.Key}
	switch line.Kind {
	case agent.LineCheckpoint:
		if err := l.journal().Checkpoint(ctx, line.Value); err != nil || !line.Ack {
			return err
		}
		return l.journal().saveCheckpoint(ctx)
	case agent.LineStarted:
		e.Kind = task.EntryStarted
	case agent.LineStep:
		if line.Error != nil {
			e.Error = &task.StepError{Code: codeOf(line.Error.Code), Message: task.Cut(line.Error.Message, maxStepError)}
		} else if err := l.journal().hold(ctx, e, line.Value); err != nil {
			return err
		}
	default:
		l.wait(line)
		return nil
	}
	if l.journal().find(e.Kind, e.Name, e.N) == nil {
		if err := l.journal().full(); err != nil {
			return err
		}
	}
	return l.journal().append(ctx, e)
}

// wait notes what the agent waits for. The time of a wait that it tells again goes
// on.
func (l *lines) wait(line agent.Line) {
	kinds := map[agent.LineKind]task.WaitKind{agent.LineSleep: task.WaitSleep, agent.LineAsk: task.WaitInput, agent.LineWait: task.WaitEvent}
	w := agent.Wait{Kind: kinds[line.Kind], Name: line.Name, N: &line.N, Prompt: line.Prompt, Schema: line.Schema, For: line.For, Until: line.Until}
	if line.Kind != agent.LineSleep {
		w.For = line.Timeout
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	of := waitOf{w.Kind, w.Name, line.N}
	if w.Until.IsZero() {
		if w.Until = l.until[of]; w.Until.IsZero() {
			w.Until = time.Now().Add(waitFor(w))
		}
	}
	if l.until == nil {
		l.until = map[waitOf]time.Time{}
	}
	l.until[of] = w.Until
	l.waits = append(l.waits, w)
}

// Await implements agent.Lines: it waits for all of it at once, until the first has
// come.
func (l *lines) Await(ctx context.Context) error {
	l.mu.Lock()
	waits := l.waits
	l.waits = nil
	l.mu.Unlock()
	each, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan error, len(waits))
	for _, w := range waits {
		go func() {
			_, err := l.caller.Wait(each, w)
			came <- err
		}()
	}
	var first error
	ok := false
	for i := range waits {
		err := <-came
		if i == 0 {
			first = err
		}
		ok = ok || err == nil || errors.Is(err, agent.ErrInputTimeout)
		cancel() // the others are told again, unless they have come as well
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ok {
		return nil
	}
	return first
}

// told takes what the agent tells through a gateway.
func (w *Worker) told(told store.Told, answer func(store.ToldAnswer)) {
	at := w.running.of(told.Task)
	if at == nil || at.keyHash != told.Key {
		answer(store.ToldAnswer{Lost: true})
		return
	}
	go func() { answer(at.lines.take(told.Line)) }()
}

// take takes one line while the agent runs.
func (l *lines) take(line []byte) store.ToldAnswer {
	l.mu.Lock()
	f := l.listen
	l.mu.Unlock()
	if f == nil {
		return store.ToldAnswer{Lost: true}
	}
	answer, err := f(line)
	switch fault := (*agent.Error)(nil); {
	case err == nil:
		return store.ToldAnswer{Answer: answer}
	case errors.As(err, &fault):
		return store.ToldAnswer{Fault: fault.Message}
	}
	return store.ToldAnswer{Lost: true} // the attempt has ended
}

// Listen implements agent.Lines.
func (l *lines) Listen(f func([]byte) ([]byte, error)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listen = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.listen = nil
	}
}

package agenttest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// replay is the journal, the waits and the calls of a run that does nothing.
type replay struct {
	stop context.CancelCauseFunc

	mu     sync.Mutex
	past   Past
	used   []bool // of past.Steps
	called []bool // of past.Calls
	next   map[occurrence]int
	told   bool // by lines: what it uses is not known
	found  Report
}

// occurrence is what entries are counted by.
type occurrence struct {
	kind task.EntryKind
	name string
}

func newReplay(past Past, stop context.CancelCauseFunc) *replay {
	return &replay{stop: stop, past: past, used: make([]bool, len(past.Steps)), called: make([]bool, len(past.Calls)), next: map[occurrence]int{}}
}

func (p *replay) report(ended string) Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.past.Steps {
		if !p.used[i] && !p.told && s.Kind != string(task.EntryCheckpoint) {
			p.found.Unused = append(p.found.Unused, lineOf(task.EntryKind(s.Kind), s.Name, s.N))
		}
	}
	p.found.Ended = ended
	return p.found
}

func lineOf(kind task.EntryKind, name string, n int) string {
	return fmt.Sprintf("%s %s #%d", kind, name, n)
}

// take finds the n-th of a kind and name, and uses it.
func (p *replay) take(kind task.EntryKind, name string, n int) *Step {
	i := slices.IndexFunc(p.past.Steps, func(s Step) bool { return s.Kind == string(kind) && s.Name == name && s.N == n })
	if i < 0 {
		return nil
	}
	p.used[i] = true
	return &p.past.Steps[i]
}

// count is which of its kind and name one is.
func (p *replay) count(kind task.EntryKind, name string) int {
	o := occurrence{kind, name}
	p.next[o]++
	return p.next[o] - 1
}

// null is what stands for a value that is not there.
var null = json.RawMessage("null")

// Step implements agent.Journal.
func (p *replay) Step(_ context.Context, c agent.StepCall) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.count(task.EntryStep, c.Name)
	line := lineOf(task.EntryStep, c.Name, n)
	begun := p.take(task.EntryStarted, c.Name, n)
	s := p.take(task.EntryStep, c.Name, n)
	why := ""
	switch {
	case s == nil && begun != nil:
		why = "it had begun, and nobody knows its end"
	case s == nil:
		why = "the journal does not have it"
	case s.Key != c.Key:
		why = "its key is another one"
	case s.Error != nil:
		p.found.Kept = append(p.found.Kept, line)
		return nil, &agent.Error{Code: s.Error.Code, Message: s.Error.Message, Permanent: true}
	case s.Head != "" || len(s.Value) == 0:
		why = "its value is not kept"
	default:
		p.found.Kept = append(p.found.Kept, line)
		return s.Value, nil
	}
	p.found.Runs = append(p.found.Runs, line+": "+why)
	return null, nil
}

// Checkpoint implements agent.Journal.
func (p *replay) Checkpoint(context.Context, json.RawMessage) error { return nil }

// LastCheckpoint implements agent.Journal.
func (p *replay) LastCheckpoint() json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.past.Steps) {
		if s.Kind == string(task.EntryCheckpoint) {
			return s.Value
		}
	}
	return nil
}

// entryOf is the kind of the entry of a wait.
var entryOf = map[task.WaitKind]task.EntryKind{
	task.WaitSleep: task.EntrySleep, task.WaitInput: task.EntryAnswer, task.WaitEvent: task.EntryWait,
}

// Wait implements agent.Waiter. One that has not come ends the run.
func (p *replay) Wait(_ context.Context, w agent.Wait) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := entryOf[w.Kind]
	n := p.count(kind, w.Name)
	s := p.take(kind, w.Name, n)
	line := lineOf(kind, w.Name, n)
	if s == nil {
		p.found.Waits = append(p.found.Waits, line)
		p.stop(agent.ErrSuspended)
		return nil, agent.ErrSuspended
	}
	p.found.Kept = append(p.found.Kept, line)
	if s.Error != nil {
		return nil, agent.ErrInputTimeout
	}
	return s.Value, nil
}

// Call implements agent.Caller.
func (p *replay) Call(_ context.Context, name string, input json.RawMessage) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.past.Calls {
		if p.called[i] || c.Agent != name || !equal(c.Input, input) {
			continue
		}
		if p.called[i] = true; c.Failed != "" {
			return nil, &agent.Error{Code: task.CodeChildFailed, Message: c.Failed, Permanent: true}
		}
		return c.Result, nil
	}
	p.found.Calls = append(p.found.Calls, name+" "+task.Clip(string(input), 64))
	return null, nil
}

// equal reports whether two inputs are the same value, in whatever order their members are.
func equal(a, b json.RawMessage) bool {
	var one, other any
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return json.Unmarshal(a, &one) == nil && json.Unmarshal(b, &other) == nil && reflect.DeepEqual(one, other)
}

// Past implements agent.Lines.
func (p *replay) Past(context.Context, string) (agent.Past, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = true
	past := agent.Past{Run: 2}
	for _, s := range p.past.Steps {
		e := agent.PastStep{Name: s.Name, N: s.N, Key: s.Key, Value: s.Value, Error: s.Error}
		switch task.EntryKind(s.Kind) {
		case task.EntryStep:
		case task.EntryStarted:
			e.Kind = agent.LineStarted
		case task.EntrySleep:
			e.Kind = agent.LineSleep
		case task.EntryAnswer, task.EntryWait:
			e.Kind = agent.PastAnswer
		case task.EntryCheckpoint:
			past.Checkpoint = s.Value
			continue
		default:
			continue
		}
		p.found.Kept = append(p.found.Kept, lineOf(task.EntryKind(s.Kind), s.Name, s.N))
		past.Steps = append(past.Steps, e)
	}
	return past, nil
}

// Keep implements agent.Lines. The first thing that a program does anew ends the run: what
// comes after it would have effects, too.
func (p *replay) Keep(_ context.Context, l agent.Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.Kind == agent.LineCheckpoint:
		return nil
	case l.Kind.Waits():
		p.found.Waits = append(p.found.Waits, lineOf(task.EntryKind(l.Kind), l.Name, l.N))
		return nil
	}
	p.found.Runs = append(p.found.Runs, lineOf(task.EntryKind(l.Kind), l.Name, l.N)+": the journal does not have it, the program has done it")
	p.stop(agent.ErrSuspended)
	return agent.ErrSuspended
}

// Await implements agent.Lines.
func (p *replay) Await(context.Context) error {
	p.stop(agent.ErrSuspended)
	return agent.ErrSuspended
}

// Listen implements agent.Lines.
func (p *replay) Listen(func([]byte) ([]byte, error)) (stop func()) { return func() {} }

// Progress implements agent.Reporter.
func (p *replay) Progress(int, string) {}

// Milestone implements agent.Reporter.
func (p *replay) Milestone(context.Context, string, string, json.RawMessage) error { return nil }

// Output implements agent.Reporter.
func (p *replay) Output(string) {}

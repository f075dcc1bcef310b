package protocol

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Book is the part of a durable agent's run in its journal: what the runs before
// have finished, and what this one has told. Lines may come from several
// goroutines; each is durable before the next one is taken.
type Book struct {
	lines   agent.Lines
	job     *agent.Job
	gateway func() string

	mu      sync.Mutex
	past    agent.Past
	known   map[string]*named
	waiting bool // the agent has said that it waits
}

// named is what is known of a name, whose entries are all of a kind.
type named struct {
	kind agent.LineKind
	all  []noted // by n
	next int     // the first n that has not come to its end
}

// noted is what is known of one n of a name.
type noted struct {
	done   bool
	key    string
	digest string // of a finished step; empty: its value is not here
}

// maxOccurrences is how often a name may occur in a task.
const maxOccurrences = 10_000

// OpenBook reads what the runs before have left. gateway says where the agent reads
// large values, with the key of the job; where it is nil or says nothing they are in its object. A job that keeps
// no steps is an error.
func OpenBook(ctx context.Context, job *agent.Job, gateway func() string) (*Book, error) {
	lines, err := job.Lines()
	if err != nil {
		return nil, err
	}
	valueURL := ""
	if gateway != nil && job.Key != "" {
		if url := gateway(); url != "" {
			valueURL = url + "/tasks/" + job.TaskID + "/steps/value"
		}
	}
	past, err := lines.Past(ctx, valueURL)
	if err != nil {
		return nil, err
	}
	b := &Book{lines: lines, job: job, gateway: gateway, past: past, known: map[string]*named{}}
	for _, s := range past.Steps {
		n := noted{done: s.Kind != agent.LineStarted, key: s.Key}
		if s.Kind == "" && s.ValueURL == "" {
			n.digest = digestOf(s.Value, s.Error)
		}
		b.of(s.Name, s.Kind).note(s.N, n)
	}
	return b, nil
}

// Encode is [Encode] with what the runs before have left, and for a service where it
// keeps steps while it runs.
func (b *Book) Encode(stepsURL, lease string) ([]byte, error) {
	r := request(b.job)
	r.Run, r.Steps, r.Checkpoint, r.StepsURL, r.Lease = b.past.Run, b.past.Steps, b.past.Checkpoint, stepsURL, lease
	return task.Marshal(r)
}

// Waiting reports whether the agent has said that it waits: when it ends, the task
// is suspended.
func (b *Book) Waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// Await waits until the agent is to be started again, and returns the book of the
// run that begins.
func (b *Book) Await(ctx context.Context) (*Book, error) {
	if err := b.lines.Await(ctx); err != nil {
		return nil, err
	}
	return OpenBook(ctx, b.job, b.gateway)
}

// Ended is what a run came to that has ended well: its value, or again, that the
// agent waits and has none.
func (b *Book) Ended(o *Outcome) (value any, again bool, err error) {
	if o.Err == nil && b.Waiting() {
		if o.Result != nil && string(o.Result) != "null" || o.Reply != nil {
			return nil, false, bad("there is a result beside a sleep, an ask or a wait: an agent ends after one of these, and is started again when it is over")
		}
		return nil, true, nil
	}
	value, err = o.Value()
	return value, false, err
}

// Ack is what the agent is told when a line that asks for it is durable.
type Ack struct {
	Type string `json:"type"` // ok
	Name string `json:"name,omitempty"`
	N    *int   `json:"n,omitempty"`
}

// keep takes a line and returns when it is durable.
func (b *Book) keep(ctx context.Context, d durable) (Ack, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ack := Ack{Type: "ok"}
	if d.Kind == agent.LineCheckpoint {
		return ack, b.write(ctx, d)
	}
	of := b.of(d.Name, d.Kind)
	known, err := of.place(&d)
	if err != nil {
		return ack, err
	}
	ack.Name, ack.N = d.Name, &d.N
	next := noted{done: d.Kind == agent.LineStep, key: d.Key, digest: digestOf(d.Value, d.Error)}
	if known.done {
		switch {
		case d.Kind.Waits():
			return ack, bad(`%s has come: take it from "steps"`, d.said)
		case next == known, known.digest == "" && d.Kind == agent.LineStep && d.Key == known.key:
			return ack, nil // told again; the large value that was kept stands
		case d.Kind == agent.LineStarted || d.Key == known.key:
			return ack, bad(`%s is of a step that has finished before: take its value from "steps"`, d.said)
		}
	}
	if err := b.write(ctx, d); err != nil {
		return ack, err
	}
	b.waiting = b.waiting || d.Kind.Waits()
	of.note(d.N, next)
	return ack, nil
}

// write returns when a line is durable. The error is an *agent.Error.
func (b *Book) write(ctx context.Context, d durable) error {
	err := b.lines.Keep(ctx, d.Line)
	if fault := (*agent.Error)(nil); err == nil || errors.As(err, &fault) {
		return err
	}
	return &agent.Error{Message: d.said + " was not kept: " + err.Error(), Err: err}
}

// of is what is known of a name.
func (b *Book) of(name string, kind agent.LineKind) *named {
	n := b.known[name]
	if n == nil {
		n = &named{kind: familyOf(kind)}
		b.known[name] = n
	}
	return n
}

// place finds the n of a line that does not say it: the first of its name that has
// not come to its end. It returns what is known of that n.
func (of *named) place(d *durable) (noted, error) {
	if of.kind != familyOf(d.Kind) {
		return noted{}, bad("%s has the name of a %s of this task: give it another one", d.said, of.kind)
	}
	if !d.counted {
		d.N = of.next
	}
	switch {
	case d.N >= maxOccurrences:
		return noted{}, bad("%s is the %dth of its name, allowed are %d: names of a loop have its index", d.said, d.N+1, maxOccurrences)
	case d.N < len(of.all):
		return of.all[d.N], nil
	}
	return noted{}, nil
}

func (of *named) note(n int, what noted) {
	for len(of.all) <= n {
		of.all = append(of.all, noted{})
	}
	for of.all[n] = what; of.next < len(of.all) && of.all[of.next].done; of.next++ {
	}
}

// familyOf is the kind that the entries of a name share: a step may have started
// and not finished, and answers are those of questions and events.
func familyOf(k agent.LineKind) agent.LineKind {
	switch k {
	case "", agent.LineStarted:
		return agent.LineStep
	case agent.LineAsk, agent.LineWait:
		return agent.PastAnswer
	}
	return k
}

func digestOf(value json.RawMessage, failure *agent.LineError) string {
	f, _ := json.Marshal(failure)
	sum := sha256.Sum256(append(append(f, 0), value...))
	return string(sum[:])
}

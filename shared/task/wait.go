package task

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// WaitKind is what ends a wait.
type WaitKind string

// The kinds of waits. An input is an answer that a person gives to a question; an
// event is an answer without a question.
const (
	WaitSleep WaitKind = "sleep"
	WaitInput WaitKind = "input"
	WaitEvent WaitKind = "event"
	WaitChild WaitKind = "child"
)

// Answered reports whether an answer ends such a wait.
func (k WaitKind) Answered() bool { return k == WaitInput || k == WaitEvent }

// Wait is something that a task waits for.
type Wait struct {
	Name    string          `json:"name"`        // of a child: its id
	N       int             `json:"n,omitempty"` // the how-manieth wait of this kind and name, from 0
	Kind    WaitKind        `json:"kind"`
	Prompt  string          `json:"prompt,omitempty"` // of an input
	Schema  json.RawMessage `json:"schema,omitempty"` // of the answer
	Until   time.Time       `json:"until,omitzero"`   // when a sleep is over, when nobody waits for an answer any longer, when a child was seen to have ended
	AskedAt time.Time       `json:"asked_at"`
}

// Is reports whether w is the n-th wait of a kind and name.
func (w Wait) Is(kind WaitKind, name string, n int) bool {
	return w.Kind == kind && w.Name == name && w.N == n
}

// Answer is what a wait has got, or will when it comes. After it is used, a note
// of it stays without its value: it tells a second answer that it comes too late.
type Answer struct {
	ID    uint64          `json:"id"` // the revision of the record that it replaced
	Kind  WaitKind        `json:"kind,omitempty"`
	Name  string          `json:"name"`
	N     *int            `json:"n,omitempty"` // of the wait; nil: none has taken it yet
	Value json.RawMessage `json:"value,omitempty"`
	Late  bool            `json:"late,omitempty"` // none came in time
	Used  bool            `json:"used,omitempty"` // the agent has it
	At    time.Time       `json:"at"`
	Key   string          `json:"key,omitempty"` // of the request that gave it
	// Mark is another one for each answer: of two who give the same one in the same
	// millisecond each knows its own record.
	Mark string `json:"mark,omitempty"`
}

// For reports whether a is the answer to w.
func (a Answer) For(w Wait) bool {
	return a.N != nil && *a.N == w.N && a.Kind == w.Kind && a.Name == w.Name
}

// Bounds of what a task waits for.
const (
	MaxWaits       = 64        // open at once
	MaxAnswers     = 16        // not used yet
	MaxAnswerBytes = 256 << 10 // of all of them together
	maxUsed        = 64        // notes of answers that were used
	MaxWaitName    = 128       // bytes
	MaxPrompt      = 8 << 10   // bytes
	MaxWaitSchema  = 64 << 10  // bytes
	maxAsked       = 1 << 10   // bytes of a prompt that a change of status keeps
	// MaxSleep bounds how far ahead a wait may end.
	MaxSleep = 366 * 24 * time.Hour
	// AnswerWithin is how long an answer is waited for where the agent does not say.
	AnswerWithin = 7 * 24 * time.Hour
	// TouchEvery is how often a task that waits is written again, at least: its
	// record is kept for a time after its last change.
	TouchEvery = 3 * 24 * time.Hour
	// LookEvery is how often a task that waits for a child looks at it by itself.
	LookEvery = time.Minute
)

// Open reports whether nobody has answered w and its time is not over, as far as
// the record tells.
func (t *Task) Open(w Wait) bool {
	return w.Kind.Answered() && !slices.ContainsFunc(t.Answers, func(a Answer) bool { return a.For(w) })
}

// Questions are the open questions to people, in the order in which they were asked.
func (t *Task) Questions() (open []Wait) {
	for _, w := range t.Waits {
		if w.Kind == WaitInput && t.Open(w) {
			open = append(open, w)
		}
	}
	return open
}

// Answers are those that came for a task.
type Answers []Answer

// Unused are the answers that the agent does not have yet, late ones left out, and
// the bytes of their values.
func (as Answers) Unused() (n, bytes int) {
	for _, a := range as {
		if !a.Used && !a.Late {
			n, bytes = n+1, bytes+len(a.Value)
		}
	}
	return n, bytes
}

// Use notes that the agent has the answers that used says, which may complete them.
func (t *Task) Use(used func(*Answer) bool) {
	answers := slices.Clone(t.Answers)
	notes := 0
	for i := len(answers) - 1; i >= 0; i-- {
		a := &answers[i]
		if !a.Used && used(a) {
			a.Used, a.Value = true, nil
		}
		if a.Used {
			if notes++; notes > maxUsed {
				answers = slices.Delete(answers, i, i+1)
			}
		}
	}
	t.Answers = answers
}

// Restart forgets what earlier runs have waited for and got: the agent begins anew. Answers
// that none has used stay, and notes of requests that may be repeated. used says what
// this run has.
func (t *Task) Restart(open func(Wait) bool, used func(Answer) bool) {
	t.Waits = slices.DeleteFunc(slices.Clone(t.Waits), func(w Wait) bool { return !open(w) })
	t.Answers = slices.Clone(t.Answers)
	for i, a := range t.Answers {
		if (a.Used || a.Late) && !used(a) {
			t.Answers[i] = Answer{ID: a.ID, Name: a.Name, Used: true, At: a.At, Key: a.Key}
		}
	}
}

// EndWaits leaves of what t waited for what tells a late answer that it is late.
func (t *Task) EndWaits() {
	t.Waits, t.Suspended = nil, false
	if t.Answers != nil {
		t.Use(func(*Answer) bool { return true })
	}
}

// Expire notes of each wait for an answer whose time is over that none came.
func (t *Task) Expire(now time.Time) {
	for _, w := range t.Waits {
		if t.Open(w) && w.Over(now) {
			n := w.N
			t.Answers = append(slices.Clone(t.Answers), Answer{ID: t.Rev, Kind: w.Kind, Name: w.Name, N: &n, Late: true, At: Stamp(now)})
		}
	}
}

// Over reports whether the time of w has come.
func (w Wait) Over(now time.Time) bool { return !w.Until.IsZero() && !now.Before(w.Until) }

// Ready reports whether a task that was suspended has something to go on with.
func (t *Task) Ready(now time.Time) bool {
	if len(t.Waits) == 0 {
		return true
	}
	return slices.ContainsFunc(t.Waits, func(w Wait) bool {
		return w.Over(now) || w.Kind.Answered() && !t.Open(w)
	})
}

// Suspend lets go of a task whose agent waits: the next run has the same attempt.
// Where it could go on already, it is ready at once.
func (t *Task) Suspend(now time.Time) error {
	state := Pending
	if len(t.Questions()) > 0 && !t.Ready(now) {
		state = InputRequired
	}
	t.Error = nil
	if err := t.To(state, now); err != nil {
		return err
	}
	t.Suspended = true
	t.Run++
	t.NotBefore = t.NextLook(now)
	tr := &t.Transitions[len(t.Transitions)-1]
	tr.Run = t.Run
	if open := t.Questions(); state == InputRequired {
		tr.Question = &Question{Name: open[0].Name, Prompt: Clip(open[0].Prompt, maxAsked), Until: open[0].Until}
	}
	return nil
}

// Wake makes a task that was suspended ready, and leaves one that is not as it is.
func (t *Task) Wake(now time.Time) error {
	if !t.Suspended {
		return nil
	}
	if t.Status == InputRequired {
		if err := t.To(Pending, now); err != nil {
			return err
		}
	}
	t.NotBefore = time.Time{}
	return nil
}

// Touch writes down that somebody looked at a task that was suspended.
func (t *Task) Touch(now time.Time) {
	t.UpdatedAt, t.NotBefore = Stamp(now), t.NextLook(now)
}

// Waits are what a task waits for.
type Waits []Wait

// Until is when a task that was suspended goes on without anybody's help; zero:
// that is not known.
func (ws Waits) Until() (until time.Time) {
	for _, w := range ws {
		if w.Kind != WaitChild && (until.IsZero() || w.Until.Before(until)) {
			until = w.Until
		}
	}
	return until
}

// For reports whether something of a kind is among them.
func (ws Waits) For(kind WaitKind) bool {
	return slices.ContainsFunc(ws, func(w Wait) bool { return w.Kind == kind })
}

// NextLook is when somebody must look at a task that was suspended; zero: now.
func (t *Task) NextLook(now time.Time) time.Time {
	if t.Ready(now) {
		return time.Time{}
	}
	next := now.Add(TouchEvery)
	for _, w := range t.Waits {
		until := w.Until
		if w.Kind == WaitChild { // it has not ended
			until = now.Add(LookEvery)
		}
		if !until.IsZero() && until.Before(next) {
			next = until
		}
	}
	if !t.Deadline.IsZero() && t.Deadline.Before(next) {
		next = t.Deadline
	}
	return Stamp(next.Add(time.Millisecond - 1))
}

// Check names what is wrong with a wait.
func (w Wait) Check(now time.Time) error {
	switch {
	case w.Name == "" || len(w.Name) > MaxWaitName:
		return fmt.Errorf("wait: the name has %d bytes, allowed are 1 to %d", len(w.Name), MaxWaitName)
	case len(w.Prompt) > MaxPrompt:
		return fmt.Errorf("wait %s: the prompt has %d bytes, allowed are %d", w.Name, len(w.Prompt), MaxPrompt)
	case len(w.Schema) > MaxWaitSchema:
		return fmt.Errorf("wait %s: the schema has %d bytes, allowed are %d", w.Name, len(w.Schema), MaxWaitSchema)
	case w.Until.Sub(now) > MaxSleep:
		return fmt.Errorf("wait %s: it would last until %s, allowed are %d days", w.Name, w.Until.Format(time.RFC3339), MaxSleep/(24*time.Hour))
	}
	return nil
}

// Compare orders waits: first asked, first.
func (w Wait) Compare(o Wait) int {
	return cmp.Or(w.AskedAt.Compare(o.AskedAt), cmp.Compare(w.Name, o.Name), cmp.Compare(w.N, o.N))
}

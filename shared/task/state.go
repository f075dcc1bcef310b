package task

import (
	"fmt"
	"slices"
)

// State is where a task is in its life.
type State string

// The states of a task. Completed, Failed and Canceled are terminal.
const (
	Pending       State = "pending"
	Processing    State = "processing"
	InputRequired State = "input_required" // its agent has asked a question, and nothing goes on without the answer
	Completed     State = "completed"
	Failed        State = "failed"
	Canceled      State = "canceled"
)

// States lists them in the order of a task's life.
var States = []State{Pending, Processing, InputRequired, Completed, Failed, Canceled}

// next is the table of allowed transitions; nothing else decides what may
// follow what. Pending may end at once because a task that ends within
// milliseconds skips the processing write, and processing may follow itself
// because the heir of a lapsed lease claims the next attempt.
var next = map[State][]State{
	Pending:       {Processing, Completed, Failed, Canceled},
	Processing:    {Processing, Pending, InputRequired, Completed, Failed, Canceled},
	InputRequired: {Pending, Failed, Canceled},
	Completed:     {},
	Failed:        {},
	Canceled:      {},
}

// Terminal reports whether nothing may follow s.
func (s State) Terminal() bool { return s == Completed || s == Failed || s == Canceled }

// Valid reports whether s is one of States.
func (s State) Valid() bool { _, ok := next[s]; return ok }

// Allowed returns nil when to may follow from, else ErrTransition wrapped with
// both states.
func Allowed(from, to State) error {
	if slices.Contains(next[from], to) {
		return nil
	}
	return fmt.Errorf("%s to %s: %w", from, to, ErrTransition)
}

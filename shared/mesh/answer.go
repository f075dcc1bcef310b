package mesh

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// AnswerRequest is an answer to a question of a task, or an event that it waits for.
type AnswerRequest struct {
	Name  string // of the question; empty: the one that is open
	Value json.RawMessage
	Key   *Key // of the request, nil: none
	// Message is what the sender calls the answer; empty: nothing.
	Message string
}

// Answered is a task that has an answer, now or by an equal request before.
type Answered struct {
	Task     *task.Task
	Replayed bool
}

// Acceptance is what accepting the task would have returned.
func (a Answered) Acceptance() *Acceptance {
	return &Acceptance{TaskID: a.Task.ID, Agent: a.Task.Agent, CreatedAt: a.Task.CreatedAt, Replayed: a.Replayed, task: a.Task}
}

// Answer gives a task what it waits for, and has it go on. An answer that comes
// before its question is kept for it. The compare-and-set of the record decides: of
// two answers, a cancel and a time-out exactly one wins. A repeat with the same key
// changes nothing.
func (c Tasks) Answer(ctx context.Context, who auth.Caller, id task.ID, r AnswerRequest) (Answered, error) {
	a, err := wakes(c).answer(context.WithoutCancel(ctx), who, id, r)
	c.audit(ctx, who, audit.TaskAnswer, string(id), err)
	return a, err
}

func (c wakes) answer(ctx context.Context, who auth.Caller, id task.ID, r AnswerRequest) (a Answered, err error) {
	if faults := r.faults(); len(faults) > 0 {
		return a, RefuseFields(faults...)
	}
	for claimed := false; ; {
		t, err := c.find(ctx, who.Tenant, id, location{})
		if err != nil {
			return a, err
		}
		if !claimed && r.Key != nil {
			// Another request with the key is refused; whether this one came before, the
			// record tells.
			if _, err := answers(c).claimAnswer(ctx, who.Tenant, r.Key, string(id), &struct{}{}); err != nil {
				return a, err
			}
			claimed = true
		}
		if r.Key.answered(t) {
			return Answered{t, true}, nil
		}
		next, err := r.put(ctx, t)
		if err == nil {
			err = c.save(ctx, t, next)
		}
		if !errors.Is(err, task.ErrConflict) {
			return Answered{Task: next}, err
		}
	}
}

// answered reports whether the record has the answer of the request with the key.
func (k *Key) answered(t *task.Task) bool {
	return k != nil && slices.ContainsFunc(t.Answers, func(a task.Answer) bool { return a.Key == k.hash })
}

// save writes a record with a new answer, and has the task go on if it waited for
// it.
func (c wakes) save(ctx context.Context, before, next *task.Task) error {
	if !next.Suspended || !next.NotBefore.IsZero() || before.NotBefore.IsZero() {
		return c.store.Tasks.Save(ctx, next)
	}
	return c.resume(ctx, next)
}

func (r AnswerRequest) faults() (faults []Invalid) {
	if len(r.Name) > task.MaxWaitName {
		faults = append(faults, Field(fmt.Sprintf("has %d bytes, allowed are %d", len(r.Name), task.MaxWaitName), "/name"))
	}
	if len(r.Value) == 0 {
		faults = append(faults, Field("is missing: send null for an answer without a value", "/value"))
	}
	if len(r.Value) > task.MaxAnswerBytes {
		faults = append(faults, Field(fmt.Sprintf("has %d bytes, allowed are %d: store what is large elsewhere and send a reference", len(r.Value), task.MaxAnswerBytes), "/value"))
	}
	return faults
}

// put is the next version of a record, with the answer in it.
func (r AnswerRequest) put(ctx context.Context, t *task.Task) (*task.Task, error) {
	if t.Status.Terminal() {
		return nil, Refuse(ErrTaskFinished, "The task is %s and waits for nothing.", t.Status)
	}
	now := time.Now()
	a := task.Answer{ID: t.Rev, Name: r.Name, Value: r.Value, At: task.Stamp(now), Mark: rand.Text()}
	if r.Key != nil {
		a.Key = r.Key.hash
	}
	w, err := r.wait(t, now)
	if err != nil {
		return nil, err
	}
	if w != nil {
		a.Kind, a.Name, a.N = w.Kind, w.Name, &w.N
		if err := checkAnswer(ctx, w, r.Value); err != nil {
			return nil, err
		}
	}
	if n, bytes := t.Answers.Unused(); n >= task.MaxAnswers || bytes+len(r.Value) > task.MaxAnswerBytes {
		return nil, Refuse(ErrTooManyInputs, "%d answers with %d bytes wait for the task to take them; allowed are %d with %d. Try again when it has taken some.", n, bytes, task.MaxAnswers, task.MaxAnswerBytes)
	}
	next := t.Clone()
	next.Answers = append(next.Answers, a)
	next.UpdatedAt = a.At
	if w != nil {
		if w.Kind == task.WaitInput {
			next.Exchanges = next.Exchanges.With(*w, r.Value, a.At, r.Message)
		}
		err = next.Wake(now)
	}
	return next, err
}

// wait is what the answer is for, nil where that has not been asked yet. A wait whose
// time is over takes none: a worker is about to say so.
func (r AnswerRequest) wait(t *task.Task, now time.Time) (*task.Wait, error) {
	open := slices.DeleteFunc(slices.Clone(t.Waits), func(w task.Wait) bool { return !t.Open(w) || w.Over(now) })
	if r.Name == "" {
		return r.only(open)
	}
	for _, w := range open {
		if w.Name == r.Name {
			return &w, nil
		}
	}
	for _, a := range t.Answers {
		if a.Kind == task.WaitInput && a.Name == r.Name {
			return nil, Refuse(ErrAlreadyAnswered, "The question %s has been answered already, or its time was over.", r.Name)
		}
	}
	for _, w := range t.Waits {
		if w.Kind == task.WaitInput && w.Name == r.Name {
			return nil, Refuse(ErrAlreadyAnswered, "The time of the question %s is over.", r.Name)
		}
	}
	return nil, nil
}

// only is the one wait that is open, questions to people before events.
func (r AnswerRequest) only(open []task.Wait) (*task.Wait, error) {
	questions := slices.DeleteFunc(slices.Clone(open), func(w task.Wait) bool { return w.Kind != task.WaitInput })
	if len(questions) > 0 {
		open = questions
	}
	switch len(open) {
	case 1:
		return &open[0], nil
	case 0:
		return nil, RefuseFields(Field("is missing: no question is open; name the one that the answer is for", "/name"))
	}
	var names []string
	for _, w := range open {
		names = append(names, w.Name)
	}
	return nil, RefuseFields(Field("is missing: several are open, "+strings.Join(names, ", "), "/name"))
}

// checkAnswer validates a value by the schema of what it is for.
func checkAnswer(ctx context.Context, w *task.Wait, value json.RawMessage) error {
	if len(w.Schema) == 0 {
		return nil
	}
	a := NewAgent(store.Definition{Definition: task.Definition{InputSchema: w.Schema}})
	if a.input.err != nil {
		return nil // the agent's fault: it must decide what it takes
	}
	err := a.CheckInput(ctx, value)
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	for i := range refused.Faults {
		refused.Faults[i].Pointer = "/value" + strings.TrimPrefix(refused.Faults[i].Pointer, "/input")
	}
	if errors.Is(refused, ErrInputInvalid) {
		broken := Refuse(ErrValidationFailed, "The value breaks the schema of the question %s; see question in GET /tasks/{id}.", w.Name)
		broken.Faults = refused.Faults
		return broken
	}
	return refused
}

package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// AnswerOf is what the message of a turn answers to the question of its session: the
// value that it has, or its text where the question takes a string, else the text read
// as JSON; yes and no answer what takes a boolean. The error names what does not fit.
func (c Sessions) AnswerOf(ctx context.Context, asked *session.Asked, turn *task.Task) (json.RawMessage, error) {
	value := json.RawMessage(turn.Instruction)
	if !turn.IsAnswer {
		value = answerText(ctx, &asked.Wait, turn.Instruction)
	}
	err := checkAnswer(ctx, &asked.Wait, value)
	var refused *Error
	if errors.As(err, &refused) {
		pointer := "/text"
		if turn.IsAnswer {
			pointer = "/answer"
		}
		for i := range refused.Faults {
			refused.Faults[i].Pointer = pointer + strings.TrimPrefix(refused.Faults[i].Pointer, "/value")
		}
	}
	return value, err
}

func answerText(ctx context.Context, w *task.Wait, text string) json.RawMessage {
	quoted, err := task.Marshal(text)
	if err != nil || checkAnswer(ctx, w, quoted) == nil {
		return quoted
	}
	plain := strings.TrimSpace(text)
	switch strings.ToLower(plain) {
	case "yes", "y", "true":
		if checkAnswer(ctx, w, json.RawMessage("true")) == nil {
			return json.RawMessage("true")
		}
	case "no", "n", "false":
		if checkAnswer(ctx, w, json.RawMessage("false")) == nil {
			return json.RawMessage("false")
		}
	}
	if json.Valid([]byte(plain)) {
		return json.RawMessage(plain)
	}
	return quoted
}

// fits says what is wrong with a message for a session whose agent has asked. One that
// comes too late is heard as any other.
func (c queue) fits(ctx context.Context, s *session.Session, t *task.Task) error {
	if s.Asked.Open(time.Now()) {
		_, err := Sessions(c).AnswerOf(ctx, s.Asked, t)
		return err
	}
	if t.IsAnswer {
		return RefuseFields(Field("the session has no open question: send a text", "/answer"))
	}
	return nil
}

// Keep keeps what a turn had finished when it asked. Where it had finished nothing there
// is nothing to keep. The name is that of the attempt alone: nobody writes over it.
func (j Journals) Keep(ctx context.Context, t *task.Task, entries []*task.Entry) (v task.Value, err error) {
	if len(entries) == 0 {
		return v, nil
	}
	text, err := entryLines(entries)
	if err != nil {
		return v, err
	}
	return j.store.Artifacts.PutObject(ctx, t.Tenant, t.ID, "asked-"+strconv.Itoa(t.Attempt), text)
}

// Kept are the entries that Keep has kept, without those whose values were cut: what
// they stand for is done again. Past its retention there are none.
func (j Journals) Kept(ctx context.Context, v task.Value) (entries []*task.Entry, err error) {
	if v.Object == "" {
		return nil, nil
	}
	text, err := j.store.Artifacts.Read(ctx, v)
	if errors.Is(err, task.ErrNotFound) {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		e, bad := store.DecodeEntry([]byte(line))
		if bad != nil {
			return nil, bad
		}
		if e.Head == "" {
			entries = append(entries, e)
		}
	}
	return entries, err
}

package session

import (
	"encoding/json"
	"slices"
	"time"

	"agentmesh/shared/task"
)

// Asked is a question that a turn has ended with, and what the turn that answers it
// goes on with.
type Asked struct {
	TurnID  task.ID    `json:"turn_id"`          // of the turn that asked
	First   task.ID    `json:"first"`            // of the turn in which the work began
	Wait    task.Wait  `json:"wait"`             // the question
	Journal task.Value `json:"journal,omitzero"` // what had been finished, as lines of JSON
}

// Said is the text of a turn as people read it.
func Said(turn *task.Task) string {
	var text string
	if turn.IsAnswer && json.Unmarshal([]byte(turn.Instruction), &text) == nil {
		return text
	}
	return turn.Instruction
}

// Open reports whether somebody waits for an answer at a time.
func (a *Asked) Open(now time.Time) bool { return a != nil && !a.Wait.Over(now) }

// Since is what the agent saw in the turn in which the work began that a goes on with:
// the messages up to that of this turn. Where they have left the record, it is all of
// them.
func (s *Session) Since(a *Asked) []Message {
	i := slices.IndexFunc(s.Messages, func(m Message) bool { return m.TurnID == a.First && m.Role == User })
	if i < 0 {
		return nil
	}
	return s.Messages[: i+1 : i+1]
}

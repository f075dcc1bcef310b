package agent

import (
	"encoding/json"

	"agentmesh/shared/task"
)

// Left is what a task that was canceled has left behind.
type Left struct {
	TaskID string
	steps  []*task.Entry
}

// NewLeft is for workers.
func NewLeft(id task.ID, steps []*task.Entry) *Left { return &Left{string(id), steps} }

// Kept decodes what a step has returned into out, and reports whether it had.
func (l *Left) Kept(step string, out any) bool {
	for i := len(l.steps) - 1; i >= 0; i-- {
		if e := l.steps[i]; e.Kind == task.EntryStep && e.Name == step && e.Error == nil && len(e.Value) > 0 {
			return json.Unmarshal(e.Value, out) == nil
		}
	}
	return false
}

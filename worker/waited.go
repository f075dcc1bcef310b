package worker

import (
	"context"
	"time"

	"agentmesh/shared/task"
)

// entryOf is the kind of an entry that says what came of a wait.
var entryOf = map[task.WaitKind]task.EntryKind{
	task.WaitSleep: task.EntrySleep, task.WaitInput: task.EntryAnswer, task.WaitEvent: task.EntryWait,
}

// waited is what a wait came to, in this run or one before.
func (j *journal) waited(w task.Wait) (a task.Answer, ok bool) {
	e := j.find(entryOf[w.Kind], w.Name, w.N)
	if e == nil {
		return a, false
	}
	return task.Answer{Kind: w.Kind, Name: w.Name, N: &w.N, Value: e.Value, Late: e.Error != nil, Used: true, At: e.At}, true
}

// wait keeps what a wait came to, before anything goes on because of it.
func (j *journal) wait(ctx context.Context, w task.Wait, a task.Answer) error {
	e := &task.Entry{Kind: entryOf[w.Kind], Name: w.Name, N: w.N, Value: a.Value, Ms: time.Since(w.AskedAt).Milliseconds()}
	if a.Late {
		e.Error = &task.StepError{Code: task.CodeInputTimeout, Message: "no answer came in time"}
	}
	return j.append(ctx, e)
}

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
func (j *journal) waited(w task.Wait) (a task.Answer, ok bool, err error) {
	e := j.find(entryOf[w.Kind], w.Name, w.N)
	if e == nil {
		return a, false, nil
	}
	v, err := j.seal.open(e, e.Value)
	return task.Answer{Kind: w.Kind, Name: w.Name, N: &w.N, Value: v, Late: e.Error != nil, Used: true, At: e.At}, true, err
}

// wait keeps what a wait came to, before anything goes on because of it.
func (j *journal) wait(ctx context.Context, w task.Wait, a task.Answer) error {
	e := &task.Entry{Kind: entryOf[w.Kind], Name: w.Name, N: w.N, Ms: time.Since(w.AskedAt).Milliseconds()}
	v, err := j.seal.cover(e, a.Value)
	if err != nil {
		return err
	}
	e.Value = v
	if a.Late {
		e.Error = &task.StepError{Code: task.CodeInputTimeout, Message: "no answer came in time"}
	}
	return j.append(ctx, e)
}

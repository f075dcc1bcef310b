package worker

import (
	"cmp"
	"fmt"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// verb is what to do with a delivered queue message.
type verb int

const (
	run     verb = iota // begin an attempt
	forget              // the task has ended, or another message carries it: ack
	stand               // another message carries it that may have gone: come back
	requeue             // the message is spent: queue the retry or the wait that it stands for, then ack
	look                // the task waits on: note that somebody looked, schedule the next look, then ack
	wake                // it waits no longer: record so, and decide again
	end                 // it ends without a further attempt: record the end, then ack
)

// decision is the verb and the record for it: for run the next version of the task,
// for end the one before it ends, for requeue the task to queue.
type decision struct {
	verb verb
	task *task.Task
	on   bool       // run: it goes on with the attempt that it has
	as   task.State // end: what it ends as
	why  string     // for the log

	ended *task.Task // forget: the record, of a task that has ended
	held  *task.Task // forget: that of one which runs under another message
}

// decide reads a queue message against the task's record (nil: there is none).
// The record counts the attempts that began: a message that was delivered and
// never claimed, because its worker died or the store was away, takes none of
// them. After a crash there may be several messages for a task. Two rules keep it
// from being lost. A record that is processing names a message that is still in
// the queue, so any other may go. And a message whose attempt ended in a retry is
// spent: it never carries another attempt, so the late ack of a worker that was
// frozen takes nothing away. One message may go while a record names it: that in
// bulk from which a ready one was promoted, when the promotion took longer than a
// lease. So the ready one stands by. A turn has one message for all of its attempts.
func decide(queued, record *task.Task, d agent.Definition, workerID string, now time.Time) decision {
	t := cmp.Or(record, queued).Clone()
	if record != nil {
		t.QueueSeq = queued.QueueSeq
		ours := t.Lease != nil && t.Lease.Seq == queued.QueueSeq
		switch {
		case t.Status.Terminal():
			return decision{verb: forget, ended: t, why: "task is " + string(t.Status)}
		case t.Status == task.Processing && !ours && t.Lease != nil && t.Lease.Seq == queued.InPlaceOf:
			return decision{verb: stand, why: "task is held under the message that this one was promoted from"}
		case t.Status == task.Processing && !ours:
			return decision{verb: forget, held: t, why: "task is held under another message"}
		case t.Suspended && ours:
			return decision{verb: requeue, task: t, why: "message is spent"}
		case t.Status == task.Pending && ours && !t.NotBefore.IsZero() && t.Kind != task.KindTurn:
			return decision{verb: requeue, task: t, why: "message is spent"}
		case t.Status == task.Pending && !ours && queued.Attempt < t.Attempt:
			return decision{verb: forget, why: "message is of an earlier attempt"}
		}
	}
	if t.Expired(now) {
		t.Error = &task.Error{Code: task.CodeDeadlineExceeded, Message: "the deadline passed before an attempt could end", Attempt: t.Attempt}
		return failed(t)
	}
	if t.Suspended {
		return resumed(t, workerID, now)
	}
	attempt := max(t.Attempt, queued.Attempt) + 1
	if limit := maxAttempts(t, d); attempt > limit {
		t.Attempt = attempt - 1
		t.Error = &task.Error{
			Code:    task.CodeWorkerLost,
			Message: fmt.Sprintf("the worker died or stalled in attempt %d, and %d are allowed", t.Attempt, limit),
			Attempt: t.Attempt,
		}
		return failed(t)
	}
	t.Attempt = attempt
	t.Error, t.Percent, t.Message, t.Reported = nil, nil, "", nil
	t.Lease = &task.Lease{Worker: workerID, Seq: queued.QueueSeq}
	return decision{verb: run, task: t}
}

// unrun is the task of a decision that is not carried out: no attempt begins.
func (d decision) unrun() *task.Task {
	if d.verb == run && !d.on {
		d.task.Attempt--
	}
	return d.task
}

// resumed decides on a task that was suspended: its next run has the same attempt. One
// that somebody has woken, or whose run was handed back, has no time to wait for.
func resumed(t *task.Task, workerID string, now time.Time) decision {
	woken := t.Status == task.Pending && t.NotBefore.IsZero()
	if !woken && !t.Ready(now) {
		t.Touch(now)
		return decision{verb: look, task: t, why: "task waits on"}
	}
	t.Expire(now)
	if t.Status == task.InputRequired {
		if err := t.Wake(now); err != nil {
			return decision{verb: forget, why: err.Error()}
		}
		return decision{verb: wake, task: t, why: "a wait is over"}
	}
	t.Lease = &task.Lease{Worker: workerID, Seq: t.QueueSeq}
	return decision{verb: run, task: t, on: true}
}

// failed decides that a task ends with the error that it has.
func failed(t *task.Task) decision {
	return decision{verb: end, task: t, as: task.Failed, why: t.Error.Code}
}

func maxAttempts(t *task.Task, d agent.Definition) int {
	return cmp.Or(t.MaxAttempts, d.Retry.MaxAttempts)
}

package task

import "time"

// Outcome is what an attempt came to.
type Outcome string

// The outcomes of attempts. A task's own outcome is one of the first three.
const (
	AttemptCompleted Outcome = "completed"
	AttemptFailed    Outcome = "failed"
	AttemptCanceled  Outcome = "canceled"
	AttemptRetried   Outcome = "retried"     // failed, and another one follows
	AttemptLost      Outcome = "lost"        // its worker died, stalled or was cut off
	AttemptReturned  Outcome = "handed_back" // its worker was shut down: it does not count
	AttemptSuspended Outcome = "suspended"   // it waits, and goes on under the same number
	AttemptRunning   Outcome = "running"
)

// Attempt is one run of the agent, as the record tells it.
type Attempt struct {
	N         int
	Worker    string // empty where the attempt was too short to be claimed
	StartedAt time.Time
	EndedAt   time.Time // zero while it runs
	Outcome   Outcome
	Error     *Error
}

// Attempts reads the attempts of t from its transitions, oldest first: those
// that the kept transitions still tell, so no more than MaxTransitions.
func (t *Task) Attempts() []Attempt {
	var all []Attempt
	open := false // the last of them has not ended
	end := func(tr Transition, o Outcome) {
		last := &all[len(all)-1]
		last.EndedAt, last.Outcome, last.Error = tr.At, o, tr.Error
		if last.N != tr.Attempt { // more were lost than could be written down
			last.Outcome = AttemptLost
		}
		open = false
	}
	for _, tr := range t.Transitions {
		switch {
		case tr.Status == Processing:
			if open {
				end(Transition{At: tr.At, Attempt: tr.Attempt}, AttemptLost)
			}
			all = append(all, Attempt{N: tr.Attempt, Worker: tr.Worker, StartedAt: tr.At, Outcome: AttemptRunning})
			open = true
			continue
		case !open:
			// An attempt that ended before its claim was due, or none at all: a
			// task that was canceled, or out of time, while it waited.
			if tr.Attempt == 0 || tr.After != 0 || t.StartedAt.IsZero() {
				continue
			}
			all = append(all, Attempt{N: tr.Attempt, StartedAt: t.StartedAt})
		}
		switch {
		case tr.Run > 0:
			end(tr, AttemptSuspended)
		case tr.Status == Pending && tr.Attempt < all[len(all)-1].N:
			tr.Attempt, tr.Error = all[len(all)-1].N, nil
			end(tr, AttemptReturned)
		case tr.Status == Pending:
			end(tr, AttemptRetried)
		case tr.Status == Failed && tr.Error != nil && tr.Error.Code == CodeWorkerLost:
			end(tr, AttemptLost)
		default:
			end(tr, Outcome(tr.Status))
		}
	}
	return all
}

// Place notes of the changes that revision t.Rev made that it was this revision,
// and makes t the version that replaces it. The store calls it before it writes.
func (t *Task) Place() {
	if t.Replaces < t.Rev { // not done yet
		for i := range t.Transitions {
			if tr := &t.Transitions[i]; tr.Rev == 0 && tr.After == t.Replaces {
				tr.Rev = t.Rev
			}
		}
		for i := range t.Milestones {
			if m := &t.Milestones[i]; m.Rev == 0 && m.After == t.Replaces {
				m.Rev = t.Rev
			}
		}
		if r := t.Reported; r != nil && r.Rev == 0 && r.After == t.Replaces {
			r.Rev = t.Rev
		}
	}
	t.Replaces = t.Rev
}

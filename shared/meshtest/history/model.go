package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"agentmesh/shared/task"
)

// record is the state of the model: one task.
type record struct {
	ID  string // empty: there is none
	Rev uint64
	State

	Ended  bool   // completed or failed, which of both and how is not known yet
	Waited bool   // it has asked a question: attempts may go on under their number
	Answer string // the first that was taken
	Again  bool   // somebody has asked for a cancel, whose answer is not known
}

var model = (&porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, op := range all {
			key := op.Input.(Op).Task
			i, ok := at[key]
			if !ok {
				i = len(parts)
				at[key], parts = i, append(parts, nil)
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() []any { return []any{record{}} },
	Step: func(state, input, output any) (next []any) {
		for _, r := range step(state.(record), input.(Op), output.(Told)) {
			next = append(next, r)
		}
		return next
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
}).ToModel()

// step is what a task may be after an operation that was answered so; none: the answer
// cannot be.
func step(r record, op Op, told Told) []record {
	if told.Verdict == Unknown { // it was done, or will never be
		return append(possible(r, op), r)
	}
	switch op.Kind {
	case Create:
		if told.Verdict != Done || r.ID != "" && r.ID != told.ID {
			return nil
		}
		if r.ID == "" {
			r = record{ID: told.ID, Rev: told.Rev, State: State{Status: "pending"}}
		}
		return []record{r}
	case Write:
		return write(r, op, told)
	case Read:
		return read(r, told)
	case Cancel:
		return cancel(r, told)
	case Answer, Retry:
		return ask(r, op, told)
	}
	return nil
}

// possible is what an operation without an answer may have done.
func possible(r record, op Op) []record {
	switch {
	case op.Kind == Write && r.Rev == op.Rev:
		r.State, r.Rev = op.State, 0 // some revision that nobody has seen
		return []record{r}
	case op.Kind == Cancel && !ended(r):
		r.Again = true
		return []record{r}
	case op.Kind == Answer && !ended(r) && r.Answer == "":
		r.Waited, r.Answer = true, op.Says
		return []record{r}
	}
	return nil
}

// write is a compare-and-set: it is done exactly where it expects what is there, and
// where the table of states lets it.
func write(r record, op Op, told Told) []record {
	switch {
	case r.ID == "":
		return nil
	case told.Verdict == Refused && op.Rev != r.Rev:
		return []record{r}
	case told.Verdict == Done && op.Rev == r.Rev && task.Allowed(task.State(r.Status), task.State(op.Status)) == nil && op.Attempt >= r.Attempt:
		r.State, r.Rev = op.State, told.Rev
		return []record{r}
	}
	return nil
}

// read shows a task as it is, or as workers have made it since: claimed, lost, on its
// way, ended. A cancel is never theirs.
func read(r record, told Told) []record {
	now := told.State
	if told.Verdict == Absent {
		return only(r.ID == "", r)
	}
	if now.Said != "" && now.Said != r.Answer { // nobody said so, or somebody else was first
		return nil
	}
	if r.ID == "" || told.Rev != 0 && r.Rev != 0 && told.Rev < r.Rev {
		return nil
	}
	if told.Rev != 0 && told.Rev == r.Rev { // the same revision is the same record
		return only(now == r.State, r)
	}
	switch {
	case r.Ended && (now.Status == "completed" || now.Status == "failed") && now.Attempt >= r.Attempt:
		r.Ended = false
	case r.Ended:
		return nil
	case terminal(r.Status):
		return only(now == r.State, r)
	case now.Status == "canceled" && !r.Again, !follows(r, now):
		return nil
	}
	r.State, r.Rev, r.Waited = now, told.Rev, r.Waited || now.Status == "input_required"
	return []record{r}
}

// follows reports whether a task that has not ended may look so later: nothing goes
// backwards, neither attempts nor, within one, its status and its progress.
func follows(r record, now State) bool {
	if now.Attempt != r.Attempt || terminal(now.Status) {
		return now.Attempt >= r.Attempt
	}
	if r.Waited || now.Status == "input_required" {
		return true
	}
	if r.Status == "pending" && r.Attempt > 0 { // it waits for its next attempt
		return now.Status == "pending"
	}
	return now.Status != "processing" || r.Status != "processing" || now.Percent >= r.Percent
}

// cancel is accepted by a task that has not ended, or was canceled; otherwise workers
// have ended it.
func cancel(r record, told Told) []record {
	switch {
	case told.Verdict == Absent:
		return only(r.ID == "", r)
	case r.ID == "":
		return nil
	case told.Verdict == Done && r.Status == "canceled":
		return only(told.State == r.State, r)
	case told.Verdict == Done && !ended(r) && told.Attempt >= r.Attempt:
		r.State, r.Rev = told.State, 0
		return only(r.Status == "canceled", r)
	case told.Verdict == Refused && !ended(r): // it ended before this came
		r.Ended, r.Rev = true, 0
		return []record{r}
	case told.Verdict == Refused:
		return only(r.Ended || r.Status != "canceled", r)
	}
	return nil
}

// ask is a retry, which a failed or canceled task takes, or an answer, which one takes
// that waits, or will: the first counts. A refusal may have been for what workers did
// meanwhile.
func ask(r record, op Op, told Told) []record {
	if r.ID == "" {
		return only(told.Verdict == Absent, r)
	}
	if told.Verdict == Refused {
		return []record{r}
	}
	if told.Verdict != Done {
		return nil
	}
	if op.Kind == Answer {
		if r.Waited = true; r.Answer == "" { // one that comes before its question waits behind others
			r.Answer = op.Says
		}
		return only(!ended(r), r)
	}
	if !ended(r) {
		r.Ended = true
	}
	return only(r.Ended || r.Status == "failed" || r.Status == "canceled", r)
}

func only(ok bool, r record) []record {
	if ok {
		return []record{r}
	}
	return nil
}

func ended(r record) bool { return r.Ended || terminal(r.Status) }

func terminal(status string) bool { return task.State(status).Terminal() }

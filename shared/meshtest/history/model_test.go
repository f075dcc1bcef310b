package history_test

import (
	"testing"

	"agentmesh/shared/meshtest/history"
)

// act is what was done, and what came of it.
type act struct {
	kind history.Kind
	told history.Told
	says string
}

func state(status string, attempt, percent int, outcome string) history.Told {
	return history.Told{Verdict: history.Done, ID: "tsk_1", State: history.State{Status: status, Attempt: attempt, Percent: percent, Outcome: outcome}}
}

// The model takes what a mesh may do, and nothing else: each row is what one client is
// told, one answer after the other.
func TestTheModelKnowsWhatAMeshMayNotDo(t *testing.T) {
	refused, unknown, absent := history.Told{Verdict: history.Refused}, history.Told{Verdict: history.Unknown}, history.Told{Verdict: history.Absent}
	create := act{kind: history.Create, told: state("", 0, 0, "")}
	read := func(s history.Told) act { return act{kind: history.Read, told: s} }
	answers := func(says string, s history.Told) act { return act{kind: history.Answer, told: s, says: says} }
	done := state("completed", 1, 100, "a")
	said := func(answer string) history.Told {
		s := done
		s.Said = answer
		return s
	}
	canceled := state("canceled", 1, 0, "")
	for name, tt := range map[string]struct {
		ok   bool
		acts []act
	}{
		"a life":                              {true, []act{create, read(state("pending", 0, 0, "")), read(state("processing", 1, 10, "")), read(state("processing", 2, 0, "")), read(done2)}},
		"a lost lease":                        {true, []act{create, read(state("processing", 1, 50, "")), read(state("processing", 2, 0, ""))}},
		"a retry of an attempt":               {true, []act{create, read(state("processing", 1, 50, "")), read(state("pending", 1, 0, "")), read(state("processing", 2, 0, ""))}},
		"an answer":                           {true, []act{create, read(state("input_required", 1, 0, "")), {kind: history.Answer, told: done}, read(state("processing", 1, 0, "")), read(done)}},
		"the first of two answers":            {true, []act{create, answers("a", done), answers("b", refused), read(said("a"))}},
		"the answer of one who heard nothing": {true, []act{create, answers("a", unknown), answers("b", refused), read(said("a"))}},
		"two answers before the question":     {true, []act{create, answers("a", done), answers("b", done), read(said("a"))}},
		"the second of two answers":           {false, []act{create, answers("a", done), answers("b", done), read(said("b"))}},
		"the other of two answers":            {false, []act{create, answers("a", done), answers("b", refused), read(said("b"))}},
		"an answer that nobody gave":          {false, []act{create, answers("a", refused), read(said("a"))}},
		"two ids":                             {false, []act{create, {kind: history.Create, told: history.Told{Verdict: history.Done, ID: "tsk_2"}}}},
		"a task that is gone":                 {false, []act{create, read(absent)}},
		"another outcome":                     {false, []act{create, read(done), read(state("completed", 1, 100, "b"))}},
		"completed, then canceled":            {false, []act{create, read(done), {kind: history.Cancel, told: unknown}, read(canceled)}},
		"canceled by nobody":                  {false, []act{create, read(canceled)}},
		"canceled by who got no answer":       {true, []act{create, {kind: history.Cancel, told: unknown}, read(state("processing", 1, 0, "")), read(canceled)}},
		"canceled, then completed":            {false, []act{create, {kind: history.Cancel, told: canceled}, read(done)}},
		"a cancel too late":                   {true, []act{create, {kind: history.Cancel, told: refused}, read(done)}},
		"a cancel refused, and it runs":       {false, []act{create, {kind: history.Cancel, told: refused}, read(state("processing", 1, 0, ""))}},
		"attempts go back":                    {false, []act{create, read(state("processing", 2, 0, "")), read(state("processing", 1, 0, ""))}},
		"progress goes back":                  {false, []act{create, read(state("processing", 1, 50, "")), read(state("processing", 1, 40, ""))}},
		"an attempt that has failed runs on":  {false, []act{create, read(state("pending", 1, 0, "")), read(state("processing", 1, 0, ""))}},
		"a retry of one that is completed":    {false, []act{create, read(done), {kind: history.Retry, told: done}}},
		"a retry of one that was canceled":    {true, []act{create, {kind: history.Cancel, told: canceled}, {kind: history.Retry, told: done}}},
		"accepted without an answer":          {true, []act{{kind: history.Create, told: unknown}, create, read(done)}},
	} {
		h := history.New()
		for _, a := range tt.acts {
			h.Begin(history.Op{Task: "k", Kind: a.kind, Says: a.says})(a.told)
		}
		if got := h.Linearizable(); got != tt.ok {
			t.Errorf("%s: linearizable %v", name, got)
		}
	}
}

var done2 = state("completed", 2, 100, "a")

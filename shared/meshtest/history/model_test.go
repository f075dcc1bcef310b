package history_test

import (
	"testing"

	"agentmesh/shared/meshtest/history"
)

func did(h *history.History, kind history.Kind, told history.Told) {
	h.Begin(history.Op{Task: "k", Kind: kind})(told)
}

func state(status string, attempt, percent int, outcome string) history.Told {
	return history.Told{Verdict: history.Done, ID: "tsk_1", State: history.State{Status: status, Attempt: attempt, Percent: percent, Outcome: outcome}}
}

// The model takes what a mesh may do, and nothing else: each row is what one client is
// told, one answer after the other.
func TestTheModelKnowsWhatAMeshMayNotDo(t *testing.T) {
	refused, unknown, absent := history.Told{Verdict: history.Refused}, history.Told{Verdict: history.Unknown}, history.Told{Verdict: history.Absent}
	type act struct {
		kind history.Kind
		told history.Told
	}
	create := act{history.Create, state("", 0, 0, "")}
	read := func(s history.Told) act { return act{history.Read, s} }
	done := state("completed", 1, 100, "a")
	canceled := state("canceled", 1, 0, "")
	for name, tt := range map[string]struct {
		ok   bool
		acts []act
	}{
		"a life":                             {true, []act{create, read(state("pending", 0, 0, "")), read(state("processing", 1, 10, "")), read(state("processing", 2, 0, "")), read(done2)}},
		"a lost lease":                       {true, []act{create, read(state("processing", 1, 50, "")), read(state("processing", 2, 0, ""))}},
		"a retry of an attempt":              {true, []act{create, read(state("processing", 1, 50, "")), read(state("pending", 1, 0, "")), read(state("processing", 2, 0, ""))}},
		"an answer":                          {true, []act{create, read(state("input_required", 1, 0, "")), {history.Answer, done}, read(state("processing", 1, 0, "")), read(done)}},
		"two ids":                            {false, []act{create, {history.Create, history.Told{Verdict: history.Done, ID: "tsk_2"}}}},
		"a task that is gone":                {false, []act{create, read(absent)}},
		"another outcome":                    {false, []act{create, read(done), read(state("completed", 1, 100, "b"))}},
		"completed, then canceled":           {false, []act{create, read(done), {history.Cancel, unknown}, read(canceled)}},
		"canceled by nobody":                 {false, []act{create, read(canceled)}},
		"canceled by who got no answer":      {true, []act{create, {history.Cancel, unknown}, read(state("processing", 1, 0, "")), read(canceled)}},
		"canceled, then completed":           {false, []act{create, {history.Cancel, canceled}, read(done)}},
		"a cancel too late":                  {true, []act{create, {history.Cancel, refused}, read(done)}},
		"a cancel refused, and it runs":      {false, []act{create, {history.Cancel, refused}, read(state("processing", 1, 0, ""))}},
		"attempts go back":                   {false, []act{create, read(state("processing", 2, 0, "")), read(state("processing", 1, 0, ""))}},
		"progress goes back":                 {false, []act{create, read(state("processing", 1, 50, "")), read(state("processing", 1, 40, ""))}},
		"an attempt that has failed runs on": {false, []act{create, read(state("pending", 1, 0, "")), read(state("processing", 1, 0, ""))}},
		"a retry of one that is completed":   {false, []act{create, read(done), {history.Retry, done}}},
		"a retry of one that was canceled":   {true, []act{create, {history.Cancel, canceled}, {history.Retry, done}}},
		"accepted without an answer":         {true, []act{{history.Create, unknown}, create, read(done)}},
	} {
		h := history.New()
		for _, a := range tt.acts {
			did(h, a.kind, a.told)
		}
		if got := h.Linearizable(); got != tt.ok {
			t.Errorf("%s: linearizable %v", name, got)
		}
	}
}

var done2 = state("completed", 2, 100, "a")

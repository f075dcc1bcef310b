package a2a_test

import (
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
)

func TestAMessageAsksTheStoreNoMoreThanATaskDoes(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	nc := m.Server.Connect(t)
	seen, err := nc.SubscribeSync("$JS.API.STREAM.MSG.GET.>")
	if err != nil {
		t.Fatal(err)
	}
	// A slow machine may read a record once more: the least of several counts.
	reads := func(do func()) int {
		least := -1
		for range 3 {
			before, _, _ := seen.Pending()
			do()
			_ = nc.Flush()
			if after, _, _ := seen.Pending(); least < 0 || after-before < least {
				least = after - before
			}
		}
		return least
	}
	plain := reads(func() {
		if w := m.Do("POST", "/tasks", `{"agent":"says","instruction":"x"}`, "Prefer", "wait=60"); !strings.Contains(w.Body.String(), `"completed"`) {
			t.Errorf("POST /tasks = %s", w.Body)
		}
	})
	for _, method := range []string{"SendMessage", "SendStreamingMessage"} {
		over := reads(func() {
			if w := rpc(m, "says", method, text("x")); !strings.Contains(w.Body.String(), "TASK_STATE_COMPLETED") {
				t.Errorf("%s = %s", method, w.Body)
			}
		})
		if over > plain {
			t.Errorf("%s reads %d times, POST /tasks %d", method, over, plain)
		}
	}
}

package task_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
)

func TestARecordKeepsTheNewestExchangesWithinItsBounds(t *testing.T) {
	r := &task.Task{}
	at := time.Unix(1, 0)
	for i := range 40 {
		before := r.Clone()
		r.Exchanges = r.Exchanges.With(task.Wait{Name: "q", N: i, Prompt: "?", AskedAt: at}, json.RawMessage(strconv.Itoa(i)), at, "")
		if n := len(before.Exchanges); n > 0 && before.Exchanges[n-1].N != i-1 {
			t.Fatalf("the version before has changed: %+v", before.Exchanges)
		}
	}
	if n := len(r.Exchanges); n != task.MaxExchanges || r.Exchanges[n-1].N != 39 || r.Exchanges[0].N != 40-n {
		t.Errorf("%d are kept, from %+v", n, r.Exchanges[0])
	}
	large := json.RawMessage(`"` + strings.Repeat("x", 40<<10) + `"`)
	r.Exchanges = r.Exchanges.With(task.Wait{Name: "a"}, large, at, "")
	r.Exchanges = r.Exchanges.With(task.Wait{Name: "b"}, large, at, "")
	if len(r.Exchanges) != 1 || r.Exchanges[0].Name != "b" {
		t.Errorf("two large ones: %d are kept", len(r.Exchanges))
	}
	r.Exchanges = r.Exchanges.With(task.Wait{Name: "c"}, json.RawMessage(`"`+strings.Repeat("x", task.MaxExchangeBytes)+`"`), at, "")
	if last := r.Exchanges[len(r.Exchanges)-1]; last.Value != nil || last.Bytes != task.MaxExchangeBytes+2 || len(r.Exchanges) != 2 {
		t.Errorf("one that is too large = %+v", last.Name)
	}
}

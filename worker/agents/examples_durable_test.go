package agents_test

import (
	"encoding/json"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/linestest"
)

// The examples that keep steps do each of their effects once, in however many runs,
// and come to the same end.
func TestTheDurableExamplesDoEachEffectOnce(t *testing.T) {
	for name, tt := range map[string]struct{ needs, ledger, nap, result string }{
		"refund":  {"sh", "reserve pay", "cool-down", `{"reserved":"reserve-of-tsk_1","paid":"pay-of-tsk_1"}`},
		"digest":  {"python3", "page/0 page/1 send", "rest", `{"pages":["page/0 by tsk_1.page/0.0","page/1 by tsk_1.page/1.0"],"sent":"send by tsk_1.send.0"}`},
		"onboard": {"node", "mail wiki welcome", "first-day", `{"accounts":["mail by tsk_1.mail.0","wiki by tsk_1.wiki.0"],"sent":"welcome by tsk_1.welcome.0"}`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := osexec.LookPath(tt.needs); err != nil {
				t.Skip(tt.needs + " is not there: its example was not run")
			}
			ledger := filepath.Join(t.TempDir(), "ledger")
			t.Setenv("LEDGER", ledger)
			all, err := agents.Load("examples/agents.yaml", agents.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			came := []agent.PastStep{{Name: tt.nap, Kind: agent.LineSleep}, {Name: "approve", Kind: agent.PastAnswer, Value: json.RawMessage("true")}}
			m := &linestest.Memory{Waited: func(m *linestest.Memory) error { m.Come(came[0]); came = came[1:]; return nil }}
			for _, a := range all {
				if a.Name != name {
					continue
				}
				v, err := a.Handler(t.Context(), agent.NewJob(&task.Task{ID: "tsk_1", Attempt: 1}, nil, "", &ear{}).WithLines(m))
				got, _ := json.Marshal(v)
				done, _ := os.ReadFile(ledger)
				if err != nil || string(got) != tt.result || strings.Join(strings.Fields(string(done)), " ") != tt.ledger || len(came) != 0 {
					t.Errorf("%s, %v, it did %q, not yet waited %v", got, err, done, came)
				}
			}
		})
	}
}

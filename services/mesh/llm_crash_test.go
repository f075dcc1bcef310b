package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/nats-io/nats.go"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents/llm/llmtest"
)

// market is what stays when a worker is killed: a model and a server of tools, which
// count what they were asked.
type market struct {
	*meshtest.Mesh
	model   *llmtest.Server
	env     []string
	args    []string
	entries chan task.Entry // of all journals, as they are written

	mu    sync.Mutex
	calls map[string]int
}

// shops has the model pay, look and pay again before it answers: four answers and three
// calls of tools, of which paying may not be done twice.
func shops(r llmtest.Request) llmtest.Reply {
	calls := []llmtest.Call{{Name: "shop__pay", Arguments: `{"euro":1}`}, {Name: "shop__look", Arguments: `{}`}, {Name: "shop__pay", Arguments: `{"euro":2}`}}
	if n := r.Results(); n < len(calls) {
		return llmtest.Reply{Calls: calls[n : n+1]}
	}
	return llmtest.Reply{Text: "bought"}
}

func newMarket(t *testing.T) *market {
	srv := fleetServer(t)
	s := &market{Mesh: meshtest.NewOn(t, &natstest.Server{Server: srv.server()}), model: llmtest.New(shops), entries: make(chan task.Entry, 1000)}
	tools := sdk.NewServer(&sdk.Implementation{Name: "shop", Version: "1"}, nil)
	for name, hints := range map[string]*sdk.ToolAnnotations{"pay": nil, "look": {ReadOnlyHint: true}} {
		tools.AddTool(&sdk.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), Annotations: hints}, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls[name+string(req.Params.Arguments)]++
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "done"}}}, nil
		})
	}
	model, shop := httptest.NewServer(s.model), httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return tools }, nil))
	t.Cleanup(model.Close)
	t.Cleanup(func() {
		for session := range tools.Sessions() { // of clients that were killed
			_ = session.Close()
		}
		shop.Close()
	})
	file := filepath.Join(t.TempDir(), "agents.yaml")
	text := `models: {default: {base_url: "` + model.URL + `/v1", model: m}}
tools: {shop: {mcp: {url: "` + shop.URL + `"}}}
agents: [{name: buyer, retry: {max_attempts: 100}, llm: {tools: [shop]}}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"MESH_TEST_MAIN=1", "NATS_URL=" + srv.ClientURL()}
	s.args = []string{"worker", "--agents", file, "--lease", "1s", "--replicas", "1", "--admin", "off"}
	_, err := s.NC.Subscribe(topology.StepsAll, func(msg *nats.Msg) {
		var e task.Entry
		if json.Unmarshal(msg.Data, &e) == nil && e.Kind != task.EntryEpoch {
			s.entries <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *market) spawn() *meshtest.Process {
	p, output := meshtest.Spawn(s.T, s.env, s.args...)
	go p.Drain(output)
	return p
}

// buy runs one task, and kills its worker with SIGKILL as soon as an entry is written of
// which dies says so; n is its number, from 1. It returns how many entries there were.
func (s *market) buy(what string, dies func(n int, e task.Entry) bool) (entries int) {
	s.T.Helper()
	s.mu.Lock()
	s.calls = map[string]int{}
	s.mu.Unlock()
	before, kills, asked := len(s.model.Asked()), 0, 0
	p := s.spawn()
	defer func() { p.Kill() }()
	natstest.Until(s.T, "the agent is known", func() bool { return s.Do("GET", "/agents/buyer", "").Code == 200 })
	id := s.Create(`{"agent":"buyer","instruction":"shop"}`)
	for end := time.After(2 * time.Minute); ; {
		select {
		case e := <-s.entries:
			if entries++; dies(entries, e) {
				kills++
				p.Kill()
				p = s.spawn()
			}
			continue
		case <-time.After(20 * time.Millisecond):
		case <-end:
			s.T.Fatalf("%s: the task is %s after %d entries\n%s", what, s.Get(id).Status, entries, p.Output)
		}
		rec, err := s.Store.Tasks.Find(s.T.Context(), "default", task.ID(id))
		if err != nil {
			s.T.Fatal(err)
		}
		if len(rec.Questions()) > 0 {
			if w := s.Do("POST", "/tasks/"+id+"/input", `{"value":"retry"}`); w.Code == 202 {
				asked++
			}
		}
		if rec.Status.Terminal() && len(s.entries) == 0 {
			break
		}
	}
	v, n := s.Get(id), len(s.model.Asked())-before
	if string(v.Result) != `{"text":"bought"}` || n > 4+kills || kills == 0 && n != 4 {
		s.T.Errorf("%s: %s %s %+v, the model was asked %d times, with %d kills", what, v.Status, v.Result, v.Error, n, kills)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range []string{`pay{"euro":1}`, `pay{"euro":2}`, `look{}`} {
		if done := s.calls[call]; done == 0 || done > 1 && strings.HasPrefix(call, "pay") && asked == 0 || done > 1+kills {
			s.T.Errorf("%s: %s was done %d times, with %d kills, and asked %d times", what, call, done, kills, asked)
		}
	}
	return entries
}

// TestAWorkerThatIsKilledAfterAnEntryRepeatsNothingThatIsFinished kills the process of the
// worker, with SIGKILL, after entries of the journal of an agent that is a model. The model
// is asked once more for a kill at most, and what may not be done twice is done once, or a
// person was asked. With -chaos after each entry by itself, and after all of them.
func TestAWorkerThatIsKilledAfterAnEntryRepeatsNothingThatIsFinished(t *testing.T) {
	t.Parallel() // it waits for processes
	s := newMarket(t)
	if !*meshtest.Chaos {
		marks := 0
		s.buy("killed within a payment, and after an answer", func(n int, e task.Entry) bool {
			if e.Kind == task.EntryStarted {
				marks++
			}
			return e.Kind == task.EntryStarted && marks == 1 || e.Name == "model" && e.N == 2
		})
		return
	}
	whole := s.buy("not killed", func(int, task.Entry) bool { return false })
	if whole < 9 {
		t.Errorf("the journal has %d entries", whole)
	}
	for at := 1; at <= whole; at++ {
		s.buy(fmt.Sprintf("killed after entry %d", at), func(n int, _ task.Entry) bool { return n == at })
	}
	seen := map[string]bool{} // who is killed at each begin of a payment never ends one
	s.buy("killed after each entry", func(_ int, e task.Entry) bool {
		entry := string(e.Kind) + e.Name
		if e.Name == "model" {
			entry += fmt.Sprint(e.N)
		}
		defer func() { seen[entry] = true }()
		return !seen[entry]
	})
}

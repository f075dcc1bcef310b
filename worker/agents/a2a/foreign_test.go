package a2a_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/a2a"
)

// foreign is a remote agent of others, which knows no Idempotency-Key. It is done with
// a task as soon as that is asked for a second time.
type foreign struct {
	url string
	do  func(w http.ResponseWriter, method string) bool // answers by itself; false: it does not

	mu    sync.Mutex
	tasks []map[string]any
	calls []string
	creds []string
}

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.creds = append(f.creds, r.Header.Get("Authorization"))
	if strings.HasSuffix(r.URL.Path, "agent-card.json") {
		_, _ = fmt.Fprintf(w, `{"name":"f","description":"A foreign agent.","version":"1","supportedInterfaces":[{"url":%q,"protocolBinding":"JSONRPC","protocolVersion":"1.0"}],"capabilities":{},"skills":[]}`, f.url)
		return
	}
	var in struct {
		Method string
		Params struct {
			ID      string
			Message struct{ ContextID, MessageID string }
		}
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.calls = append(f.calls, in.Method)
	if in.Method == "SendMessage" {
		id := fmt.Sprintf("remote-%d", len(f.tasks)+1)
		f.tasks = append(f.tasks, map[string]any{"id": id, "contextId": in.Params.Message.ContextID, "status": map[string]any{"state": "TASK_STATE_WORKING"}})
	}
	if f.do != nil && f.do(w, in.Method) {
		return
	}
	var result any
	switch in.Method {
	case "SendMessage":
		result = map[string]any{"task": f.tasks[len(f.tasks)-1]}
	case "ListTasks":
		result = map[string]any{"tasks": f.tasks, "nextPageToken": "", "pageSize": 50, "totalSize": len(f.tasks)}
	case "GetTask":
		t := f.tasks[0]
		t["status"] = map[string]any{"state": "TASK_STATE_COMPLETED"}
		t["artifacts"] = []any{map[string]any{"artifactId": "a", "parts": []any{map[string]any{"text": "done"}}}, map[string]any{"artifactId": "b", "parts": []any{map[string]any{"url": "https://example.com/x"}}}}
		result = t
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "result": result})
}

func (f *foreign) count(method string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == method {
			n++
		}
	}
	return n
}

// start serves f, whose card leads to where it is, or elsewhere.
func (f *foreign) start(t *testing.T) a2a.Config {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	if f.url == "" {
		f.url = srv.URL + "/rpc"
	}
	return a2a.Config{URL: srv.URL, Headers: map[string]string{"Authorization": "Bearer key"}}
}

func drop(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}

func one(cfg a2a.Config) agent.Agent {
	a := meshtest.Named("far", a2a.New(a2a.NewClient(cfg, a2a.Options{Poll: 10 * time.Millisecond})))
	a.Retry.MaxAttempts, a.Retry.Backoff, a.Retry.MaxBackoff = 3, 1, 1_000_000
	return a
}

func TestAMessageWhoseAnswerWasLostIsFoundAndNotSentAgain(t *testing.T) {
	m := meshtest.New(t)
	f := &foreign{}
	f.do = func(w http.ResponseWriter, method string) bool {
		if method == "SendMessage" {
			drop(w)
		}
		return method == "SendMessage"
	}
	m.Work(one(f.start(t)))
	v := m.End(m.Create(`{"agent":"far","instruction":"x"}`))
	if v.Status != "completed" || v.Attempt != 2 || f.count("SendMessage") != 1 {
		t.Errorf("sent %d times: %+v %+v", f.count("SendMessage"), v, v.Error)
	}
	if !strings.Contains(string(v.Result), `{"artifacts":[`) || !strings.Contains(string(v.Result), "https://example.com/x") {
		t.Errorf("several artifacts = %s", v.Result)
	}
}

func TestATaskThatWasSentIsNotSentAgainWhenTheRemoteAgentIsAwayForAWhile(t *testing.T) {
	m := meshtest.New(t)
	f, away := &foreign{}, 3
	f.do = func(w http.ResponseWriter, method string) bool {
		if method == "GetTask" && away > 0 {
			away--
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	m.Work(one(f.start(t)))
	if v := m.End(m.Create(`{"agent":"far","instruction":"x"}`)); v.Status != "completed" || f.count("SendMessage") != 1 {
		t.Errorf("sent %d times: %+v %+v", f.count("SendMessage"), v, v.Error)
	}
}

func TestARefusalIsForGoodAndAFullServerIsAskedAgain(t *testing.T) {
	m := meshtest.New(t)
	busy, full := &foreign{}, 1
	busy.do = func(w http.ResponseWriter, method string) bool {
		if method == "SendMessage" && full > 0 {
			full--
			busy.tasks = nil
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	}
	refuses := &foreign{do: func(w http.ResponseWriter, _ string) bool {
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such thing"}}`))
		return true
	}}
	far, other := one(busy.start(t)), one(refuses.start(t))
	other.Name = "refuses"
	m.Work(far, other)
	if v := m.End(m.Create(`{"agent":"far","instruction":"x"}`)); v.Status != "completed" || v.Attempt != 2 {
		t.Errorf("of a full server: %+v %+v", v, v.Error)
	}
	if v := m.End(m.Create(`{"agent":"refuses","instruction":"x"}`)); v.Error == nil || v.Error.Code != "bad_input" || v.Attempt != 1 || !strings.Contains(v.Error.Message, "no such thing") {
		t.Errorf("a refusal: %+v %+v", v, v.Error)
	}
}

func TestCredentialsGoToTheConfiguredHostOnly(t *testing.T) {
	m := meshtest.New(t)
	elsewhere := &foreign{}
	there := elsewhere.start(t)
	leads := &foreign{url: there.URL + "/rpc"}
	cfg := leads.start(t)
	blocked, allowed := one(cfg), cfg
	blocked.Name, allowed.AllowHosts = "blocked", []string{strings.TrimPrefix(there.URL, "http://")}
	m.Work(blocked, one(allowed))
	if v := m.End(m.Create(`{"agent":"blocked","instruction":"x"}`)); v.Error == nil || !strings.Contains(v.Error.Message, "allow_hosts") || len(elsewhere.calls) > 0 {
		t.Errorf("a card that leads elsewhere: %+v", v.Error)
	}
	if v := m.End(m.Create(`{"agent":"far","instruction":"x"}`)); v.Status != "completed" {
		t.Errorf("a host that is allowed: %+v", v.Error)
	}
	for _, shown := range elsewhere.creds {
		if shown != "" {
			t.Errorf("another host was shown %q", shown)
		}
	}
}

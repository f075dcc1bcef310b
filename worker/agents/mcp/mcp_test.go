package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/mcp"
)

// servers are the three ways to the same tools.
func servers(t *testing.T) map[string]mcp.Config {
	t.Helper()
	return map[string]mcp.Config{
		"modern":  {URL: serve(t, &book{}, false, nil)},
		"older":   {URL: serve(t, &book{}, true, nil)},
		"program": self(t),
	}
}

func TestToolsAreListedAndCalledOverHTTPAndOfAProgram(t *testing.T) {
	for way, cfg := range servers(t) {
		t.Run(way, func(t *testing.T) {
			c := reach(t, cfg)
			all, err := c.Tools(t.Context())
			if err != nil || !slices.IsSortedFunc(all, func(a, b mcp.Tool) int { return strings.Compare(a.Name, b.Name) }) || len(all) < 8 {
				t.Fatalf("%v, %v", all, err)
			}
			upper, err := c.Tool(t.Context(), "upper")
			if err != nil || !upper.ReadOnly || !upper.Repeatable() || upper.Description != "The tool upper." || !strings.Contains(string(upper.InputSchema), `"text"`) {
				t.Errorf("%+v, %v", upper, err)
			}
			for _, tt := range []struct{ tool, arguments, value string }{
				{"upper", `{"text":"one"}`, `{"text":"ONE"}`},
				{"number", `{}`, `{"n":12345678901234567890}`},
				{"image", `{}`, `{"content":[{"type":"image","mimeType":"image/png","data":"AQI="}]}`},
			} {
				r, err := c.Call(t.Context(), mcp.Call{Tool: tt.tool, Arguments: json.RawMessage(tt.arguments)})
				if err != nil || r.Result == nil || r.Result.IsError {
					t.Fatalf("%s: %+v, %v", tt.tool, r, err)
				}
				v, err := r.Result.Value()
				raw, _ := json.Marshal(v)
				if err != nil || string(raw) != tt.value {
					t.Errorf("%s: %s, %v", tt.tool, raw, err)
				}
			}
			r, err := c.Call(t.Context(), mcp.Call{Tool: "fails"})
			if err != nil || !r.Result.IsError || r.Result.String() != "no such page" {
				t.Errorf("%+v, %v", r, err)
			}
			for tool, code := range map[string]string{"nothing": task.CodeBadInput, "upper": task.CodeBadInput} {
				_, err = c.Call(t.Context(), mcp.Call{Tool: tool, Arguments: json.RawMessage(`{"text":7}`)})
				var e *agent.Error
				if tool == "nothing" && (!errors.As(err, &e) || e.Code != code || !e.Permanent) {
					t.Errorf("%s: %v", tool, err)
				}
			}
			if _, err := c.Tool(t.Context(), "nothing"); err == nil {
				t.Error("a tool that is not there was found")
			}
		})
	}
}

func TestTheProgressOfACallIsTold(t *testing.T) {
	for way, cfg := range servers(t) {
		var mu sync.Mutex
		var told []int
		_, err := reach(t, cfg).Call(t.Context(), mcp.Call{Tool: "steps", Progress: func(percent int, message string) {
			mu.Lock()
			defer mu.Unlock()
			if message == "half" {
				told = append(told, percent)
			}
		}})
		mu.Lock()
		if err != nil || !slices.Equal(told, []int{25, 50}) {
			t.Errorf("%s: %v, %v", way, told, err)
		}
		mu.Unlock()
	}
}

func TestACallEndsWithItsContextAtTheServerToo(t *testing.T) {
	for name, old := range map[string]bool{"modern": false, "older": true} {
		b := &book{}
		c := reach(t, mcp.Config{URL: serve(t, b, old, nil)})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			for b.count("hangs") == 0 {
				<-time.After(5 * time.Millisecond)
			}
			cancel(agent.ErrCanceled)
		}()
		if _, err := c.Call(ctx, mcp.Call{Tool: "hangs"}); !errors.Is(err, agent.ErrCanceled) {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-b.gone:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the server still works", name)
		}
	}
}

// front answers instead of the server once it is told to.
type front struct {
	next http.Handler
	mode atomic.Value // of func(http.ResponseWriter, *http.Request) bool: it has answered
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g, ok := f.mode.Load().(func(http.ResponseWriter, *http.Request) bool); ok && g(w, r) {
		return
	}
	f.next.ServeHTTP(w, r)
}

func fronted(t *testing.T, b *book) (*mcp.Client, *front) {
	f := &front{}
	url := serve(t, b, false, func(h http.Handler) http.Handler { f.next = h; return f })
	return reach(t, mcp.Config{URL: url, Headers: map[string]string{"Authorization": "Bearer x"}}), f
}

// Of each answer that is none it is known what becomes of the task.
func TestWhatAnAnswerOfHTTPMeans(t *testing.T) {
	c, f := fronted(t, &book{})
	if _, err := c.Tools(t.Context()); err != nil {
		t.Fatal(err)
	}
	status := func(code int, headers ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Authorization") != "Bearer x" {
				t.Error("a request without the headers of the file")
			}
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	large := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":"`))
		for range 33 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
		return true
	}
	for name, tt := range map[string]struct {
		answer    func(http.ResponseWriter, *http.Request) bool
		code      string
		permanent bool
		after     time.Duration
	}{
		"429":      {status(429, "Retry-After", "7"), task.CodeAgentHTTPError, false, 7 * time.Second},
		"503":      {status(503), task.CodeAgentHTTPError, false, 0},
		"401":      {status(401), task.CodeAgentHTTPError, true, 0},
		"redirect": {status(302, "Location", "http://169.254.169.254/"), task.CodeAgentHTTPError, true, 0},
		"large":    {large, task.CodeResultTooLarge, true, 0},
	} {
		f.mode.Store(func(w http.ResponseWriter, r *http.Request) bool {
			return r.Header.Get("Mcp-Method") == "tools/call" && tt.answer(w, r)
		})
		r, err := c.Call(t.Context(), mcp.Call{Tool: "upper", Arguments: json.RawMessage(`{"text":"x"}`)})
		var e *agent.Error
		if !errors.As(err, &e) || e.Code != tt.code || e.Permanent != tt.permanent || e.RetryAfter != tt.after || strings.Contains(e.Message, "127.0.0.1") {
			t.Errorf("%s: %+v, %+v", name, r, err)
		}
	}
	f.mode.Store(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Mcp-Method") == "tools/call" {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	r, err := c.Call(t.Context(), mcp.Call{Tool: "upper", Arguments: json.RawMessage(`{"text":"x"}`)})
	if err != nil || r.Unknown == "" {
		t.Errorf("a connection that was cut: %+v, %v", r, err)
	}
	f.mode.Store(func(http.ResponseWriter, *http.Request) bool { return false })
	if r, err := c.Call(t.Context(), mcp.Call{Tool: "upper", Arguments: json.RawMessage(`{"text":"x"}`)}); err != nil || r.Result.String() != "X" {
		t.Errorf("the call after it: %+v, %v", r, err)
	}
}

func TestAServerThatIsAwayIsUnreachableAndRetried(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := reach(t, mcp.Config{URL: srv.URL}).Call(t.Context(), mcp.Call{Tool: "upper"})
	var e *agent.Error
	if !errors.As(err, &e) || e.Code != task.CodeAgentUnreachable || e.Permanent {
		t.Errorf("%+v", err)
	}
}

func TestAServerAtTheMetadataOfACloudIsRefused(t *testing.T) {
	cfg := mcp.Config{URL: "http://169.254.169.254/mcp"}
	if err := cfg.Check(); err == nil {
		t.Error("the file is good")
	}
	_, err := reach(t, cfg).Tools(t.Context())
	var e *agent.Error
	if !errors.As(err, &e) || !e.Permanent {
		t.Errorf("%+v", err)
	}
}

// A server that was started again is reached again, within the call.
func TestARestartOfTheServerCostsNoCall(t *testing.T) {
	for _, old := range []bool{false, true} {
		b := &book{}
		var now atomic.Pointer[http.Handler]
		url := serve(t, b, old, func(h http.Handler) http.Handler {
			now.Store(&h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) })
		})
		c := reach(t, mcp.Config{URL: url})
		for range 2 {
			if r, err := c.Call(t.Context(), mcp.Call{Tool: "upper", Arguments: json.RawMessage(`{"text":"x"}`)}); err != nil || r.Result.String() != "X" {
				t.Fatalf("older %v: %+v, %v", old, r, err)
			}
			var again http.Handler
			serve(t, b, old, func(h http.Handler) http.Handler { again = h; return h })
			now.Store(&again) // it knows no session
		}
	}
	c := reach(t, self(t))
	r, err := c.Call(t.Context(), mcp.Call{Tool: "exits"})
	if err != nil || r.Unknown == "" {
		t.Errorf("a program that ended during the call: %+v, %v", r, err)
	}
	if r, err := c.Call(t.Context(), mcp.Call{Tool: "upper", Arguments: json.RawMessage(`{"text":"x"}`)}); err != nil || r.Result.String() != "X" {
		t.Errorf("after it: %+v, %v", r, err)
	}
}

func TestAProgramGetsAMinimalEnvironment(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	t.Setenv("NATS_URL", "nats://x")
	cfg := self(t)
	cfg.Env["MINE"] = "yes"
	r, err := reach(t, cfg).Call(t.Context(), mcp.Call{Tool: "env"})
	if err != nil {
		t.Fatal(err)
	}
	if env := r.Result.String(); strings.Contains(env, "hush") || strings.Contains(env, "NATS_URL") || !strings.Contains(env, "MINE=yes") || !strings.Contains(env, "PATH=") {
		t.Error(env)
	}
}

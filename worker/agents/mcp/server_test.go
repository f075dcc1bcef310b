package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/worker/agents/mcp"
)

// book notes what a server was asked.
type book struct {
	mu    sync.Mutex
	calls map[string]int
	keys  []string
	free  chan struct{} // ends a call that hangs
	gone  chan struct{} // such a call was canceled
}

func (b *book) note(name string, req *sdk.CallToolRequest) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls = map[string]int{}
	}
	b.calls[name]++
	key, _ := req.Params.Meta["mesh/idempotency_key"].(string)
	b.keys = append(b.keys, key)
	return b.calls[name]
}

func (b *book) count(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.calls)[name]
}

func says(text string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}

// tools is a server with a tool for each case.
func tools(b *book) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "tools", Version: "1"}, nil)
	add := func(name, schema string, hints *sdk.ToolAnnotations, f func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error)) {
		s.AddTool(&sdk.Tool{Name: name, Description: "The tool " + name + ".", InputSchema: json.RawMessage(schema), Annotations: hints}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			b.note(name, req)
			return f(ctx, req)
		})
	}
	text := string(object(`"text":{"type":"string"}`, "text"))
	anything := `{"type":"object"}`
	add("upper", text, &sdk.ToolAnnotations{ReadOnlyHint: true}, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		var in struct{ Text string }
		if err := json.Unmarshal(req.Params.Arguments, &in); err != nil {
			return nil, err
		}
		return says(strings.ToUpper(in.Text)), nil
	})
	add("fails", anything, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		r := says("no such page")
		r.IsError = true
		return r, nil
	})
	add("number", anything, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{StructuredContent: json.RawMessage(`{"n":12345678901234567890}`), Content: []sdk.Content{&sdk.TextContent{Text: "x"}}}, nil
	})
	add("image", anything, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.ImageContent{Data: []byte{1, 2}, MIMEType: "image/png"}}}, nil
	})
	add("steps", anything, nil, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for _, p := range []float64{1, 2} {
			_ = req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: p, Total: 4, Message: "half"})
		}
		return says("done"), nil
	})
	hang := func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		select {
		case <-b.free:
		case <-ctx.Done():
			close(b.gone)
		}
		return says("late"), nil
	}
	add("hangs", anything, nil, hang)
	add("reads", anything, &sdk.ToolAnnotations{ReadOnlyHint: true}, hang)
	add("asks", anything, nil, asks)
	add("exits", anything, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		os.Exit(3)
		return nil, nil
	})
	add("env", anything, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return says(strings.Join(os.Environ(), "\n")), nil
	})
	return s
}

var form = &sdk.ElicitParams{Mode: "form", Message: "Really?", RequestedSchema: object(`"sure":{"type":"boolean"}`, "sure")}

// asks is a tool that asks before it does anything, in the way of each version.
func asks(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	var got *sdk.ElicitResult
	if p := req.Session.InitializeParams(); p != nil && p.ProtocolVersion < "2026-07-28" {
		res, err := req.Session.Elicit(ctx, form)
		if err != nil {
			return nil, err
		}
		got = res
	} else if r, ok := req.Params.InputResponses["confirm"].(*sdk.ElicitResult); ok && req.Params.RequestState == "s1" {
		got = r
	} else {
		return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"confirm": form}, RequestState: "s1"}, nil
	}
	if got.Action != "accept" {
		return nil, errors.New("not " + got.Action)
	}
	return says("sure: " + map[bool]string{true: "yes", false: "no"}[got.Content["sure"] == true]), nil
}

// serve serves tools over HTTP. Wrapped lets a test come in between.
func serve(t *testing.T, b *book, old bool, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	b.free, b.gone = make(chan struct{}), make(chan struct{})
	server := tools(b)
	var h http.Handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: !old, PropagateRequestCancellation: true})
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		for open := range server.Sessions() {
			_ = open.Close()
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// reach is a client that is closed with the test.
func reach(t *testing.T, cfg mcp.Config) *mcp.Client {
	t.Helper()
	c := mcp.NewClient(cfg, mcp.Options{Version: "test"})
	t.Cleanup(c.Close)
	return c
}

// self is this program as a server of tools.
func self(t *testing.T) mcp.Config {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return mcp.Config{Command: []string{path}, Env: map[string]string{"TOOLS": "1"}}
}

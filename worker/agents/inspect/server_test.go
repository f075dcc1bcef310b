package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

func serveAt(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

func said(t *testing.T, r Report, want ...string) {
	t.Helper()
	text := rowsOf(&r)
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s %s: no %q in\n%s", r.Kind, r.At, w, text)
		}
	}
}

// A card may lead anywhere. Nobody is asked but the host that was named, and nobody
// else gets the credentials.
func TestNothingIsSentToWhereACardLeads(t *testing.T) {
	var elsewhere, plain atomic.Int32
	other := serveAt(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	var at string
	at = serveAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer x" {
			plain.Add(1)
		}
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".json") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, strings.NewReplacer("https://agents.example.com/rpc", other, "https://agents.example.com/v1", at+"/v1").Replace(goodCard))
			return
		}
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	})
	r := Target{URL: at, Headers: http.Header{"Authorization": {"Bearer x"}}}.Any(t.Context())
	said(t, r, "skipped supportedInterfaces[0] JSONRPC: it is on another host", "fault supportedInterfaces[1] HTTP+JSON: unknown task: the answer (307", "warning answer: it should have the header ETag")
	if r.OK || elsewhere.Load() > 0 || plain.Load() > 0 {
		t.Errorf("%d requests elsewhere, %d without credentials", elsewhere.Load(), plain.Load())
	}
}

func TestAnInterfaceMustRefuseWhatItDoesNotKnow(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		status int
		want   string
	}{
		"result":   {`{"jsonrpc":"2.0","id":1,"result":{}}`, 200, "is no error of JSONRPC"},
		"code":     {`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}`, 200, "the error is -32603, it must be -32001"},
		"id":       {`{"jsonrpc":"2.0","id":2,"error":{"code":-32001}}`, 200, "is no error of JSONRPC"},
		"no info":  {`{"jsonrpc":"2.0","id":1,"error":{"code":-32001}}`, 200, "warning supportedInterfaces[0] JSONRPC: unknown task: the error has no ErrorInfo"},
		"version":  {`{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"data":[{"reason":"TASK_NOT_FOUND"}]}}`, 200, "unknown version: the error is -32001, it must be -32009"},
		"asks":     {``, 401, "skipped supportedInterfaces[0] JSONRPC: unknown task: it asks for credentials, as the card says"},
		"html":     {`<html>`, 502, "is no error of JSONRPC: <html>"},
		"unclosed": {`{"jsonrpc":`, 200, "is no error of JSONRPC"},
	} {
		var at string
		at = serveAt(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".json") {
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprint(w, strings.Replace(goodCard, "https://agents.example.com/rpc", at+"/rpc", 1))
				return
			}
			w.WriteHeader(tt.status)
			_, _ = fmt.Fprint(w, tt.answer)
		})
		t.Run(name, func(t *testing.T) { said(t, Target{URL: at}.Card(t.Context()), tt.want) })
	}
}

// spoiled is a modern server whose answers are spoiled, and which refuses nothing.
func spoiled(t *testing.T, discover, tools string) string {
	t.Helper()
	return serveAt(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			ID     any
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		result := discover
		if in.Method == "tools/list" {
			result = tools
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%v,"result":%s}`, in.ID, result)
	})
}

func TestAServerIsSaidWhatIsWrongWithIt(t *testing.T) {
	const discover = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}`
	list := func(tools string) string {
		return `{"resultType":"complete","tools":[` + tools + `],"ttlMs":0,"cacheScope":"public"}`
	}
	const schema = `"description":"d","inputSchema":{"type":"object"}`
	for _, tt := range []struct{ discover, tools, want string }{
		{discover, list(`{"name":"a",` + schema + `}`), "good tools: 1 tools"},
		{discover, list(`{"name":"a",` + schema + `}`), "fault unknown method: it must be refused with -32601"},
		{discover, list(`{"name":"a",` + schema + `}`), "fault no version in the headers: it must be refused with -32020"},
		{`{}`, list(``), "fault server/discover.resultType: it is missing"},
		{strings.Replace(discover, `"2026-07-28"`, `"2099-01-01"`, 1), list(``), "fault server/discover.supportedVersions: it answers 2026-07-28, which is not among 2099-01-01"},
		{strings.Replace(discover, `"ttlMs":0`, `"ttlMs":-1`, 1), list(``), "fault server/discover.ttlMs: it must not be negative"},
		{strings.Replace(discover, `private`, `all`, 1), list(``), "fault server/discover.cacheScope: \"all\" must be"},
		{discover, `{"resultType":"complete","ttlMs":0,"cacheScope":"public"}`, "fault tools/list.tools: it is missing"},
		{discover, list(`{"name":"a b",` + schema + `}`), "fault tool a b.name: \"a b\" must be"},
		{discover, list(`{"name":"a",` + schema + `},{"name":"a",` + schema + `}`), "fault tool a.name: it stands twice"},
		{discover, list(`{"name":"a","description":"d"}`), "fault tool a.inputSchema: it is missing"},
		{discover, list(`{"name":"a","inputSchema":{"type":"object"}}`), "warning tool a.description: there is none"},
		{discover, list(`{"name":"a","description":"d","inputSchema":{"type":"string"}}`), "fault tool a.inputSchema.type: it must be \"object\""},
		{discover, list(`{"name":"a","description":"d","inputSchema":{"type":"object","$ref":"https://example.com/x"}}`), "fault tool a.inputSchema: it is no JSON Schema that stands alone"},
		{discover, list(`{"name":"a","description":"d","inputSchema":{"type":"object","properties":{"q":{"description":"x\u202e"}}}}`), "warning tool a.inputSchema.q.description: it has characters that nobody sees"},
		{discover, list(`{"name":"a","description":"d","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":"yes"}}`), "fault tool a.annotations.readOnlyHint: it must be true or false"},
		{discover, `{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"public","nextCursor":"more"}`, "warning tools/list: the list does not end"},
	} {
		said(t, Target{URL: spoiled(t, tt.discover, tt.tools) + "/mcp"}.Any(t.Context()), tt.want)
	}
}

func TestAServerThatIsNoneIsSaidToBeNone(t *testing.T) {
	for name, tt := range map[string]struct {
		f    http.HandlerFunc
		want string
	}{
		"page":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") }, "it is no server of MCP"},
		"nothing": {http.NotFound, "POST answers 404"},
		"away": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://x.example/?key=s", http.StatusFound)
		}, "redirects are not followed, it leads to https://x.example/"},
		"closed":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "give credentials with --header"},
		"no word": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "must have the header WWW-Authenticate"},
		"stream": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaStream)
			_, _ = fmt.Fprint(w, ": nothing\n\n")
		}, "the stream ended without an answer"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxAnswer+2)) }, "the answer is over"},
	} {
		r := Target{URL: serveAt(t, tt.f) + "/"}.Any(t.Context())
		if r.OK || r.Kind != Unknown {
			t.Errorf("%s: %s %v", name, r.Kind, r.OK)
		}
		said(t, r, tt.want)
	}
	r := Target{URL: "http://127.0.0.1:1/"}.Any(t.Context())
	said(t, r, "is not reached", "connection refused")
	if err := (Target{URL: "http://169.254.169.254/"}).Check(); err == nil {
		t.Error("the metadata of a cloud may be inspected")
	}
}

// A server of before the modern version is greeted, and found good.
func TestAnOlderServerIsGreeted(t *testing.T) {
	server := sdk.NewServer(&sdk.Implementation{Name: "old", Version: "1"}, nil)
	sdk.AddTool(server, &sdk.Tool{Name: "say", Description: "Says"}, func(context.Context, *sdk.CallToolRequest, struct{ Text string }) (*sdk.CallToolResult, any, error) {
		return nil, nil, nil
	})
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, nil)
	r := Target{URL: serveAt(t, h.ServeHTTP) + "/mcp"}.Any(t.Context())
	said(t, r, "good initialize: version 2025-", "warning version: it does not speak 2026-07-28", "good tools: 1 tools", "unknown method: it is refused with")
	if !r.OK || r.Name != "old" {
		t.Errorf("%+v", r)
	}
}

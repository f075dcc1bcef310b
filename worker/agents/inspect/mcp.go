package inspect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
)

// The versions of MCP: from the modern one on, requests stand alone.
const (
	modern    = "2026-07-28"
	legacy    = "2025-11-25"
	metaKey   = "io.modelcontextprotocol/"
	protocolH = "Mcp-Protocol-Version"
	methodH   = "Mcp-Method"
)

// server is one that is asked.
type server struct {
	t       Target
	r       *Report
	modern  bool
	version string // that was agreed on
	session string
	id      int
}

// reply is the answer to a request of JSON-RPC.
type reply struct {
	answer
	result json.RawMessage
	code   int // of an error; 0: none
	said   string
	data   json.RawMessage
	form   string // what is wrong with its form
}

// MCP asks a server what it is, for its tools, and for what it must refuse.
func (t Target) MCP(ctx context.Context) Report {
	r := newReport(MCP, Place(t.URL))
	s := &server{t: t, r: r, modern: true, version: modern}
	first, err := s.call(ctx, "server/discover", nil, nil)
	switch {
	case err != nil:
		r.fault("server", "it is not reached: %v", err)
	case first.secret():
		s.closed(first)
	case first.code == 0 && first.form == "" && first.status == http.StatusOK && !onlyOlder(first.result):
		s.discovered(first)
		s.tools(ctx)
		s.refuses(ctx)
	case first.status == http.StatusNotFound && first.form != "" || first.status/100 == 3:
		r.fault("server", "POST answers %s%s", first.answer, moved(first.answer))
	default:
		s.older(ctx, first)
	}
	return r.done()
}

// onlyOlder reports whether a server that knows how to say so speaks versions of before
// only.
func onlyOlder(result json.RawMessage) bool {
	var d struct {
		Versions []string `json:"supportedVersions"`
	}
	return json.Unmarshal(result, &d) == nil && !oneOf(modern, d.Versions...) && oneOf(legacy, d.Versions...)
}

// closed says what an answer means that asks for credentials.
func (s *server) closed(a reply) {
	if len(s.t.Headers) > 0 {
		s.r.fault("server", "it answers %s: the credentials are not taken", a.answer)
	} else {
		s.r.fault("server", "it answers %s: give credentials with --header", a.answer)
	}
	if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		s.r.fault("server", "a 401 must have the header WWW-Authenticate")
	}
}

// call makes a request, as the version asks for it. change may spoil it.
func (s *server) call(ctx context.Context, method string, params map[string]any, change func(h http.Header, params map[string]any)) (reply, error) {
	s.id++
	all := map[string]any{}
	maps.Copy(all, params)
	header := http.Header{"Accept": {mediaJSON + ", " + mediaStream}}
	if s.modern {
		all["_meta"] = map[string]any{
			metaKey + "protocolVersion": s.version, metaKey + "clientCapabilities": map[string]any{},
			metaKey + "clientInfo": map[string]any{"name": "agentmesh-inspect", "version": "1"},
		}
		header[protocolH], header[methodH] = []string{s.version}, []string{method}
	} else if method != "initialize" {
		header[protocolH] = []string{s.version}
	}
	if s.session != "" {
		header["Mcp-Session-Id"] = []string{s.session}
	}
	if change != nil {
		change(header, all)
	}
	body := map[string]any{"jsonrpc": "2.0", "method": method, "params": all}
	if !strings.HasPrefix(method, "notifications/") {
		body["id"] = s.id
	}
	a, err := s.t.do(ctx, http.MethodPost, s.t.URL, body, header)
	if err != nil {
		return reply{}, err
	}
	return replyOf(a, s.id), nil
}

func replyOf(a answer, id int) reply {
	got := reply{answer: a}
	var e struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      any             `json:"id"`
		Result  json.RawMessage `json:"result"`
		Error   *struct {
			Code    int             `json:"code"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(a.body, &e); {
	case err != nil:
		got.form = "it is no JSON: " + excerpt(a.body)
	case e.JSONRPC != "2.0":
		got.form = "it is no message of JSON-RPC 2.0"
	case e.Error != nil:
		got.code, got.said, got.data = e.Error.Code, e.Error.Message, e.Error.Data
	case len(e.Result) == 0:
		got.form = "it has neither result nor error"
	case e.ID != float64(id):
		got.form = fmt.Sprintf("its id is %v, that of the request is %d", e.ID, id)
	case a.media != mediaJSON && a.media != mediaStream:
		got.form = fmt.Sprintf("its media type is %q", a.media)
	}
	got.result = e.Result
	return got
}

// lastEvent is the data of the event of a stream that answers: the first that is no
// request and no notification.
func lastEvent(body io.Reader) ([]byte, error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxAnswer)
	var data []byte
	for lines.Scan() {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			continue
		}
		if len(lines.Bytes()) > 0 || len(data) == 0 {
			continue
		}
		var m struct {
			Method string `json:"method"`
		}
		if json.Unmarshal(data, &m) != nil || m.Method == "" {
			return data, nil
		}
		data = data[:0]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, errors.New("the stream ended without an answer")
	}
	return data, nil
}

// discovered checks what a modern server says of itself.
func (s *server) discovered(a reply) {
	s.r.part("server/discover", func() string {
		o, ok := s.object("server/discover", a)
		if !ok {
			return ""
		}
		versions := o.texts("supportedVersions", true)
		if !oneOf(modern, versions...) {
			s.r.fault(o.where("supportedVersions"), "it answers %s, which is not among %s", modern, strings.Join(versions, ", "))
		}
		o.child("capabilities", true)
		o.text("instructions", false)
		s.cached(o)
		if meta, ok := o.child("_meta", false); ok {
			if info, ok := meta.child(metaKey+"serverInfo", false); ok {
				s.named(info)
			}
		}
		if s.r.Name == "" {
			s.r.warn("server/discover", "it does not say its name (_meta %sserverInfo)", metaKey)
		}
		return "versions " + strings.Join(versions, ", ")
	})
}

func (s *server) named(info object) {
	s.r.Name = info.text("name", true)
	info.text("version", true)
}

// object is the result of a reply, and of a modern server a complete one.
func (s *server) object(check string, a reply) (object, bool) {
	switch {
	case a.form != "":
		s.r.fault(check, "the answer (%s): %s", a.answer, a.form)
		return object{}, false
	case a.code != 0:
		s.r.fault(check, "it is refused: %d %s", a.code, a.said)
		return object{}, false
	}
	o, err := parse(s.r, check, a.result)
	if err != nil {
		s.r.fault(check, "the result: %v", err)
		return object{}, false
	}
	if o.at = check; s.modern {
		if kind := o.text("resultType", true); kind != "" && kind != "complete" {
			s.r.fault(o.where("resultType"), "%q must be complete", kind)
		}
	}
	return o, true
}

// cached checks how long an answer may be kept.
func (s *server) cached(o object) {
	if !s.modern {
		return
	}
	if ms, ok := typed[float64](o, "ttlMs", true, "a number"); ok && ms < 0 {
		s.r.fault(o.where("ttlMs"), "it must not be negative")
	}
	if scope := o.text("cacheScope", true); scope != "" && !oneOf(scope, "public", "private") {
		s.r.fault(o.where("cacheScope"), "%q must be public or private", scope)
	}
}

// older speaks to a server of before: it must be greeted first.
func (s *server) older(ctx context.Context, first reply) {
	s.modern, s.version = false, legacy
	a, err := s.call(ctx, "initialize", map[string]any{
		"protocolVersion": legacy, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "agentmesh-inspect", "version": "1"},
	}, nil)
	switch {
	case err != nil:
		s.r.fault("initialize", "it is not reached: %v", err)
		return
	case a.secret():
		s.closed(a)
		return
	case a.form != "" && first.form != "":
		s.r.fault("server", "it is no server of MCP: POST answers %s, and %s", a.answer, a.form)
		return
	}
	s.session = a.header.Get("Mcp-Session-Id")
	s.r.part("initialize", func() string {
		o, ok := s.object("initialize", a)
		if !ok {
			return ""
		}
		s.version = o.text("protocolVersion", true)
		o.child("capabilities", true)
		o.text("instructions", false)
		if info, ok := o.child("serverInfo", true); ok {
			s.named(info)
		}
		return "version " + s.version
	})
	if s.version == "" {
		return
	}
	s.r.warn("version", "it does not speak %s: a call that is cut off cannot be gone on with", modern)
	if a, err := s.call(ctx, "notifications/initialized", nil, nil); err != nil || a.status != http.StatusAccepted {
		s.r.fault("notifications/initialized", "it must be answered with 202, not with %s", outcome(a, err))
	}
	s.tools(ctx)
	s.refuse(ctx, refusedCall{check: "unknown method", method: "inspect/nothing", code: -32601})
	if s.session != "" {
		_, _ = s.t.do(ctx, http.MethodDelete, s.t.URL, nil, http.Header{"Mcp-Session-Id": {s.session}, protocolH: {s.version}})
	}
}

func outcome(a reply, err error) string {
	if err != nil {
		return err.Error()
	}
	return a.String()
}

// refusedCall is a request that must be refused.
type refusedCall struct {
	check, method string
	status, code  int // status 0: any
	change        func(h http.Header, params map[string]any)
}

// refuses asks a modern server for what it must refuse.
func (s *server) refuses(ctx context.Context) {
	meta := func(params map[string]any) map[string]any { return params["_meta"].(map[string]any) }
	for _, c := range []refusedCall{
		{"unknown method", "inspect/nothing", http.StatusNotFound, -32601, nil},
		{"another method in its header", "tools/list", http.StatusBadRequest, -32020, func(h http.Header, _ map[string]any) { h[methodH] = []string{"prompts/list"} }},
		{"no version in the headers", "tools/list", http.StatusBadRequest, -32020, func(h http.Header, _ map[string]any) { delete(h, protocolH) }},
		{"no client capabilities", "tools/list", http.StatusBadRequest, -32602, func(_ http.Header, p map[string]any) { delete(meta(p), metaKey+"clientCapabilities") }},
		{"unknown version", "tools/list", http.StatusBadRequest, -32022, func(h http.Header, p map[string]any) {
			h[protocolH] = []string{"2099-01-01"}
			meta(p)[metaKey+"protocolVersion"] = "2099-01-01"
		}},
	} {
		s.refuse(ctx, c)
	}
	a, err := s.t.do(ctx, http.MethodGet, s.t.URL, nil, http.Header{"Accept": {mediaStream}})
	switch {
	case err != nil:
		s.r.warn("GET", "%v", err)
	case a.status != http.StatusMethodNotAllowed:
		s.r.warn("GET", "it answers %s; %s has POST only, and 405 for the rest", a, modern)
	default:
		s.r.good("GET", "405")
	}
}

func (s *server) refuse(ctx context.Context, c refusedCall) {
	a, err := s.call(ctx, c.method, nil, c.change)
	switch {
	case err != nil:
		s.r.fault(c.check, "%v", err)
	case a.code == 0 && a.form != "" && a.status/100 == 4 && !s.modern:
		s.r.warn(c.check, "it is refused with %s, without an error of JSON-RPC", a.answer)
	case a.code == 0:
		s.r.fault(c.check, "it must be refused with %d, the answer is %s%s", c.code, a.answer, note(a.form))
	case a.code != c.code:
		s.r.fault(c.check, "the error is %d, it must be %d", a.code, c.code)
	case c.status != 0 && a.status != c.status:
		s.r.fault(c.check, "the error %d comes with %s, it must be %d", a.code, a.answer, c.status)
	case c.code == -32022 && !supported(a.data):
		s.r.fault(c.check, "the error has no data.supported, so a client does not know what to speak")
	default:
		s.r.good(c.check, "it is refused with %d", a.code)
	}
}

func note(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func supported(data json.RawMessage) bool {
	var d struct {
		Supported []string `json:"supported"`
	}
	return json.Unmarshal(data, &d) == nil && len(d.Supported) > 0
}

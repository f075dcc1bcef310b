package mcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	exact "github.com/go-json-experiment/json"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/telemetry"
)

// Request is one that the gateway admitted: its body is one JSON value within the
// limits, without duplicate keys.
type Request struct {
	Caller     auth.Caller
	Agent      string // of the endpoint; empty: all agents
	Body       []byte
	Key        string // Idempotency-Key, empty: none
	EventDepth int
	Permit     func(auth.Scope) error // refuses a caller without a scope
}

// modern is the first version without sessions.
const modern = "2026-07-28"

// asked is a request as far as the face looks into it before the SDK does.
type asked struct {
	Request
	version string // of JSON-RPC
	id      json.RawMessage
	method  string
	params  struct {
		Name           string                   `json:"name"`
		URI            string                   `json:"uri"`
		TaskID         string                   `json:"taskId"`
		Arguments      json.RawMessage          `json:"arguments"`
		InputResponses map[string]inputResponse `json:"inputResponses"`
		RequestState   string                   `json:"requestState"`
		Notifications  struct {
			TaskIDs []string `json:"taskIds"`
			Tools   bool     `json:"toolsListChanged"`
		} `json:"notifications"`
		Meta struct {
			Version      string          `json:"io.modelcontextprotocol/protocolVersion"`
			Client       json.RawMessage `json:"io.modelcontextprotocol/clientInfo"`
			Progress     json.RawMessage `json:"progressToken"`
			Capabilities *struct {
				Elicitation *json.RawMessage           `json:"elicitation"`
				Extensions  map[string]json.RawMessage `json:"extensions"`
			} `json:"io.modelcontextprotocol/clientCapabilities"`
			Key         string `json:"mesh/idempotency_key"`
			TraceParent string `json:"traceparent"`
			TraceState  string `json:"tracestate"`
		} `json:"_meta"`
	}
	task *taskResult // that the call goes on as
}

func (a *asked) modern() bool { return a.params.Meta.Version >= modern }

func (a *asked) elicits() bool {
	can := a.params.Meta.Capabilities
	return a.modern() && can != nil && can.Elicitation != nil
}

// knowsTasks says whether the client declared with this request that it takes a task
// for an answer.
func (a *asked) knowsTasks() bool {
	can := a.params.Meta.Capabilities
	if can == nil {
		return false
	}
	_, ok := can.Extensions[tasksExtension]
	return ok && a.modern()
}

// askedKey is where a request is in the context of its handlers.
type askedKey struct{}

func askedOf(ctx context.Context) *asked {
	a, ok := ctx.Value(askedKey{}).(*asked)
	if !ok {
		panic("a request of MCP comes without its caller") // the SDK hands on what the context has
	}
	return a
}

// parse looks into a request. What it cannot read is left to the SDK to refuse. Names of
// members are exact, as they are to the SDK: of what somebody may do and of what is
// done, both must think the same.
func parse(in Request) (*asked, bool) {
	a := &asked{Request: in}
	var envelope struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}
	if exact.Unmarshal(in.Body, &envelope) != nil {
		return a, false
	}
	a.version, a.id, a.method = envelope.Version, envelope.ID, envelope.Method
	return a, len(envelope.Params) == 0 || exact.Unmarshal(envelope.Params, &a.params) == nil
}

// Serve answers a request. The error is a refusal of the gateway, and nothing is
// written then.
func (f *Face) Serve(w http.ResponseWriter, r *http.Request, in Request) error {
	a, ok := parse(in)
	if !ok && a.method == "" {
		WriteError(w, http.StatusBadRequest, a.id, jsonrpc.CodeInvalidRequest, "The body is no JSON-RPC request. Send one object with jsonrpc, id and method; batches are not taken.")
		return nil
	}
	if !ok {
		WriteError(w, http.StatusBadRequest, a.id, jsonrpc.CodeInvalidParams, "The params are not those of "+a.method+".")
		return nil
	}
	e, err := f.endpoint(r.Context(), in.Caller, in.Agent)
	if err != nil {
		return err
	}
	for _, need := range e.scopes(a) {
		if err := in.Permit(need); err != nil {
			return err
		}
	}
	if a.method == "resources/read" && !json.Valid([]byte(strconv.Quote(a.params.URI))) { // the SDK's error would not encode, and nothing be answered
		writeRefusal(w, a.id, invalid("Resource not found: there is none of this name."))
		return nil
	}
	if a.modern() && strings.HasPrefix(a.method, "tasks/") && !headerNames(r, a) {
		WriteError(w, http.StatusBadRequest, a.id, sdk.CodeHeaderMismatch, "The Mcp-Name header must be the taskId of the params.")
		return nil
	}
	ctx := context.WithValue(r.Context(), askedKey{}, a)
	if a.params.Meta.TraceParent != "" {
		ctx = telemetry.WithTraceParent(ctx, a.params.Meta.TraceParent, a.params.Meta.TraceState)
	}
	w.Header().Set("X-Accel-Buffering", "no")
	r = r.WithContext(ctx)
	if agent := (calls{e}).direct(r, a); agent != nil {
		calls{e}.answerDirectly(w, r, a, agent)
		return nil
	}
	if a.listensToTasks(r) {
		return e.listen(w, r, a)
	}
	if a.method == "subscriptions/listen" {
		var end func()
		ctx, end = e.refreshing(ctx)
		defer end()
	}
	r = r.WithContext(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(in.Body)), int64(len(in.Body))
	e.handler.ServeHTTP(w, r)
	return nil
}

// refreshEvery is how often the tools of one who listens for their changes are looked
// at.
const refreshEvery = time.Second

// refreshing has the tools follow the agents while somebody listens, until the
// gateway closes.
func (e *endpoint) refreshing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.Closing, cancel)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause.For(ctx, refreshEvery) {
			_, _ = e.endpoint(ctx, askedOf(ctx).Caller, e.agent)
		}
	}()
	return ctx, func() { stop(); cancel(); <-done }
}

// headerNames says whether Mcp-Name is the task of a request about one; a method that
// is none of ours is not asked.
func headerNames(r *http.Request, a *asked) bool {
	switch a.method {
	case "tasks/get", "tasks/update", "tasks/cancel":
	default:
		return true
	}
	name := strings.TrimSpace(r.Header.Get("Mcp-Name"))
	if inner, ok := strings.CutPrefix(name, "=?base64?"); ok {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(inner, "?="))
		if err != nil {
			return false
		}
		name = string(b)
	}
	return name == a.params.TaskID && name != ""
}

// scopes are what a method needs of its caller.
func (e *endpoint) scopes(a *asked) []auth.Scope {
	switch a.method {
	case "tools/list":
		return []auth.Scope{auth.AgentsRead}
	case "subscriptions/listen":
		switch n := a.params.Notifications; {
		case len(n.TaskIDs) > 0 && n.Tools:
			return []auth.Scope{auth.TasksRead, auth.AgentsRead}
		case len(n.TaskIDs) > 0:
			return []auth.Scope{auth.TasksRead}
		}
		return []auth.Scope{auth.AgentsRead}
	case "resources/read", "tasks/get":
		return []auth.Scope{auth.TasksRead}
	case "tasks/update":
		return []auth.Scope{auth.TasksInput}
	case "tasks/cancel":
		return []auth.Scope{auth.TasksWrite}
	case "tools/call":
		return e.scopesOfCall(a)
	}
	return nil
}

func (e *endpoint) scopesOfCall(a *asked) []auth.Scope {
	switch a.params.Name {
	case toolStatus:
		return []auth.Scope{auth.TasksRead}
	case toolAnswer:
		return []auth.Scope{auth.TasksInput}
	}
	need := []auth.Scope{auth.TasksWrite}
	if agent := e.tool(a.params.Name); agent != nil && agent.Converses() {
		need[0] = auth.SessionsWrite
	}
	if a.params.RequestState != "" || len(a.params.InputResponses) > 0 {
		need = append(need, auth.TasksInput)
	}
	return need
}

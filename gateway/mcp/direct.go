package mcp

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
)

// Most requests are plain calls. The SDK makes a session with its goroutines for each
// and takes as long as the rest of the call (BenchmarkMCPCall); what needs nothing of
// that is answered here, in the form that the SDK has.

// proper says whether a modern request has all that one must have, so that the SDK
// would find nothing wrong with it. What is not proper is left to it to refuse.
func (a *asked) proper(r *http.Request) bool {
	h, m := r.Header, a.params.Meta
	return a.version == "2.0" && len(a.id) > 0 && strings.IndexByte(`"-0123456789`, a.id[0]) >= 0 &&
		m.Version == modern && h.Get("MCP-Protocol-Version") == modern && m.Capabilities != nil && (len(m.Client) == 0 || m.Client[0] == '{') &&
		strings.TrimSpace(h.Get("Mcp-Method")) == a.method && takesBoth(h)
}

// takesBoth says whether a client takes both forms of an answer.
func takesBoth(h http.Header) bool {
	var object, stream bool
	for _, line := range h.Values("Accept") {
		for one := range strings.SplitSeq(line, ",") {
			kind, _, _ := mime.ParseMediaType(one)
			object, stream = object || kind == "application/json", stream || kind == "text/event-stream"
		}
	}
	return object && stream
}

// direct is the agent that a plain call is for, nil when the request is anything else:
// one whose progress is to be told is a stream.
func (e calls) direct(r *http.Request, a *asked) *mesh.Agent {
	if a.method != "tools/call" || len(a.params.Meta.Progress) > 0 || strings.TrimSpace(r.Header.Get("Mcp-Name")) != a.params.Name || !a.proper(r) {
		return nil
	}
	return e.tool(a.params.Name)
}

// answerDirectly answers a plain call.
func (e calls) answerDirectly(w http.ResponseWriter, r *http.Request, a *asked, agent *mesh.Agent) {
	res, err := e.call(r.Context(), a, agent, nil)
	var refused *jsonrpc.Error
	switch {
	case errors.As(err, &refused):
		status := http.StatusOK
		if refused.Code == jsonrpc.CodeInvalidParams || refused.Code == sdk.CodeMissingRequiredClientCapabilities {
			status = http.StatusBadRequest
		}
		writeError(w, status, a.id, refused)
		return
	case err != nil: // nobody is there any more
		return
	}
	var body []byte
	meta := sdk.Meta{sdk.MetaKeyServerInfo: e.self}
	if a.task != nil {
		a.task.Meta = meta
		body, err = json.Marshal(a.task)
	} else {
		kind := `{"resultType":"complete",`
		if len(res.InputRequests) > 0 {
			kind = `{"resultType":"input_required",`
		}
		res.Meta = meta
		if body, err = json.Marshal(res); err == nil {
			body = append([]byte(kind), body[1:]...)
		}
	}
	if err != nil {
		e.Log.Error("a result does not encode", "error", err)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(append(append(append([]byte(`{"jsonrpc":"2.0","id":`), a.id...), `,"result":`...), body...), '}'))
}

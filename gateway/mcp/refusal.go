package mcp

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
)

// clientsFault are the refusals of what a client sent.
var clientsFault = []*mesh.Refusal{
	mesh.ErrInputInvalid, mesh.ErrValidationFailed, mesh.ErrNumberOutOfRange, mesh.ErrInputTooComplex, mesh.ErrAgentNotFound, mesh.ErrTaskNotFound,
	mesh.ErrIdempotencyKeyReused, mesh.ErrAlreadyAnswered, mesh.ErrTaskFinished, mesh.ErrCallTooDeep, mesh.ErrEventChainTooDeep,
}

// refusalData is what a program reads of a refusal.
type refusalData struct {
	Code       string         `json:"code"`
	Errors     []mesh.Invalid `json:"errors,omitempty"`
	RetryAfter int            `json:"retry_after_seconds,omitempty"`
}

// failed is the JSON-RPC error that an error means.
func failed(err error) error {
	var already *jsonrpc.Error
	if errors.As(err, &already) {
		return err
	}
	refused := mesh.RefusalOf(err)
	e := &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: refused.Detail}
	if slices.Contains(clientsFault, refused.Refusal) {
		e.Code = jsonrpc.CodeInvalidParams
	}
	if e.Message == "" {
		e.Message = refused.Refusal.Title
	}
	data := refusalData{Code: refused.Refusal.Code, RetryAfter: int((refused.Wait() + time.Second - 1) / time.Second)}
	for _, f := range refused.Faults {
		f.Pointer = "/arguments" + strings.TrimPrefix(f.Pointer, "/input")
		data.Errors = append(data.Errors, f)
	}
	e.Data, _ = json.Marshal(data)
	return e
}

func invalid(message string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message}
}

// lacking is the error of a client that did not declare what an answer needs.
func lacking(message string, capabilities string) error {
	return &jsonrpc.Error{
		Code: sdk.CodeMissingRequiredClientCapabilities, Message: message,
		Data: json.RawMessage(`{"requiredCapabilities":` + capabilities + `}`),
	}
}

// WriteError answers a request that does not get as far as its method. id is nil where
// it is not known.
func WriteError(w http.ResponseWriter, status int, id json.RawMessage, code int64, message string) {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	writeError(w, status, id, &jsonrpc.Error{Code: code, Message: message})
}

func writeError(w http.ResponseWriter, status int, id json.RawMessage, refused *jsonrpc.Error) {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": refused})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

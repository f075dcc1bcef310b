package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// maxShown is the largest result in bytes that is in the answer itself.
const maxShown = 1 << 20

// protocolError is the code by which an agent says that the call itself failed.
const protocolError = "protocol_error"

func text(s string) []sdk.Content { return []sdk.Content{&sdk.TextContent{Text: s}} }

// failure is the result of a tool that failed.
func failure(code, message string) *sdk.CallToolResult {
	return &sdk.CallToolResult{
		Content: text(code + ": " + message), IsError: true,
		StructuredContent: map[string]any{"error": map[string]any{"code": code, "message": message}},
	}
}

// outcome is the result of a task that has ended. The error is that of a call that
// failed as such.
func (e *endpoint) outcome(ctx context.Context, a *asked, t *task.Task) (*sdk.CallToolResult, error) {
	switch {
	case t.Status == task.Canceled:
		return failure("canceled", "The task "+string(t.ID)+" was canceled."), nil
	case t.Status == task.Failed && t.Error != nil && t.Error.Code == protocolError:
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: t.Error.Message}
	case t.Status == task.Failed && t.Error != nil:
		return failure(t.Error.Code, t.Error.Message), nil
	case t.Status == task.Failed:
		return failure("failed", "The task failed."), nil
	case t.Result.Size > maxShown || len(t.Result.Inline) > maxShown:
		return e.linked(t), nil
	}
	raw, err := e.read(ctx, t.Result)
	if err != nil {
		return nil, failed(err)
	}
	if t.Kind == task.KindTurn {
		return reply(t, raw), nil
	}
	if agent := e.tool(toolName(t.Agent)); agent != nil && len(agent.OutputSchema) > 0 {
		return structured(raw, a.modern()), nil
	}
	return shown(raw, a.modern()), nil
}

// read reads a value whole.
func (e *endpoint) read(ctx context.Context, v task.Value) ([]byte, error) {
	if v.Object == "" {
		return v.Inline, nil
	}
	r, err := e.Mesh.Tasks.OpenValue(ctx, v)
	if errors.Is(err, task.ErrNotFound) {
		return nil, mesh.Refuse(mesh.ErrResultExpired, "The task's record is still there, its result is not.")
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, v.Size))
}

// linked says where a large result is.
func (e *endpoint) linked(t *task.Task) *sdk.CallToolResult {
	size := max(t.Result.Size, int64(len(t.Result.Inline)))
	return &sdk.CallToolResult{Content: []sdk.Content{
		&sdk.ResourceLink{URI: resultURI(t.ID), Name: "result of " + string(t.ID), MIMEType: "application/json", Size: &size},
		&sdk.TextContent{Text: fmt.Sprintf("The result has %d bytes. Read the resource, or GET %s/tasks/%s/result.", size, e.PublicURL, t.ID)},
	}, StructuredContent: map[string]any{"task_id": t.ID, "status": t.Status}}
}

// reply is the result of a turn.
func reply(t *task.Task, raw []byte) *sdk.CallToolResult {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(raw, &said) // a worker wrote it
	return &sdk.CallToolResult{Content: text(said.Message), StructuredContent: map[string]any{"session_id": t.SessionID, "message": said.Message}}
}

// shown is the result that an agent's JSON value means. Structured content of any kind
// is modern: before, it was an object.
func shown(raw []byte, anyKind bool) *sdk.CallToolResult {
	if len(raw) == 0 {
		raw = []byte("null")
	}
	var plain string
	if json.Unmarshal(raw, &plain) == nil && string(raw) != "null" {
		return &sdk.CallToolResult{Content: text(plain)}
	}
	var object map[string]json.RawMessage
	isObject := json.Unmarshal(raw, &object) == nil && object != nil
	if isObject && len(object) == 1 {
		if v, ok := object["text"]; ok && json.Unmarshal(v, &plain) == nil && string(v) != "null" {
			return &sdk.CallToolResult{Content: text(plain)}
		}
		if v, ok := object["content"]; ok && len(v) > 0 && v[0] == '[' {
			var passed sdk.CallToolResult
			if json.Unmarshal(raw, &passed) == nil && len(passed.Content) > 0 {
				return &sdk.CallToolResult{Content: passed.Content}
			}
		}
	}
	return structured(raw, anyKind)
}

// structured is the result whose value is the structured content.
func structured(raw []byte, anyKind bool) *sdk.CallToolResult {
	if len(raw) == 0 {
		raw = []byte("null")
	}
	var object map[string]json.RawMessage
	content := json.RawMessage(raw)
	if isObject := json.Unmarshal(raw, &object) == nil && object != nil; !isObject && !anyKind {
		content = json.RawMessage(`{"result":` + string(raw) + `}`)
	}
	shown, plain := string(raw), ""
	if json.Unmarshal(raw, &plain) == nil && shown != "null" {
		shown = plain
	}
	return &sdk.CallToolResult{Content: text(shown), StructuredContent: content}
}

// handle is the answer of a call that was held long enough: how to go on.
func handle(t *task.Task) *sdk.CallToolResult {
	said := map[string]any{"task_id": t.ID, "status": t.Status}
	message := fmt.Sprintf("The task %s is still running. Call %s with its task_id to wait for the result, or %s to stop it.", t.ID, toolStatus, toolCancel)
	if open := t.Questions(); len(open) > 0 {
		questions := make([]map[string]any, 0, len(open))
		message = fmt.Sprintf("The task %s asks:", t.ID)
		for _, q := range open {
			message += " " + q.Prompt
			questions = append(questions, map[string]any{"name": q.Name, "prompt": q.Prompt, "schema": q.Schema})
		}
		message += fmt.Sprintf(" Call %s with its task_id and the answer.", toolAnswer)
		said["questions"] = questions
	}
	if t.SessionID != "" {
		said["session_id"] = t.SessionID
	}
	return &sdk.CallToolResult{Content: text(message), StructuredContent: said}
}

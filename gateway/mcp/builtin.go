package mcp

import (
	"context"
	"encoding/json"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// Our own tools, by which a client that knows no tasks goes on with one.
const (
	toolStatus = "mesh_task_status"
	toolAnswer = "mesh_task_answer"
	toolCancel = "mesh_task_cancel"
)

// maxStatusWait is the longest that mesh_task_status waits: common clients give up
// after a minute.
const maxStatusWait = 50

// ownTools are the tools of ours.
type ownTools struct{ *endpoint }

func (e ownTools) add() {
	closed := false
	e.server.AddTool(&sdk.Tool{
		Name: toolStatus, Title: "Status of a task", Description: "Says how a task that a tool began is going, and gives its result when it has ended.",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"task_id":{"type":"string"},"wait_seconds":{"type":"integer","minimum":0,"maximum":50,"description":"How long to wait for the end."}},"required":["task_id"]}`),
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &closed},
	}, e.status)
	e.server.AddTool(&sdk.Tool{
		Name: toolAnswer, Title: "Answer a task", Description: "Answers the question that a task asks.",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"task_id":{"type":"string"},"answer":{"description":"As the question's schema says."},"name":{"type":"string","description":"Of the question, where several are open."}},"required":["task_id","answer"]}`),
		Annotations: &sdk.ToolAnnotations{OpenWorldHint: &closed},
	}, e.answered)
	e.server.AddTool(&sdk.Tool{
		Name: toolCancel, Title: "Cancel a task", Description: "Cancels a task that a tool began.",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"task_id":{"type":"string"}},"required":["task_id"]}`),
		Annotations: &sdk.ToolAnnotations{IdempotentHint: true, OpenWorldHint: &closed},
	}, e.canceled)
}

// find reads a task of the endpoint. One of another tenant or agent is not there.
func (e *endpoint) find(ctx context.Context, a *asked, id task.ID) (*task.Task, error) {
	t, err := e.Mesh.Tasks.Get(ctx, a.Caller, id)
	if err != nil {
		return nil, err
	}
	if e.agent != "" && t.Agent != e.agent {
		return nil, mesh.Refuse(mesh.ErrTaskNotFound, "There is no task %s of the agent %s.", mesh.Clip(id, 64), e.agent)
	}
	return t, nil
}

// status is mesh_task_status.
func (e ownTools) status(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	a := askedOf(ctx)
	var in struct {
		TaskID task.ID `json:"task_id"`
		Wait   int     `json:"wait_seconds"`
	}
	if json.Unmarshal(a.params.Arguments, &in) != nil || in.Wait < 0 || in.Wait > maxStatusWait {
		return nil, invalid("task_id must be the id of a task, and wait_seconds 0 to 50.")
	}
	t, err := e.find(ctx, a, in.TaskID)
	if err != nil {
		return nil, failed(err)
	}
	if in.Wait > 0 && !t.Status.Terminal() && len(t.Questions()) == 0 {
		release, err := e.Mesh.Tenants.Hold(a.Caller, mesh.HeldWait)
		if err != nil {
			return nil, failed(err)
		}
		defer release()
		t, err = e.follow(ctx, a, t.ID, time.Duration(in.Wait)*time.Second, func(t *task.Task) bool {
			return !t.Status.Terminal() && len(t.Questions()) == 0
		})
		if err != nil {
			return nil, failed(err)
		}
	}
	if t.Status.Terminal() {
		return e.outcome(ctx, a, t)
	}
	return handle(t), nil
}

// answered is mesh_task_answer.
func (e ownTools) answered(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	a := askedOf(ctx)
	var in struct {
		TaskID task.ID         `json:"task_id"`
		Name   string          `json:"name"`
		Answer json.RawMessage `json:"answer"`
	}
	if json.Unmarshal(a.params.Arguments, &in) != nil || len(in.Answer) == 0 {
		return nil, invalid("task_id must be the id of a task, and answer its answer.")
	}
	if _, err := e.find(ctx, a, in.TaskID); err != nil {
		return nil, failed(err)
	}
	done, err := e.Mesh.Tasks.Answer(ctx, a.Caller, in.TaskID, mesh.AnswerRequest{Name: in.Name, Value: in.Answer, Key: a.key()})
	if err != nil {
		return nil, failed(err)
	}
	return handle(done.Task), nil
}

// canceled is mesh_task_cancel.
func (e ownTools) canceled(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	a := askedOf(ctx)
	var in struct {
		TaskID task.ID `json:"task_id"`
	}
	if json.Unmarshal(a.params.Arguments, &in) != nil {
		return nil, invalid("task_id must be the id of a task.")
	}
	if err := e.cancel(ctx, a, in.TaskID); err != nil {
		return nil, failed(err)
	}
	return &sdk.CallToolResult{Content: text("The task " + string(in.TaskID) + " is canceled."), StructuredContent: map[string]any{"task_id": in.TaskID, "status": task.Canceled}}, nil
}

// cancel cancels a task or a turn.
func (e *endpoint) cancel(ctx context.Context, a *asked, id task.ID) error {
	t, err := e.find(ctx, a, id)
	if err != nil {
		return err
	}
	if t.Kind == task.KindTurn {
		_, err = e.Mesh.Sessions.Cancel(ctx, a.Caller, t)
	} else {
		_, err = e.Mesh.Tasks.Cancel(ctx, a.Caller, id)
	}
	return err
}

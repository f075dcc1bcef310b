package mcp

import (
	"context"
	"errors"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// taskParams are those of the methods of the tasks extension.
type taskParams struct {
	sdk.ParamsBase
	TaskID string `json:"taskId"`
}

// taskResult is a task on the wire.
type taskResult struct {
	sdk.ResultBase
	ResultType    string              `json:"resultType,omitempty"`
	TaskID        task.ID             `json:"taskId"`
	Status        string              `json:"status"`
	StatusMessage string              `json:"statusMessage,omitempty"`
	CreatedAt     time.Time           `json:"createdAt"`
	LastUpdatedAt time.Time           `json:"lastUpdatedAt"`
	TTL           int64               `json:"ttlMs"`
	PollInterval  int64               `json:"pollIntervalMs"`
	Result        *sdk.CallToolResult `json:"result,omitempty"`
	Error         *jsonrpc.Error      `json:"error,omitempty"`
	InputRequests sdk.InputRequestMap `json:"inputRequests,omitempty"`
}

// doneResult is the answer of a method that says no more.
type doneResult struct {
	sdk.ResultBase
	ResultType string `json:"resultType"`
}

// extension is the methods of the tasks extension.
type extension struct{ *endpoint }

func (e extension) add() {
	e.server.AddReceivingMiddleware(durable)
	for method, serve := range map[string]func(context.Context, *asked) (*taskResult, error){"tasks/get": e.getTask} {
		must(sdk.AddReceivingCustomMethod(e.server, method, func(ctx context.Context, _ *sdk.ServerSession, _ *taskParams) (*taskResult, error) {
			return ofTask(ctx, serve)
		}))
	}
	for method, serve := range map[string]func(context.Context, *asked) (*doneResult, error){"tasks/update": e.updateTask, "tasks/cancel": e.cancelTask} {
		must(sdk.AddReceivingCustomMethod(e.server, method, func(ctx context.Context, _ *sdk.ServerSession, _ *taskParams) (*doneResult, error) {
			return ofTask(ctx, serve)
		}))
	}
}

func must(err error) {
	if err != nil {
		panic(err) // the names of the methods are ours
	}
}

// durable answers a call with the task that it goes on as, where the call says so. It
// lets through what was permitted, and nothing else.
func durable(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		if method != askedOf(ctx).method {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "The request can be read in more than one way."}
		}
		res, err := next(ctx, method, req)
		if method == "tools/call" && err == nil {
			if t := askedOf(ctx).task; t != nil {
				return t, nil
			}
		}
		return res, err
	}
}

// ofTask serves a method of the extension to those who declared it.
func ofTask[R any](ctx context.Context, serve func(context.Context, *asked) (*R, error)) (*R, error) {
	a := askedOf(ctx)
	switch {
	case !a.modern():
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: a.method + " is of protocol version " + modern + "."}
	case !a.knowsTasks():
		return nil, lacking("Declare the tasks extension with each request.", tasksCapability)
	}
	r, err := serve(ctx, a)
	if err != nil {
		return nil, failed(err)
	}
	return r, nil
}

// getTask is tasks/get.
func (e extension) getTask(ctx context.Context, a *asked) (*taskResult, error) {
	t, err := e.find(ctx, a, task.ID(a.params.TaskID))
	if err != nil {
		return nil, err
	}
	return e.detailed(ctx, a, t)
}

// detailed is a task with its outcome or its questions.
func (e *endpoint) detailed(ctx context.Context, a *asked, t *task.Task) (v *taskResult, err error) {
	v = view(a, t)
	v.ResultType = "complete"
	if v.Status == "input_required" {
		v.InputRequests = inputRequests(t, questionKey)
	}
	if v.Status != "completed" && v.Status != "failed" {
		return v, nil
	}
	v.Result, err = e.outcome(ctx, a, t)
	var broken *jsonrpc.Error
	if errors.As(err, &broken) {
		v.Status, v.Error = "failed", broken
		return v, nil
	}
	return v, err
}

// updateTask is tasks/update.
func (e extension) updateTask(ctx context.Context, a *asked) (*doneResult, error) {
	t, err := e.find(ctx, a, task.ID(a.params.TaskID))
	if err == nil {
		err = e.respond(ctx, a, t)
	}
	return &doneResult{ResultType: "complete"}, err
}

// cancelTask is tasks/cancel, also of a task that has ended.
func (e extension) cancelTask(ctx context.Context, a *asked) (*doneResult, error) {
	err := e.cancel(ctx, a, task.ID(a.params.TaskID))
	if errors.Is(err, task.ErrFinished) {
		err = nil
	}
	return &doneResult{ResultType: "complete"}, err
}

// Intervals at which a client may ask.
const (
	pollFirst = time.Second
	pollLater = 5 * time.Second
	pollAsked = 2 * time.Second
	pollYoung = 10 * time.Second // how long a task is asked for often
)

// view is a task without its outcome.
func view(a *asked, t *task.Task) *taskResult {
	v := &taskResult{
		ResultType: "task", TaskID: t.ID, Status: "working", StatusMessage: t.Message, CreatedAt: t.CreatedAt, LastUpdatedAt: t.UpdatedAt,
		TTL: topology.Retention.Milliseconds(), PollInterval: pollFirst.Milliseconds(),
	}
	if v.LastUpdatedAt.IsZero() {
		v.LastUpdatedAt = t.CreatedAt
	}
	switch {
	case t.Status == task.Completed:
		v.Status = "completed"
	case t.Status == task.Failed:
		if v.Status = "completed"; t.Error != nil && t.Error.Code == protocolError {
			v.Status = "failed"
		}
	case t.Status == task.Canceled:
		v.Status = "cancelled"
	case len(t.Questions()) > 0 && a.elicits():
		v.Status, v.PollInterval = "input_required", pollAsked.Milliseconds()
	case len(t.Questions()) > 0:
		v.StatusMessage = "The agent asks a question. Answer it with POST /tasks/" + string(t.ID) + "/input."
	case time.Since(t.CreatedAt) > pollYoung:
		v.PollInterval = pollLater.Milliseconds()
	}
	return v
}

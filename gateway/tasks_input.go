package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// refusedAnswer are the refusals of an answer.
var refusedAnswer = []*mesh.Refusal{mesh.ErrTaskFinished, mesh.ErrAlreadyAnswered, mesh.ErrTooManyInputs, mesh.ErrInputTooComplex}

// taskInput answers a question of a task.
type taskInput struct {
	request
	ofTask
	keyed
	Body api.AnswerTask `body:"required"`
}

// taskAnswered is its answer.
type taskAnswered struct {
	Body     *api.Task `status:"202"`
	ETag     string    `header:"ETag" doc:"The version of the task."`
	Replayed string    `header:"Idempotent-Replayed" doc:"true: the key was known, and the answer was given before."`
}

// answerTask is POST /tasks/{id}/input. Of an answer, a cancel and the end of the
// question's time exactly one wins.
func (h tasks) answerTask(ctx context.Context, in taskInput) (out taskAnswered, err error) {
	key, err := in.key()
	if err != nil {
		return out, err
	}
	a, err := h.mesh.Tasks.Answer(ctx, in.caller(), task.ID(in.ID), mesh.AnswerRequest{Name: in.Body.Name, Value: in.Body.Value, Key: key})
	if err != nil {
		return out, err
	}
	v := h.show.view(in.links(), a.Task)
	return taskAnswered{Body: &v, ETag: etag(a.Task), Replayed: replayed(a.Replayed)}, nil
}

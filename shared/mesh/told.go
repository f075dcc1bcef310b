package mesh

import (
	"context"
	"encoding/json"
	"errors"

	"agentmesh/shared/auth"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// MaxTold is the largest line in bytes that an agent may tell through a gateway.
const MaxTold = 256 << 10

// Tell keeps what the agent of a task tells while it runs: a step, a checkpoint or what
// it waits for. lease is the key of its attempt. The answer says that it is durable.
func (c Journals) Tell(ctx context.Context, who auth.Caller, id task.ID, lease string, line json.RawMessage) (json.RawMessage, error) {
	if len(line) > MaxTold {
		return nil, Refuse(ErrTooLarge, "The line has %d bytes, allowed are %d: send it as a line of the answer to the mesh.", len(line), MaxTold)
	}
	t, err := c.find(ctx, who.Tenant, id, location{})
	if err != nil {
		return nil, err
	}
	shown, err := auth.ParseTaskKey(lease)
	if err != nil || shown.Tenant != t.Tenant || shown.Task != string(t.ID) {
		return nil, Refuse(ErrLeaseLost, "Show the lease of the attempt that runs, as its object has it: Authorization: Bearer <lease>.")
	}
	if t, err = runningTask(ctx, c.store, shown); err != nil {
		return nil, err
	}
	if t.Status != task.Processing || t.Lease == nil || !shown.Matches(t.Lease.Key) {
		return nil, leaseLost(t)
	}
	a, err := c.store.Steps.Tell(ctx, t.Lease.Worker, store.Told{Task: t.ID, Key: t.Lease.Key, Line: line})
	switch {
	case errors.Is(err, store.ErrNobody), errors.Is(err, task.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return nil, &Error{Refusal: ErrWorkerAway, Cause: err, Detail: "It is not known whether the line was kept. Send it again with the same n; when another attempt has the task, the answer is lease_lost."}
	case err != nil:
		return nil, err
	case a.Lost:
		return nil, leaseLost(t)
	case a.Fault != "":
		return nil, RefuseFields(Field(a.Fault, ""))
	}
	return a.Answer, nil
}

func leaseLost(t *task.Task) error {
	return Refuse(ErrLeaseLost, "Nothing of this attempt is kept any more: the task is %s, and its attempt is another one or has ended. Stop.", t.Status)
}

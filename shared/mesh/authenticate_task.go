package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// TaskAuthenticator knows an agent by the key of its attempt, whose hash stands in the
// task's record as long as the attempt runs: only who may write the record could have
// put it there. Each request costs a read.
type TaskAuthenticator struct {
	store *store.Store
	lock  lockout
}

// NewTaskAuthenticator makes one.
func NewTaskAuthenticator(st *store.Store, log *slog.Logger) *TaskAuthenticator {
	return &TaskAuthenticator{store: st, lock: lockout{log: log}}
}

// taskScopes are what the agent of a task may do, as its tenant. One whose key is
// narrow may tell its steps only, and read their values, which takes no scope.
var taskScopes = []auth.Scope{auth.TasksRead, auth.TasksWrite, auth.AgentsRead}

// Authenticate implements auth.Authenticator.
func (a *TaskAuthenticator) Authenticate(ctx context.Context, c auth.Credentials) (auth.Caller, error) {
	if !strings.HasPrefix(c.Bearer, auth.TaskKeyPrefix) {
		return auth.Caller{}, auth.ErrNoCredentials
	}
	shown, err := auth.ParseTaskKey(c.Bearer)
	if err == nil && (!auth.ValidTenant(shown.Tenant) || !task.ID(shown.Task).Valid()) {
		err = errors.New("its tenant or its task is none")
	}
	if err != nil {
		return auth.Caller{}, refusedKey("key of a task", err.Error())
	}
	// The wrong key is locked out, and no other of its task or its address: the agents
	// of a host share that address, and one of them may go on with an old key.
	name := shown.Task + " " + shown.Hash()[:16]
	if wait := a.lock.Wait(name, c.Addr); wait > 0 {
		return auth.Caller{}, fmt.Errorf("key of task %s: %w", shown.Task, &auth.Locked{Wait: wait})
	}
	t, err := runningTask(ctx, a.store, shown)
	switch {
	case errors.Is(err, task.ErrNotFound):
		a.lock.failed(ctx, name, c.Addr)
		return auth.Caller{}, refusedKey("key of task "+shown.Task, "there is no such task")
	case err != nil:
		return auth.Caller{}, err
	case t.Status != task.Processing || t.Lease == nil:
		return auth.Caller{}, refusedKey("key of task "+shown.Task, "no attempt of it runs, it is "+string(t.Status))
	case !shown.Matches(t.Lease.Key):
		a.lock.failed(ctx, name, c.Addr)
		return auth.Caller{}, refusedKey("key of task "+shown.Task, "it is not that of the attempt that runs")
	}
	who := auth.Caller{Tenant: t.Tenant, Subject: "agent " + t.Agent + " of " + string(t.ID)}
	if t.Lease.Narrow {
		who.Task = string(t.ID)
	} else {
		who.Scopes = taskScopes
	}
	return who, nil
}

// runningTask reads the task of a key. It runs, since it calls: where its claim is on its
// way, that is waited for.
func runningTask(ctx context.Context, st *store.Store, k auth.TaskKey) (*task.Task, error) {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		t, err := st.Tasks.Find(ctx, k.Tenant, task.ID(k.Task))
		if err != nil || t.Status != task.Pending || wait > claimWithin || !pause.For(ctx, wait) {
			return t, err
		}
	}
}

package worker

import (
	"context"
	"fmt"
	"maps"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// renewal is the part of a journal's beginning that looks at versions.
type renewal struct{ j *journal }

// decide decides what becomes of what another version of the agent has finished, as the
// agent's definition says. Copies that a retry has taken over are wanted.
func (r renewal) decide(ctx context.Context) error {
	j := r.j
	other, found := r.other()
	if !found {
		return nil
	}
	switch d := j.at.in.agent.Definition; d.OnNewVersion {
	case task.VersionFail:
		return &agent.Error{Code: task.CodeVersionChanged, Permanent: true, Message: fmt.Sprintf(
			"the task was begun by version %q of the agent, and this is %q, which takes no steps over: retry the task, or serve that version", other, d.Version)}
	case task.VersionRestart:
		j.log.InfoContext(ctx, "the task begins anew, another version of its agent had begun it", "version", d.Version, "before", other)
		return r.restart(ctx)
	}
	return nil
}

func (r renewal) other() (version string, found bool) {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.Epoch > 0 && e.Version != j.at.in.agent.Version {
			return e.Version, true
		}
	}
	return "", false
}

// restart drops what the runs before have finished and waited for: the record forgets it
// first. A crash in between leaves entries that have the next run do the same.
func (r renewal) restart(ctx context.Context) error {
	j := r.j
	if _, err := j.flag(ctx, flag{anew: true, forget: true}); err != nil {
		return err
	}
	if err := j.lock(ctx); err != nil {
		return err
	}
	defer j.writing.leave()
	if j.epoch > 0 {
		err := j.untilAnswered(ctx, func() error { return j.store.Steps.Purge(ctx, j.t.Tenant, j.t.ID, j.last) })
		if err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.anew = true
	maps.DeleteFunc(j.entries, func(_ string, e *noted) bool { return e.Entry != j.answer })
	j.weight, j.done = 0, 0
	for _, e := range j.entries {
		j.weight += e.Weight()
	}
	j.cursor.found(nil)
	return nil
}

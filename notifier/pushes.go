package notifier

import (
	"context"
	"fmt"
	"sync"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/event"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
	"agentmesh/shared/webhook"
)

// pushIndex knows which tasks have push configurations. Those of a task that has ended
// are forgotten when its end was told.
type pushIndex struct {
	store *store.Store
	rev   uint64 // up to which it has read; of whoever refreshes

	mu    sync.RWMutex
	tasks map[string]struct{}
}

func newPushIndex(st *store.Store) *pushIndex {
	return &pushIndex{store: st, tasks: map[string]struct{}{}}
}

func (p *pushIndex) refresh(ctx context.Context) (err error) {
	p.rev, err = p.store.Pushes.Changed(ctx, p.rev, func(owner string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tasks[owner] = struct{}{}
	})
	return err
}

func (p *pushIndex) has(owner string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.tasks[owner]
	return ok
}

func (p *pushIndex) forget(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tasks, owner)
}

// push hands the updates that a record tells over to the push configurations of its
// task. They are read anew each time: most tasks have none.
func (f *fanout) push(ctx context.Context, t *task.Task, owner string, repeated bool) (err error) {
	updates, err := a2aform.Updates(t, f.seen.upTo(t), f.resultURL)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if len(updates) > 0 {
		all, err := f.store.Pushes.Of(ctx, t.Tenant, t.ID)
		if err != nil {
			return err
		}
		ctx, span := startFanout(ctx, t)
		err = f.sendAll(ctx, t, updates, pushAudience(all), repeated)
		telemetry.End(span, err)
		if err != nil {
			return err
		}
	}
	if t.Status.Terminal() {
		f.pushes.forget(owner)
	}
	return nil
}

func pushAudience(all []*webhook.Push) (told audience) {
	every := event.Filter{Types: []event.Type{a2aform.StatusUpdate, a2aform.ArtifactUpdate}}
	for _, p := range all {
		told = append(told, receiver{push: p, filter: every, since: p.CreatedAt})
	}
	return told
}

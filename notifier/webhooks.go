package notifier

import (
	"context"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/store"
	"agentmesh/shared/webhook"
)

// subscribers are webhooks by whose events they want, so that a change looks at no
// others: a tenant may have thousands.
type subscribers map[subscribed][]*webhook.Endpoint

// subscribed is the tenant and the agent of events, no agent: any.
type subscribed struct{ tenant, agent string }

func subscribersOf(list []*webhook.Endpoint) subscribers {
	all := subscribers{}
	add := func(e *webhook.Endpoint, agent string) {
		if to := all[subscribed{e.Tenant, agent}]; len(to) == 0 || to[len(to)-1] != e {
			all[subscribed{e.Tenant, agent}] = append(to, e)
		}
	}
	for _, e := range list {
		if len(e.Agents) == 0 {
			add(e, "")
		}
		for _, agent := range e.Agents {
			add(e, agent)
		}
	}
	return all
}

// of are those that may want events of an agent's work.
func (s subscribers) of(tenant, agent string) []*webhook.Endpoint {
	if agent == "" {
		return s[subscribed{tenant, ""}]
	}
	return slices.Concat(s[subscribed{tenant, ""}], s[subscribed{tenant, agent}])
}

// webhooks is the list of all webhooks, read again when any has changed. The list
// that a caller gets is not older than the call: a webhook that was created
// before a task finished hears of it. Callers at the same time share one look.
type webhooks struct {
	store  *store.Store
	pushes *pushIndex    // kept up to date beside the list
	asked  chan struct{} // has a token until run begins the next look

	mu   sync.Mutex
	next *look // for those who ask now

	// These belong to run.
	rev  uint64 // of list
	list subscribers
	last time.Time // end of the last look
}

func newWebhooks(st *store.Store, pushes *pushIndex) *webhooks {
	return &webhooks{store: st, pushes: pushes, asked: make(chan struct{}, 1)}
}

// lookEvery is the pause between two looks while many ask: without it they took
// a fifth of the CPU that the mesh spends on a task.
const lookEvery = 2 * time.Millisecond

// look is one look at the list, begun after everybody who waits for it asked.
type look struct {
	done chan struct{}
	list subscribers
	err  error
}

// all are the webhooks of all tenants, while run runs.
func (w *webhooks) all(ctx context.Context) (subscribers, error) {
	w.mu.Lock()
	if w.next == nil {
		w.next = &look{done: make(chan struct{})}
		w.asked <- struct{}{}
	}
	mine := w.next
	w.mu.Unlock()
	select {
	case <-mine.done:
		return mine.list, mine.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run looks for those who ask, until ctx is done.
func (w *webhooks) run(ctx context.Context) {
	for {
		select {
		case <-w.asked:
		case <-ctx.Done():
			return
		}
		pause.For(ctx, lookEvery-time.Since(w.last))
		w.mu.Lock()
		now := w.next
		w.next = nil
		w.mu.Unlock()
		if now.err = w.refresh(ctx); now.err == nil {
			now.err = w.pushes.refresh(ctx)
		}
		now.list, w.last = w.list, time.Now()
		close(now.done)
	}
}

func (w *webhooks) refresh(ctx context.Context) error {
	rev, err := w.store.Webhooks.Revision(ctx)
	if err != nil || rev == w.rev {
		return err
	}
	list, err := w.store.Webhooks.List(ctx, "")
	if err == nil {
		w.list, w.rev = subscribersOf(list), rev
	}
	return err
}

package worker

import (
	"context"
	"log/slog"
	"sync"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// enroll has the registry know an agent, unless another worker's definition
// stands.
func (w *Worker) enroll(ctx context.Context, d task.Definition) error {
	rival, err := w.store.Registry.Register(ctx, d, w.id)
	if err == nil && rival != "" {
		w.rivals.warn(w.log, d, rival)
	}
	return err
}

// checkRival looks whether another worker serves something else by the name of one
// of our agents.
func (w *Worker) checkRival(r store.Rival) {
	if r.WorkerID == w.id {
		return
	}
	for _, in := range agentsOf(w.serving()) {
		if r.Of(in.agent.Definition) {
			w.rivals.warn(w.log, in.agent.Definition, r.WorkerID)
		}
	}
}

// rivalry is a definition of ours and a worker that serves another one.
type rivalry struct{ agent, digest, worker string }

// rivals are those that were told of.
type rivals struct {
	mu   sync.Mutex
	told map[rivalry]bool
}

// warn tells once of a rival.
func (r *rivals) warn(log *slog.Logger, d task.Definition, rival string) {
	of := rivalry{d.Name, d.Digest(), rival}
	r.mu.Lock()
	told := r.told[of]
	if r.told == nil {
		r.told = map[rivalry]bool{}
	}
	r.told[of] = true
	r.mu.Unlock()
	if !told {
		log.Warn("another worker serves a different definition of this agent, and no version says which is the newer; "+
			"the one that was there first stands until its workers are gone. Give the agents different names or versions", "agent", d.Name, "other_worker", rival)
	}
}

package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"agentmesh/shared/pause"
)

// uses remembers when keys were used, so that a request writes nothing: each key is
// noted in the store once a minute at most. What was not noted yet is lost with the
// process.
type uses struct{ of sync.Map } // id -> *use

type use struct {
	last  atomic.Int64 // Unix seconds
	noted time.Time    // of the one goroutine that notes
}

// Times of the notes.
const (
	noteEvery = 5 * time.Second // they are looked for
	noteAgain = time.Minute     // for one key
)

// note remembers that a key is used now.
func (u *uses) note(id string) {
	v, ok := u.of.Load(id)
	if !ok {
		v, _ = u.of.LoadOrStore(id, &use{})
	}
	if now, last := time.Now().Unix(), &v.(*use).last; last.Load() != now {
		last.Store(now)
	}
}

// noteUses notes the uses of keys until ctx ends.
func (a *KeyAuthenticator) noteUses(ctx context.Context) {
	for pause.For(ctx, noteEvery) {
		a.uses.of.Range(func(id, v any) bool {
			u := v.(*use)
			last := time.Unix(u.last.Load(), 0)
			switch since := time.Since(u.noted); {
			case since < noteAgain:
			case last.After(u.noted):
				if err := a.store.APIKeys.Used(ctx, id.(string), last); err != nil {
					a.log.DebugContext(ctx, "use of an API key not noted", "key", id, "error", err)
				}
				u.noted = time.Now()
			case since > 10*noteAgain:
				a.uses.of.Delete(id)
			}
			return ctx.Err() == nil
		})
	}
}

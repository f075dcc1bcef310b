package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// cursor is the checkpoint of a run: the newest that the agent has told, which is
// written at most once in checkpointEvery.
type cursor struct {
	mu     sync.Mutex
	newest json.RawMessage
	fresh  bool // newest is not written
	saved  time.Time
	timer  *time.Timer
}

const checkpointEvery = time.Second

// found takes over what the journal has, unless the agent has told something newer.
func (c *cursor) found(v json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fresh {
		c.newest = v
	}
}

// tell takes a new value and reports whether it is to be written now. Later is called
// when it is to be written then.
func (c *cursor) tell(v json.RawMessage, later func()) (now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest, c.fresh = v, true
	wait := time.Until(c.saved.Add(checkpointEvery))
	if wait <= 0 {
		return true
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, later)
	}
	return false
}

// take is what is to be written; nil: nothing is.
func (c *cursor) take() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !c.fresh {
		return nil
	}
	c.fresh, c.saved = false, time.Now()
	return c.newest
}

// back puts back what could not be written.
func (c *cursor) back() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = true
}

// Checkpoint implements agent.Journal.
func (j *journal) Checkpoint(ctx context.Context, v json.RawMessage) error {
	if err := j.cause(); err != nil {
		return err
	}
	if len(v) > store.InlineLimit {
		return &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the checkpoint has %d bytes, allowed are %d: keep large things elsewhere and a reference in it", len(v), store.InlineLimit)}
	}
	if !j.cursor.tell(v, func() { _ = j.saveCheckpoint(ctx) }) {
		return nil
	}
	return j.saveCheckpoint(ctx)
}

// LastCheckpoint implements agent.Journal.
func (j *journal) LastCheckpoint() json.RawMessage {
	j.cursor.mu.Lock()
	defer j.cursor.mu.Unlock()
	return j.cursor.newest
}

// saveCheckpoint writes the newest checkpoint, if it is not written yet.
func (j *journal) saveCheckpoint(ctx context.Context) error {
	v := j.cursor.take()
	if v == nil {
		return nil
	}
	e := &task.Entry{Kind: task.EntryCheckpoint}
	var err error
	if e.Value, err = j.seal.cover(e, v); err == nil {
		err = j.append(ctx, e)
	}
	if err != nil {
		j.cursor.back()
	}
	return err
}

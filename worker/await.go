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

// Wait implements agent.Waiter.
func (c *caller) Wait(ctx context.Context, w agent.Wait) (json.RawMessage, error) {
	ws := &c.at.waits
	o, err := ws.begin(w.Kind, w.Name, w.N)
	if err != nil {
		return nil, err
	}
	a, err := c.await(ctx, o, w)
	ws.end(o, err == nil)
	switch {
	case err != nil:
		return nil, err
	case a.Late:
		return nil, &agent.Error{Code: task.CodeInputTimeout, Message: "no answer to " + w.Name + " came in time", Permanent: true, Err: agent.ErrInputTimeout}
	}
	return a.Value, nil
}

// await waits for what o waits for, and keeps what it came to.
func (c *caller) await(ctx context.Context, o *openWait, w agent.Wait) (task.Answer, error) {
	if a, ok, err := c.at.journal.waited(o.Wait); err != nil {
		return a, err
	} else if ok {
		return a, nil
	}
	if err := c.describe(o, w); err != nil {
		return task.Answer{}, err
	}
	c.at.seat.lend()
	a, err := c.at.hold(ctx, o)
	if back := c.at.seat.regain(ctx); err == nil {
		err = back
	}
	if err == nil {
		err = c.at.journal.wait(ctx, o.Wait, a)
	}
	return a, err
}

// describe completes a wait: as an earlier run began it, or from now on.
func (c *caller) describe(o *openWait, w agent.Wait) error {
	for _, known := range c.parent.Waits {
		if known.Is(o.Kind, o.Name, o.N) {
			o.AskedAt, o.Until = known.AskedAt, known.Until
		}
	}
	now := time.Now()
	if o.AskedAt.IsZero() {
		o.AskedAt, o.Until = task.Stamp(now), w.Until
		if w.Until.IsZero() {
			o.Until = now.Add(waitFor(w))
		}
		o.Until = task.Stamp(o.Until.Add(time.Millisecond - 1)) // never shorter
	}
	o.Prompt, o.Schema = w.Prompt, w.Schema
	if err := o.Check(now); err != nil {
		return &agent.Error{Code: task.CodeAgentBadOutput, Message: err.Error(), Permanent: true}
	}
	if longest := c.at.in.agent.Patience(); c.parent.Kind == task.KindTurn && o.Kind != task.WaitInput && o.Until.Sub(now) > longest {
		return &agent.Error{Code: task.CodeWaitInTurn, Permanent: true, Message: fmt.Sprintf("%s: a turn of a session waits for %v at most; start a task for what takes longer", o.Name, longest)}
	}
	return nil
}

func waitFor(w agent.Wait) time.Duration {
	if w.For == 0 && w.Kind.Answered() {
		return task.AnswerWithin
	}
	return max(w.For, 0)
}

// hold waits until o is over, or the run is: it is suspended, or ctx ends.
func (at *attempt) hold(ctx context.Context, o *openWait) (task.Answer, error) {
	now := time.Now()
	if o.Kind == task.WaitSleep && o.Over(now) {
		return task.Answer{}, nil
	}
	at.waits.offer(o)
	patience := at.in.agent.Patience()
	switch {
	case o.Kind == task.WaitInput, o.Kind == task.WaitSleep && o.Until.Sub(now) > patience:
		at.waits.allow(o)
	case o.Kind == task.WaitEvent && at.talk.session == nil:
		defer time.AfterFunc(patience, func() { at.waits.allow(o) }).Stop()
	}
	over := make(chan struct{})
	defer time.AfterFunc(o.Until.Sub(now), func() {
		if o.Kind.Answered() {
			at.waits.expire(o)
		} else {
			close(over)
		}
	}).Stop()
	if o.Kind.Answered() {
		stop, err := at.listen(o)
		if err != nil {
			return task.Answer{}, err
		}
		defer stop()
	}
	select {
	case a := <-o.got:
		return a, nil
	case <-over:
		return task.Answer{At: task.Stamp(time.Now())}, nil
	case <-at.waits.over:
		return task.Answer{}, agent.ErrSuspended
	case <-ctx.Done():
		return task.Answer{}, context.Cause(ctx)
	}
}

// listen has the record read whenever somebody else has changed it, and once now:
// the answer may be there already.
func (at *attempt) listen(o *openWait) (stop func(), err error) {
	watch, err := at.store.Tasks.Watch(at.queued.Tenant, at.id, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() {
		_ = watch.Updates(ctx, 0, func(store.Update) bool { at.look(); return true })
	})
	show := time.AfterFunc(showAfter, func() { at.waits.show(o) })
	at.look()
	return func() { show.Stop(); cancel(); following.Wait(); watch.Close() }, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Times of the guard.
const (
	guardEvery   = time.Second
	reviveWithin = 10 * time.Minute // restarts of the server are counted for so long
	reviveMost   = 5                // in that time; then the disk is not to be trusted
	stopWithin   = 10 * time.Second
	roomEnough   = 4 << 20 // bytes, for the server to take writes again
)

// guard watches over the embedded server. A write error freezes a stream for
// good, also when the disk has room again (nats-server 2.14 and later): nothing
// more is accepted until the server starts again on its data. So it is started
// again once there is room; the roles reconnect by themselves. When that does not
// help, guard returns an error that ends the process.
func (e *embedded) guard(ctx context.Context) error {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	var revived []time.Time
	said := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		frozen := e.frozen()
		if frozen == nil {
			said = false
			continue
		}
		room, err := e.room()
		if !said {
			said = true
			e.log.Error("the store takes no writes: make room on the disk of --data, it goes on by itself", "error", frozen, "free_bytes", room)
		}
		if err != nil || room < roomEnough {
			continue
		}
		if len(revived) == reviveMost && time.Since(revived[0]) < reviveWithin {
			return fmt.Errorf("the store was started again %d times within %v and takes no writes: look at the disk of --data, then start again: %w", reviveMost, reviveWithin, frozen)
		}
		revived = append(revived[max(0, len(revived)-reviveMost+1):], time.Now())
		if err := e.revive(); err != nil {
			return err
		}
		said = false
		e.log.Warn("the store was started again after a write error: there is room, it takes writes", "free_bytes", room)
	}
}

// frozen is the write error that keeps a stream from taking more; nil: none.
func (e *embedded) frozen() error {
	if err := e.healthy(); err != nil && strings.Contains(err.Error(), "write error") {
		return err
	}
	return nil
}

// room is how much the disk of the data has left.
func (e *embedded) room() (int64, error) {
	free, err := freeBytes(e.opts.StoreDir)
	if err != nil {
		return 0, fmt.Errorf("ask for room on the disk of --data: %w", err)
	}
	return free, nil
}

// revive starts the server again.
func (e *embedded) revive() error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.stop()
	}()
	select {
	case <-stopped:
	case <-time.After(stopWithin):
		return errors.New("the store takes no writes and does not stop either: start the mesh again")
	}
	return e.start()
}

package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"agentmesh/shared/proc"
)

// Go keeps the memory of a burst: it collects when the heap has doubled, and gives
// back what is free at its leisure, down to that double. A process that has become
// quiet gives back what it does not use, by one collection for each burst.
const (
	memoryEvery = 30 * time.Second
	quietBytes  = 32 << 20 // allocated since the last look: fewer is quiet
	spareBytes  = 48 << 20 // that the system could have: fewer is not worth a collection
)

// memory is what a process has at a moment.
type memory struct {
	free, garbage uint64 // bytes that the system could have; garbage is not found free yet
	allocated     uint64 // in all its life
}

func readMemory() memory {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	m := memory{free: s[0].Value.Uint64(), allocated: s[3].Value.Uint64()}
	if objects, live := s[1].Value.Uint64(), s[2].Value.Uint64(); objects > live {
		m.garbage = objects - live
	}
	return m
}

// quietSince reports whether a burst is over that left something to give back.
func (m memory) quietSince(last memory) bool {
	return m.allocated-last.allocated < quietBytes && m.free+m.garbage > spareBytes
}

// givingBack gives memory back to the system after each burst.
func givingBack(log *slog.Logger) proc.Part {
	return proc.Part{Name: "memory", Run: func(ctx context.Context) error {
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for last := readMemory(); ; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			now := readMemory()
			if now.quietSince(last) {
				debug.FreeOSMemory()
				log.Debug("memory of a burst given back", "megabytes", (now.free+now.garbage)>>20)
			}
			last = now
		}
	}}
}

package main

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

var burst [][]byte

// What a burst has left is given back when the process is quiet again, and not while
// it works.
func TestTheMemoryOfABurstIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else collects
	for range 128 {
		burst = append(burst, make([]byte, 1<<20))
	}
	burst = nil
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- givingBack(slog.New(slog.DiscardHandler)).Run(ctx) }()
		synctest.Wait()
		if kept := held(); kept < 100<<20 {
			t.Fatalf("%d MB were left of the burst", kept>>20)
		}
		for range quietBytes >> 20 {
			burst = append(burst, make([]byte, 1<<20))
		}
		burst = nil
		time.Sleep(memoryEvery + time.Second)
		synctest.Wait()
		if kept := held(); kept < 100<<20 {
			t.Errorf("given back while it worked: %d MB are left", kept>>20)
		}
		time.Sleep(memoryEvery)
		synctest.Wait()
		if kept := held(); kept > spareBytes {
			t.Errorf("%d MB are kept when all is quiet", kept>>20)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// held is what the system could have of this process.
func held() uint64 {
	m := readMemory()
	return m.free + m.garbage
}

// A look that finds nothing to give back collects nothing.
func TestAQuietProcessIsLeftAlone(t *testing.T) {
	runtime.GC()
	debug.FreeOSMemory()
	now := readMemory()
	if now.quietSince(now) {
		t.Errorf("it would collect for %d MB", (now.free+now.garbage)>>20)
	}
}

package main

import (
	"runtime"
	"runtime/debug"
	"testing"

	"agentmesh/shared/natstest"
)

// A small heap is not collected all the time: garbage may gather to what heapRoom
// says. A large one is collected when it has doubled, as ever.
func TestGarbageMayGatherWhileLittleIsAlive(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	setRoom(1 << 40)
	if percent := readMetric("/gc/gogc:percent"); percent < 1000 {
		t.Errorf("GOGC is %d with much room", percent)
	}
	setRoom(1)
	if percent := readMetric("/gc/gogc:percent"); percent != usualPercent {
		t.Errorf("GOGC is %d where more is alive than there is room, want %d", percent, usualPercent)
	}
}

// Each collection sets it anew.
func TestRoomIsSetAfterEachCollection(t *testing.T) {
	calls := make(chan struct{}, 100)
	onEachCollection(func() {
		select {
		case calls <- struct{}{}:
		default:
		}
	})
	for range 3 {
		natstest.Until(t, "a collection was heard of", func() bool {
			runtime.GC()
			select {
			case <-calls:
				return true
			default:
				return false
			}
		})
	}
}

// What an operator has set stays.
func TestOperatorsGOGCStays(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(37))
	keepHeapRoom()
	runtime.GC()
	runtime.GC()
	if percent := readMetric("/gc/gogc:percent"); percent != 37 {
		t.Errorf("GOGC is %d, the operator has set 37", percent)
	}
}

package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapRoom is how much garbage may gather between two collections, however little
// is alive. The runtime lets as much gather as is alive, which in a mesh at work is
// little, and collects the more often.
const heapRoom = 64 << 20

// usualPercent is the GOGC of a process whose operator has not set it.
const usualPercent = 100

// keepHeapRoom has each collection set when the next one comes: at twice what is
// alive, or when heapRoom has gathered, whichever is later. An operator's GOGC stays
// as it is; a GOMEMLIMIT holds, whatever is set here.
func keepHeapRoom() {
	if percent := readMetric("/gc/gogc:percent"); percent == usualPercent {
		onEachCollection(func() { setRoom(heapRoom) })
	}
}

// onEachCollection calls f after every collection of this process.
func onEachCollection(f func()) {
	type mark struct{ _ *int }
	var again func(struct{})
	again = func(struct{}) {
		f()
		runtime.AddCleanup(new(mark), again, struct{}{})
	}
	runtime.AddCleanup(new(mark), again, struct{}{})
}

// setRoom sets the percentage of what is alive that may gather. It says so to the
// runtime only where it changed by a quarter: each word stops the world for a moment.
func setRoom(room uint64) {
	live := max(readMetric("/gc/heap/live:bytes"), 1<<20)
	want, is := max(usualPercent, 100*room/live), readMetric("/gc/gogc:percent")
	if want*4 > is*5 || is*4 > want*5 {
		debug.SetGCPercent(int(want))
	}
}

func readMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

package natstest

import "testing"

// Fewer is how many of something large a test makes: n, and a fifth of it under the
// race detector, which is ten times as slow and looks at paths, not at numbers.
func Fewer(n int) int {
	if Race {
		return n / 5
	}
	return n
}

// LongUnderRace leaves a test out of the short form of the race detector (make
// race-short). The test takes that detector over a fifth of a minute, by fake days,
// by much data or by many deaths in turn, and others go the same paths in less.
// make test and make race run it.
func LongUnderRace(tb testing.TB) {
	tb.Helper()
	if Race && testing.Short() {
		tb.Skip("takes the race detector long: make race runs it")
	}
}

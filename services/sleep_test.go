package services

import (
	"strings"
	"testing"
)

// A test that sleeps on the real clock is slow, or flaky on a busy machine: only a
// file that uses fake time may sleep, since there it costs nothing.
func TestTestsSleepInFakeTimeOnly(t *testing.T) {
	err := sources("..", func(s source) {
		if !s.test() {
			return
		}
		for _, imp := range s.file.Imports {
			if imp.Path.Value == `"testing/synctest"` || strings.HasSuffix(imp.Path.Value, `/meshtest"`) {
				return
			}
		}
		for _, at := range s.calls("time", "Sleep") {
			t.Errorf("%s sleeps on the real clock: wait for what it waits for", at)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

package store_test

import (
	"testing"

	"agentmesh/shared/natstest"
)

// The end of a task counts as told when the notifiers have read it, and not while the
// server has yet to count it among what they are to read.
func TestAnEndIsNotToldBeforeItIsRead(t *testing.T) {
	srv := natstest.Start(t)
	st := open(t, srv)
	r := &reader{}
	kept := openFanout(t, st)
	for range 50 {
		one := newTask()
		save(t, st, one)
		if told, err := st.Consumers.Told(t.Context(), one.Rev); err != nil || told {
			t.Fatalf("told at revision %d, which nobody has read: %v, %v", one.Rev, told, err)
		}
		stop := r.read(t, kept)
		natstest.Until(t, "its end is told", func() bool {
			told, err := st.Consumers.Told(t.Context(), one.Rev)
			return told && err == nil
		})
		stop()
	}
}

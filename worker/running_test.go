package worker

import (
	"testing"

	"agentmesh/shared/task"
)

// The signal of a cancel comes once. One that comes between the claim of an attempt and
// its run is for it, and so is one for the attempt that it takes the place of.
func TestACancelIsHeardFromTheClaimOn(t *testing.T) {
	id := task.NewID(task.KindTask, [16]byte{1})
	old, heir := &attempt{id: id, bell: newBell()}, &attempt{id: id, bell: newBell()}
	var r running
	heard := func(at *attempt) bool { return at.looked.Swap(false) }
	r.expect(old)
	if r.canceled(id); !heard(old) || r.count() != 0 {
		t.Error("an attempt that is being claimed hears nothing, or counts as running")
	}
	r.enter(old)
	if r.canceled(id); !heard(old) {
		t.Error("an attempt that runs hears nothing")
	}
	r.expect(heir)
	if r.canceled(id); !heard(old) || !heard(heir) {
		t.Error("of an attempt and its heir one hears nothing")
	}
	r.enter(heir)
	if !heard(old) || heard(heir) {
		t.Error("an attempt that has an heir does not look at its record")
	}
	r.leave(old)
	if r.canceled(id); heard(old) || !heard(heir) {
		t.Error("an attempt that has left hears, or its heir does not")
	}
	r.leave(heir)
	if r.canceled(id); heard(heir) || len(r.by)+len(r.coming) != 0 {
		t.Errorf("%d run and %d come after all have left", len(r.by), len(r.coming))
	}
	r.expect(heir) // and is not to run
	if r.leave(heir); len(r.coming) != 0 {
		t.Error("an attempt that did not run is still expected")
	}
}

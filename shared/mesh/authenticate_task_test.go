package mesh_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// The key of an attempt that is over is locked out when it is shown too often. The
// key of the next attempt, from the same host, is not, nor is that of another task.
func TestAnOldKeyOfAnAttemptLocksOutNoOther(t *testing.T) {
	h := newHouse(t)
	running := newTask(task.KindTask, 0)
	key := auth.NewTaskKey(running.Tenant, string(running.ID))
	running.Attempt, running.Lease = 2, &task.Lease{Worker: "wrk_1", Seq: 1, Key: key.Hash()}
	if err := running.To(task.Processing, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.save(running)
	a := mesh.NewTaskAuthenticator(h.st, quiet())
	show := func(k auth.TaskKey) error {
		_, err := a.Authenticate(t.Context(), auth.Credentials{Bearer: k.Reveal(), Addr: netip.MustParseAddr("192.0.2.7")})
		return err
	}
	for _, old := range []auth.TaskKey{
		auth.NewTaskKey(running.Tenant, string(running.ID)), auth.NewTaskKey(running.Tenant, string(newTask(task.KindTask, 0).ID)),
	} {
		var err error
		for range 20 {
			if err = show(old); err == nil {
				t.Fatal("a wrong key is taken")
			}
		}
		if !errors.Is(err, auth.ErrLocked) {
			t.Errorf("a wrong key that is shown again and again: %v, want it locked out", err)
		}
		if err := show(key); err != nil {
			t.Errorf("the right key after it: %v", err)
		}
	}
}

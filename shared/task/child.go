package task

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// MaxDepth is how many tasks may stand above one another.
const MaxDepth = 16

// Child makes the task of agent that t calls: t's tenant and deadline, one level
// deeper. inFlight is how many tasks of agent may run in the mesh. It returns
// ErrTooDeep or ErrDeadlock when the child could not be waited for.
func (t *Task) Child(agent string, inFlight int) (*Task, error) {
	callers := append(slices.Clone(t.Callers), t.Agent)
	if len(callers) > MaxDepth {
		return nil, fmt.Errorf("call %s: %d tasks stand above it, allowed are %d: %w", agent, len(callers), MaxDepth, ErrTooDeep)
	}
	same := 0
	for _, c := range callers {
		if c == agent {
			same++
		}
	}
	if same >= inFlight {
		return nil, fmt.Errorf("call %s: %d tasks of this agent wait above it, and %d may run in the mesh (max_in_flight): %w", agent, same, inFlight, ErrDeadlock)
	}
	return &Task{
		Tenant: t.Tenant, Kind: KindTask, Agent: agent, Status: Pending, Deadline: t.Deadline, ParentID: t.ID, Callers: callers, EventDepth: t.EventDepth,
	}, nil
}

// CallKey stands for a call: two calls with the same key are equal.
func CallKey(agent string, input []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", agent)
	h.Write(input)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ChildID is the id of the n-th equal call (from 0) of a parent: a UUIDv7 with
// the parent's time, the rest from a hash, so that a retry of the parent finds
// the same child.
func ChildID(parent ID, key string, n int) ID {
	var at [6]byte
	if i := len(parent) - 32; i >= 0 {
		_, _ = hex.Decode(at[:], []byte(parent[i:i+12]))
	}
	return derived(KindTask, at, string(parent)+"."+key+"."+strconv.Itoa(n))
}

// DerivedID is the id of the task that a thing of ours starts for a time: a UUIDv7
// with that time, the rest from a hash of the thing's id and the time. Whoever
// starts it twice starts one task.
func DerivedID(kind Kind, at time.Time, by string) ID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	return derived(kind, [6]byte(ms[2:]), by+"."+strconv.FormatInt(at.UnixMilli(), 10))
}

// derived makes a UUIDv7 of a time in milliseconds and the hash of a text.
func derived(kind Kind, at [6]byte, text string) ID {
	sum := sha256.Sum256([]byte(text))
	var uuid [16]byte
	copy(uuid[:6], at[:])
	copy(uuid[6:], sum[:])
	uuid[6] = uuid[6]&0x0f | 0x70 // version 7
	uuid[8] = uuid[8]&0x3f | 0x80 // RFC 9562 variant
	return NewID(kind, uuid)
}

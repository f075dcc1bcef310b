// Package history notes what clients and writers did with tasks and what they were
// told, and judges by a linearizability model (porcupine) whether one task record,
// changed by one step at a time, explains all of it. It promises that a request
// without an answer counts as done at any time later, or never. It does not know how
// the mesh keeps its promises: it sees answers only. Only tests use it.
package history

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is what was done with a task.
type Kind string

// The kinds. Claim, progress, complete, fail and a lost lease are writes of a record,
// or what a read shows has happened since the last one.
const (
	Create Kind = "create"
	Read   Kind = "read"
	Cancel Kind = "cancel"
	Retry  Kind = "retry"
	Answer Kind = "answer"
	Write  Kind = "write" // a compare-and-set of the record
)

// Op is what was done. Of a write, Rev is the revision that it expects and State what
// it writes. Of an answer, Says is the answer to the only question of the task.
type Op struct {
	Task string // or the key of the request that makes it
	Kind Kind
	Rev  uint64
	Says string
	State
}

// Verdict is what an answer says.
type Verdict string

// The verdicts. Refused is a conflict, whichever of the server's two codes it had, or a
// state that does not allow it; Absent is that there is no such task.
const (
	Done    Verdict = "done"
	Refused Verdict = "refused"
	Absent  Verdict = "absent"
	Unknown Verdict = "unknown"
)

// Told is an answer. Of a write, Rev is the new revision.
type Told struct {
	Verdict Verdict
	ID      string // of a create
	Rev     uint64
	State
}

// Ended reports whether an answer shows a task that has ended.
func (t Told) Ended() bool { return t.Verdict == Done && terminal(t.Status) }

// State is what a task looks like from outside.
type State struct {
	Status  string
	Attempt int
	Percent int    // of progress, within an attempt
	Outcome string // of a task that has ended
	Said    string // the answer that its agent got, as its result tells
}

// History gathers operations. It is safe for concurrent use.
type History struct {
	began time.Time

	mu      sync.Mutex
	ops     []porcupine.Operation
	clients int
}

// New is an empty one.
func New() *History { return &History{began: time.Now()} }

// Begin notes that something is being done; end notes the answer. A read without an
// answer tells nothing and is left out.
func (h *History) Begin(op Op) (end func(Told)) {
	call := time.Since(h.began).Nanoseconds()
	return func(told Told) {
		back := time.Since(h.began).Nanoseconds()
		if told.Verdict == Unknown {
			if op.Kind == Read {
				return
			}
			back = math.MaxInt64
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		// A client of its own: one that got no answer has not ended its operation.
		h.ops = append(h.ops, porcupine.Operation{ClientId: h.clients, Input: op, Call: call, Output: told, Return: back})
		h.clients++
	}
}

// Len is how many were noted.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Made are the keys and ids of the tasks that were made.
func (h *History) Made() (all [][2]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	for _, op := range h.ops {
		in, told := op.Input.(Op), op.Output.(Told)
		if in.Kind == Create && told.ID != "" && !seen[in.Task] {
			seen[in.Task] = true
			all = append(all, [2]string{in.Task, told.ID})
		}
	}
	return all
}

// checkBudget bounds the search. What is not decided by then is no proof of a fault.
const checkBudget = 60 * time.Second

// Check fails the test where no order of the operations explains the answers, and
// writes a page to look at into the folder of temporary files.
func (h *History) Check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	ops := append([]porcupine.Operation(nil), h.ops...)
	h.mu.Unlock()
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(model, ops, checkBudget)
	switch result {
	case porcupine.Ok:
		t.Logf("%d operations are linearizable, found in %v", len(ops), time.Since(began).Round(time.Millisecond))
	case porcupine.Unknown:
		t.Errorf("whether %d operations are linearizable was not decided within %v", len(ops), checkBudget)
	case porcupine.Illegal:
		page := filepath.Join(os.TempDir(), fmt.Sprintf("mesh-history-%d.html", time.Now().UnixNano()))
		if err := porcupine.VisualizePath(model, info, page); err != nil {
			page = err.Error()
		}
		t.Errorf("%d operations are not linearizable: %s", len(ops), page)
	}
}

// Linearizable reports whether the answers can be explained.
func (h *History) Linearizable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(model, h.ops, checkBudget) == porcupine.Ok
}

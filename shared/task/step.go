package task

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Steps says that a task has a journal of what its agent has finished, see Entry.
// While the task is open the journal is in the store. That of a task that has ended
// is an artifact.
type Steps struct {
	Count  int    `json:"count,omitempty"`  // of its entries, when the task has ended
	Object string `json:"object,omitempty"` // name in the object store, of their lines of JSON
	Size   int64  `json:"size,omitempty"`   // bytes of it
}

// StepMark is how far the steps of a task have come.
type StepMark struct {
	Name string `json:"name"` // of the newest that has ended
	Done int    `json:"done"` // how many have
}

// EntryKind says what an entry of a journal is.
type EntryKind string

// The kinds of entries.
const (
	EntryStep       EntryKind = "step"       // a step has ended
	EntryStarted    EntryKind = "started"    // a step has begun, and nobody knows its end
	EntrySleep      EntryKind = "sleep"      // a sleep is over
	EntryWait       EntryKind = "wait"       // what came of a wait for an event
	EntryAnswer     EntryKind = "answer"     // what came of a question
	EntryCheckpoint EntryKind = "checkpoint" // how far the agent has come, in its own words
	EntryEpoch      EntryKind = "epoch"      // a later run has begun: earlier ones write no more
)

// Entry is one thing that a task's agent has finished, or what a wait came to. A
// journal has one for each kind, name and n; a step that was begun has that of its
// end.
type Entry struct {
	Kind EntryKind `json:"kind"`
	Name string    `json:"name,omitempty"`
	N    int       `json:"n"`             // the how-manieth of its kind and name, from 0
	Key  string    `json:"key,omitempty"` // StepKey of what it depends on; empty: nothing

	Attempt int       `json:"attempt,omitempty"`
	At      time.Time `json:"at"`           // when it was written
	Ms      int64     `json:"ms,omitempty"` // how long it took

	Value  json.RawMessage `json:"value,omitempty"`
	Object string          `json:"object,omitempty"` // name of the value in the object store, if that is large
	Size   int64           `json:"size,omitempty"`   // bytes of the object, or of a value that is cut
	Head   string          `json:"head,omitempty"`   // the beginning of a value that is cut
	Sealed bool            `json:"sealed,omitempty"` // the value is a text that the worker's key opens
	Error  *StepError      `json:"error,omitempty"`  // a failure that stays

	Version string `json:"version,omitempty"` // of the agent
	// Epoch is the revision of the task's record under which the run that wrote the
	// entry began: runs that begin later have greater ones.
	Epoch uint64 `json:"epoch,omitempty"`
}

// StepError is a failure that is remembered.
type StepError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Bounds of a journal.
const (
	MaxEntries      = 10_000
	MaxJournalBytes = 64 << 20
	MaxStepName     = 128 // bytes
)

// Slot is the place of an entry in its journal: the later one of two in the same
// place is the one that counts.
func (e *Entry) Slot() string { return Slot(e.Kind, e.Name, e.N) }

// Slot is the place of the n-th entry of a kind and name. Steps are found by their
// name alone.
func Slot(k EntryKind, name string, n int) string {
	if k != EntryStep && k != EntryStarted {
		name = string(k) + "\x00" + name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8]) + "-" + strconv.Itoa(n)
}

// StepKey is the hash of what a step depends on: the same for equal texts of JSON, whatever
// their white space and escapes. The order of members counts.
func StepKey(raw json.RawMessage) string {
	if normal, err := Normal(raw); err == nil {
		raw = normal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// Weight is what an entry adds to the bytes of its journal.
func (e *Entry) Weight() int64 {
	w := int64(entryFrame + len(e.Name) + len(e.Value))
	if e.Object != "" {
		w += e.Size
	}
	if e.Error != nil {
		w += int64(len(e.Error.Message))
	}
	return w
}

// entryFrame is about what an entry takes besides its texts.
const entryFrame = 128

// CheckStepName says what is wrong with the name of a step.
func CheckStepName(name string) error {
	switch {
	case name == "" || len(name) > MaxStepName:
		return fmt.Errorf("the name of a step has %d bytes, allowed are 1 to %d", len(name), MaxStepName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name of a step is no UTF-8: %q", name)
	}
	return nil
}

// Noted are the entries that tell what was finished: without those that fence.
func Noted(entries []*Entry) []*Entry {
	return slices.DeleteFunc(entries, func(e *Entry) bool { return e.Kind == EntryEpoch })
}

// Cut is e with a value of at most n bytes: of a longer one the beginning is left.
func (e *Entry) Cut(n int) *Entry {
	if len(e.Value) <= n {
		return e
	}
	c := *e
	c.Head, c.Size, c.Value = Cut(string(e.Value), n), int64(len(e.Value)), nil
	return &c
}

package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"agentmesh/shared/task"
)

// Bounds of a session's queue. A canceled turn stays in the list until what was
// accepted before it has ended, so that the transcript keeps the order.
const (
	MaxWaiting = 32  // turns that wait
	MaxListed  = 64  // with those that are canceled
	MaxInline  = 256 // bytes as JSON text of a message that the list itself keeps
)

// Waiting is a turn in its session's queue: it was accepted while another one
// was open. It stays in the list until it has ended; the first one that is not
// canceled is the next to open, or is open.
type Waiting struct {
	TurnID      task.ID   `json:"turn_id"`
	At          time.Time `json:"at"`               // when it was accepted
	Text        string    `json:"text,omitempty"`   // the user's text, if it is short
	Beside      bool      `json:"beside,omitempty"` // else it is kept beside the record, until the turn has one of its own
	Bytes       int       `json:"bytes"`            // of the text, as JSON text
	Canceled    bool      `json:"canceled,omitempty"`
	EventDepth  int       `json:"event_depth,omitempty"` // see task.Task
	IsAnswer    bool      `json:"is_answer,omitempty"`   // see task.Task
	TraceParent string    `json:"traceparent,omitempty"`
	TraceState  string    `json:"tracestate,omitempty"`

	Labels   map[string]string `json:"labels,omitempty"`
	Metadata json.RawMessage   `json:"metadata,omitempty"`
}

// Turn is the turn as it was accepted, with the text where the list keeps it.
func (s *Session) Turn(w Waiting) *task.Task {
	return &task.Task{
		ID: w.TurnID, Tenant: s.Tenant, Kind: task.KindTurn, Agent: s.Agent, SessionID: string(s.ID), Status: task.Pending,
		Instruction: w.Text, CreatedAt: w.At, EventDepth: w.EventDepth, IsAnswer: w.IsAnswer, TraceParent: w.TraceParent, TraceState: w.TraceState, Waited: true,
		Labels: w.Labels, Metadata: w.Metadata,
	}
}

func (s *Session) listed(turnID task.ID) int {
	return slices.IndexFunc(s.Waiting, func(w Waiting) bool { return w.TurnID == turnID })
}

// Listed is a turn's place in the list, ok false when it has none.
func (s *Session) Listed(turnID task.ID) (w Waiting, ok bool) {
	i := s.listed(turnID)
	if i < 0 {
		return Waiting{}, false
	}
	return s.Waiting[i], true
}

// Queue are the turns that wait behind the open one (empty: none is), the next
// one first.
func (s *Session) Queue(open task.ID) (ids []task.ID) {
	for _, w := range s.Waiting {
		if !w.Canceled && w.TurnID != open {
			ids = append(ids, w.TurnID)
		}
	}
	return ids
}

// Append puts a turn at the end of the queue. It returns ErrQueueFull when as
// many wait behind the open one as may.
func (s *Session) Append(w Waiting, open task.ID) error {
	if n := len(s.Queue(open)); n >= MaxWaiting {
		return fmt.Errorf("%d messages wait in session %s: %w", n, s.ID, ErrQueueFull)
	}
	if n := len(s.Waiting); n >= MaxListed {
		return fmt.Errorf("%d messages wait or were canceled behind the open turn of session %s: %w", n, s.ID, ErrQueueFull)
	}
	s.Waiting = append(s.Waiting, w)
	s.UpdatedAt = w.At
	return nil
}

// Cancel marks a turn of the list: it will not run. Its message comes into the
// transcript when its place in the order has come.
func (s *Session) Cancel(turnID task.ID) {
	if i := s.listed(turnID); i >= 0 {
		s.Waiting[i].Canceled = true
	}
}

// CancelAll marks all turns of the list and returns those that were not before.
func (s *Session) CancelAll() (ids []task.ID) {
	ids = s.Queue("")
	for i := range s.Waiting {
		s.Waiting[i].Canceled = true
	}
	return ids
}

// Leave takes a turn that has ended off the list.
func (s *Session) Leave(turnID task.ID) {
	if i := s.listed(turnID); i >= 0 {
		s.Waiting = slices.Delete(slices.Clone(s.Waiting), i, i+1)
	}
}

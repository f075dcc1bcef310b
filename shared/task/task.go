// Package task holds the one noun of the mesh: a task is one run of one agent
// on one input. It defines the record, its states and which state may follow
// which, the errors that every other package asks for with errors.Is, and the
// events that a change of the record is read as.
//
// It promises that a terminal task never changes its outcome and that no
// transition outside the state table is possible through [Task.To]. It knows
// nothing of JetStream, HTTP or agents, and imports only the standard library.
package task

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says which of the three calls made a task.
type Kind string

// The kinds of tasks. Only the wire names differ; record, states and worker
// path are the same.
const (
	KindTask   Kind = "task"
	KindAction Kind = "action"
	KindTurn   Kind = "turn"
)

// Kinds lists them.
var Kinds = []Kind{KindTask, KindAction, KindTurn}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return slices.Contains(Kinds, k) }

// Task is the record of one run of one agent. The same JSON travels in the
// queue message (as accepted or as retried) and, once a worker or a cancel has
// written it, in the tasks bucket. Times are UTC with millisecond precision.
type Task struct {
	ID          ID                `json:"task_id"`
	Tenant      string            `json:"tenant"`
	Kind        Kind              `json:"kind"`
	Agent       string            `json:"agent"`
	Status      State             `json:"status"`
	Instruction string            `json:"instruction,omitempty"`
	Input       Value             `json:"input,omitzero"`
	Labels      map[string]string `json:"labels,omitempty"`
	Metadata    json.RawMessage   `json:"metadata,omitempty"`

	// Attempt counts the attempts begun, from 1. In a pending task it is the
	// number of the last attempt, 0 before the first.
	Attempt     int      `json:"attempt,omitempty"`
	MaxAttempts int      `json:"max_attempts,omitempty"` // 0: the agent's policy
	Timeout     Duration `json:"timeout,omitzero"`       // of one attempt; 0: the agent's

	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`  // of the first attempt
	FinishedAt time.Time `json:"finished_at,omitzero"` // when the outcome was decided
	StoppedAt  time.Time `json:"stopped_at,omitzero"`  // canceled: when the agent was seen to end
	NotBefore  time.Time `json:"not_before,omitzero"`  // pending: when it may run
	Deadline   time.Time `json:"deadline,omitzero"`    // past it the task fails

	Percent     *int        `json:"progress_percent,omitempty"` // 0..100
	Message     string      `json:"message,omitempty"`
	Reported    *Report     `json:"reported,omitempty"` // of Percent and Message, by the running attempt
	Milestones  []Milestone `json:"milestones,omitempty"`
	Output      string      `json:"output,omitempty"`       // the newest part of the output text
	OutputBytes int64       `json:"output_bytes,omitempty"` // all output text so far

	Result Value  `json:"result,omitzero"`
	Error  *Error `json:"error,omitempty"` // of the outcome, or of the last attempt while pending

	// ErrorDetail is what Error does not say to everybody: the tail of what the
	// agent wrote to standard error, or the cause that only the operator may
	// know. It stands beside Error so that nothing that tells of an error tells of
	// it.
	ErrorDetail string `json:"error_detail,omitempty"`

	// Warnings tell the agent's author what was wrong with it though its result
	// was taken: see Warn.
	Warnings []string `json:"warnings,omitempty"`

	// Lease names the attempt that may write. It stays on a finished record to
	// say who finished it.
	Lease *Lease `json:"lease,omitempty"`

	// Transitions are the changes of status in order, the accepted one left
	// out: the part of the history that must survive any number of progress
	// writes. The newest MaxTransitions are kept.
	Transitions []Transition `json:"transitions,omitempty"`

	// Replaces is the revision that this version of the record replaced, 0 for
	// the first. The store sets it.
	Replaces uint64 `json:"replaces,omitempty"`

	TraceParent string `json:"traceparent,omitempty"` // W3C, of the accepting span
	TraceState  string `json:"tracestate,omitempty"`
	RetriedFrom ID     `json:"retried_from,omitempty"`
	ParentID    ID     `json:"parent_id,omitempty"`
	SessionID   string `json:"session_id,omitempty"` // of a turn

	ScheduleID  string    `json:"schedule_id,omitempty"` // of the schedule that started it
	ScheduledAt time.Time `json:"scheduled_at,omitzero"` // the time that it was due

	HookID   string `json:"hook_id,omitempty"`   // of the hook whose delivery started it
	HookBody string `json:"hook_body,omitempty"` // a hash of what was delivered

	// Waited says of a turn that it stood in its session's queue: it has a record
	// before a worker has claimed it.
	Waited bool `json:"waited,omitempty"`

	// IsAnswer says of a turn that its instruction is the JSON of an answer, and not a
	// text. Continues is the turn whose question it answers.
	IsAnswer  bool `json:"is_answer,omitempty"`
	Continues ID   `json:"continues,omitempty"`

	// HasChildren says that this task has started others. While it runs, that may
	// be known a moment later, and of one that was canceled it may never be.
	HasChildren bool `json:"has_children,omitempty"`

	// Callers are the agents of the tasks above this one, the first caller
	// first.
	Callers []string `json:"callers,omitempty"`

	// EventDepth is how many events lie behind this task: 0 for one that was not
	// made because of the event of another, see MaxEventDepth.
	EventDepth int `json:"event_depth,omitempty"`

	// Waits are what the task waits for, first asked first: its run was suspended, or
	// waits for them while it runs. Answers are what came, see Answer.
	Waits   Waits   `json:"waits,omitempty"`
	Answers Answers `json:"answers,omitempty"`
	// Exchanges are the questions that people have answered.
	Exchanges Exchanges `json:"exchanges,omitempty"`

	// Suspended says that the run let go of the task, because it waits: the next run
	// has the same attempt. Run counts the runs that did.
	Suspended bool `json:"suspended,omitempty"`
	Run       int  `json:"run,omitempty"`

	// Steps says that the task has a journal of finished steps and waits, or had one.
	// Step is how far they have come.
	Steps *Steps    `json:"steps,omitempty"`
	Step  *StepMark `json:"step,omitempty"`

	// Usage is what the task has used of models and tools, and UsageTotal the same with
	// the tasks that it has called. StoppedBy is the limit that ended its work early.
	// Within bounds what it may use.
	Usage      *Usage `json:"usage,omitempty"`
	UsageTotal *Usage `json:"usage_total,omitempty"`
	StoppedBy  string `json:"stopped_by,omitempty"`
	Within     Within `json:"within,omitzero"`

	// OutputRewinds counts how often output was taken back that may have been shown, and
	// OutputFrom is where the newest of it began: readers go back to there.
	OutputRewinds int   `json:"output_rewinds,omitempty"`
	OutputFrom    int64 `json:"output_from,omitempty"`

	// Callback is where the outcome is sent, if anywhere.
	Callback *Callback `json:"callback,omitempty"`

	// Rev is the bucket revision this copy was read or written at, 0 when
	// there is no record. QueueSeq is the stream sequence of the queue message
	// this copy was read from, 0 otherwise. Bulk says that the message is, or is
	// to be, among those of tenants that have many, and InPlaceOf is the sequence of
	// the one there that it was promoted from. None is stored.
	Rev       uint64 `json:"-"`
	QueueSeq  uint64 `json:"-"`
	InPlaceOf uint64 `json:"-"`
	Bulk      bool   `json:"-"`
}

// Milestone is a named step that an agent reported.
type Milestone struct {
	N       int             `json:"n"` // from 1, in order
	Name    string          `json:"name"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	At      time.Time       `json:"at"`
	Attempt int             `json:"attempt"`
	After   uint64          `json:"after"`            // see Transition.After
	Rev     uint64          `json:"rev,omitempty"`    // see Transition.Rev
	Output  int64           `json:"output,omitempty"` // see Transition.Output
}

// Report is the place of the newest progress among the other changes.
type Report struct {
	After     uint64 `json:"after"`               // see Transition.After
	Rev       uint64 `json:"rev,omitempty"`       // see Transition.Rev
	Output    int64  `json:"output,omitempty"`    // see Transition.Output
	Milestone int    `json:"milestone,omitempty"` // number of the last one before it
}

// Error is what a client may know of a failed attempt. Code is from the closed
// list of problem codes or chosen by the agent; Message never carries an
// internal cause.
type Error struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Attempt   int    `json:"attempt"`
	Retryable bool   `json:"retryable"`
}

// Callback is who wants to be told what becomes of a task.
type Callback struct {
	// URL is as it may be shown. Where it leaves something out that may be a secret,
	// the whole of it is in Sealed; a record of an earlier version has it here.
	URL    string `json:"url"`
	Sealed []byte `json:"sealed_url,omitempty"`
	// Events are the types to tell, such as "action.completed"; none: the
	// milestones and the outcome.
	Events []string `json:"events,omitempty"`
	// SecretRef is the id of the webhook whose keys sign; empty: the mesh's own.
	SecretRef string `json:"secret_ref,omitempty"`
}

// MaxEventDepth is the length of a chain of events: a task is done, a receiver
// that is told of it makes another, and so on. A receiver that is the mesh itself would make one
// for ever.
const MaxEventDepth = 16

// Lease names who works on a task, and under which queue message.
type Lease struct {
	Worker string `json:"worker"`
	// Seq is the stream sequence of the queue message. While a record is
	// processing, that message is still in the queue: it is acked only after
	// the record has left the state. So any other message for the task may go.
	Seq uint64 `json:"seq"`
	// Key is the hash of the key by which the agent calls the mesh while its attempt
	// runs; empty: it was given none.
	Key string `json:"key,omitempty"`
	// Narrow says that the key is for the steps of the task only.
	Narrow bool `json:"narrow,omitempty"`
	// TraceParent is the attempt's span in W3C form, if it was recorded: later
	// spans link to it.
	TraceParent string `json:"traceparent,omitempty"`
}

// Transition is one change of status.
type Transition struct {
	Status  State     `json:"status"`
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	// After is the revision that this change replaced (0: none), so that its own
	// revision is greater than After. A reader of a revision greater than After
	// has seen this change.
	After uint64 `json:"after"`
	// Rev is the revision of the change itself. Its writer cannot know it: the
	// writer of the next revision notes it, so 0 means the newest.
	Rev uint64 `json:"rev,omitempty"`
	// Output is how many bytes of output text came before the change.
	Output int64  `json:"output,omitempty"`
	Error  *Error `json:"error,omitempty"`  // of the attempt that ended
	Worker string `json:"worker,omitempty"` // processing: the worker that has the task
	// Run says that the attempt was suspended and goes on when a wait is over: it is the
	// number of the run that ended, from 1. Question is the first one that was open.
	Run      int       `json:"run,omitempty"`
	Question *Question `json:"question,omitempty"`
}

// Question is what a change of status keeps of one, however often others follow.
type Question struct {
	Name   string    `json:"name"`
	Prompt string    `json:"prompt,omitempty"` // its first maxAsked bytes
	Until  time.Time `json:"until,omitzero"`
}

// Bounds of the lists in a record. A reader that reconnects after old revisions
// were dropped catches up from Milestones, so that list is long.
const (
	MaxTransitions    = 64
	MaxMilestones     = 1000
	MaxMilestoneBytes = 256 << 10 // of all together
	MaxWarnings       = 16
	MaxWarning        = 256     // bytes of one
	maxDetail         = 4 << 10 // bytes of ErrorDetail
)

// Warn adds a warning that is not there yet. Over MaxWarnings the newest are
// left out.
func (t *Task) Warn(text string) {
	text = Cut(text, MaxWarning)
	if len(t.Warnings) < MaxWarnings && !slices.Contains(t.Warnings, text) {
		t.Warnings = append(t.Warnings, text)
	}
}

// Explain keeps the end of what an error's detail says.
func (t *Task) Explain(detail string) {
	if over := len(detail) - maxDetail; over > 0 {
		detail = detail[over:]
	}
	t.ErrorDetail = strings.ToValidUTF8(detail, "")
}

// Cut is s as valid UTF-8 of at most n bytes, cut at a character.
func Cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Clip is Cut that shows where something is missing: an ellipsis stands behind the n
// bytes.
func Clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return Cut(s, n) + "…"
}

// AddMilestone appends m as the change that replaces revision t.Rev. Over the
// bounds the oldest milestones go.
func (t *Task) AddMilestone(m Milestone) {
	m.N, m.Attempt, m.After = t.LastMilestone()+1, t.Attempt, t.Rev
	t.Milestones = append(t.Milestones, m)
	size, first := 0, len(t.Milestones)
	for first > 0 && len(t.Milestones)-first < MaxMilestones {
		next := t.Milestones[first-1]
		if size += milestoneFrame + len(next.Name) + len(next.Message) + len(next.Data); size > MaxMilestoneBytes {
			break
		}
		first--
	}
	t.Milestones = t.Milestones[first:]
}

// LastMilestone is the number of the newest milestone, 0 without any.
func (t *Task) LastMilestone() int {
	if n := len(t.Milestones); n > 0 {
		return t.Milestones[n-1].N
	}
	return 0
}

// milestoneFrame is about what a milestone takes in a record besides its texts.
const milestoneFrame = 100

// To moves the task to state s at time at, as the change that replaces
// revision t.Rev. It returns ErrTransition, wrapped with both states, when the
// table does not allow it, and leaves the task alone then.
func (t *Task) To(s State, at time.Time) error {
	if err := Allowed(t.Status, s); err != nil {
		return err
	}
	at = Stamp(at)
	tr := Transition{Status: s, Attempt: t.Attempt, At: at, After: t.Rev, Output: t.OutputBytes}
	switch {
	case s == Processing:
		if t.Lease != nil {
			tr.Worker = t.Lease.Worker
		}
		if t.StartedAt.IsZero() {
			t.StartedAt = at
		}
		t.NotBefore, t.Suspended = time.Time{}, false
	case s.Terminal():
		t.FinishedAt = at
		t.NotBefore = time.Time{}
		t.EndWaits()
		tr.Error = t.Error
	default:
		tr.Error = t.Error
	}
	if s != Pending && s != Failed {
		t.ErrorDetail = ""
	}
	if s != Processing {
		t.Reported = nil // the change itself shows how far it came
		if t.Lease != nil {
			t.Lease.Key = ""
		}
	}
	t.Status, t.UpdatedAt = s, at
	t.Transitions = append(t.Transitions, tr)
	if over := len(t.Transitions) - MaxTransitions; over > 0 {
		t.Transitions = t.Transitions[over:]
	}
	return nil
}

// Rebase makes t, which was to replace revision t.Rev, replace onto: a version of
// t's own writer that was stored in between. The changes that onto has already
// keep their place, the others come behind it.
func (t *Task) Rebase(onto *Task) {
	t.Place()
	for i := range t.Transitions {
		tr := &t.Transitions[i]
		if tr.After == t.Rev && !slices.ContainsFunc(onto.Transitions, func(o Transition) bool { return o.After == tr.After && o.Status == tr.Status }) {
			tr.After = onto.Rev
		}
	}
	for i := range t.Milestones {
		m := &t.Milestones[i]
		if m.After == t.Rev && !slices.ContainsFunc(onto.Milestones, func(o Milestone) bool { return o.N == m.N }) {
			m.After = onto.Rev
		}
	}
	if r := t.Reported; r != nil && r.After == t.Rev && (onto.Reported == nil || *r != *onto.Reported) {
		r.After = onto.Rev
	}
	t.Rev, t.Replaces = onto.Rev, onto.Replaces
}

// AttemptAt is the attempt that wrote the output text at an offset.
func (t *Task) AttemptAt(offset int64) int {
	attempt := 0
	for _, tr := range t.Transitions {
		if tr.Status == Processing && (attempt == 0 || tr.Output <= offset) {
			attempt = tr.Attempt
		}
	}
	return cmp.Or(attempt, t.Attempt)
}

// Clone returns a copy that shares no slice or map that the mesh appends to.
func (t *Task) Clone() *Task {
	c := *t
	c.Transitions = append([]Transition(nil), t.Transitions...)
	c.Milestones = append([]Milestone(nil), t.Milestones...)
	c.Warnings = append([]string(nil), t.Warnings...)
	c.Waits = append([]Wait(nil), t.Waits...)
	c.Answers = append([]Answer(nil), t.Answers...)
	c.Exchanges = append([]Exchange(nil), t.Exchanges...)
	if t.Reported != nil {
		r := *t.Reported
		c.Reported = &r
	}
	if t.Lease != nil {
		l := *t.Lease
		c.Lease = &l
	}
	return &c
}

// Expired reports whether the deadline has passed.
func (t *Task) Expired(now time.Time) bool {
	return !t.Deadline.IsZero() && !now.Before(t.Deadline)
}

// Stamp is the form in which the mesh keeps a time: UTC, milliseconds.
func Stamp(at time.Time) time.Time { return at.UTC().Truncate(time.Millisecond) }

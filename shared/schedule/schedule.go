package schedule

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"agentmesh/shared/ids"
	"agentmesh/shared/task"
)

// ID is the id of a schedule.
type ID string

const prefix = "sch_"

// NewID makes an id from a UUIDv7.
func NewID(uuid [16]byte) ID { return ID(ids.New(prefix, uuid)) }

// Valid reports whether id is one of a schedule.
func (id ID) Valid() bool { return ids.Valid(string(id), prefix) }

// Errors that others ask for with errors.Is.
var (
	ErrNotFound = errors.New("no such schedule")
	ErrTooMany  = errors.New("too many schedules")
	ErrExists   = errors.New("another schedule has the name")
)

// Overlap says what becomes of a time that is due while the run before is still
// open.
type Overlap string

// The ways.
const (
	Skip          Overlap = "skip"           // it does not run
	Queue         Overlap = "queue"          // one waits
	QueueAll      Overlap = "queue_all"      // up to MaxWaiting wait
	CancelRunning Overlap = "cancel_running" // the open run is canceled
	Allow         Overlap = "allow"          // both run
)

// Policy says which of the times that were missed run after all.
type Policy string

// The policies.
const (
	One  Policy = "one"  // the newest
	All  Policy = "all"  // up to CatchUp.Max, the oldest first
	None Policy = "none" // none of them
)

// CatchUp is what becomes of times that nobody was there to run.
type CatchUp struct {
	Policy Policy        `json:"policy,omitempty"` // default one
	Window task.Duration `json:"window,omitzero"`  // how late a time may run; default 24h
	Max    int           `json:"max,omitempty"`    // of All; default 100
}

// Work is the task that each run starts.
type Work struct {
	task.Work
	Input json.RawMessage `json:"input,omitempty"`
}

// Message is what each run says in a session.
type Message struct {
	SessionID string `json:"session_id"`
	Text      string `json:"text"`
	Agent     string `json:"agent,omitempty"` // of the session; the mesh writes it
}

// Spec is what the owner of a schedule has said: when, and what. Either Cron or
// Every is set, and either Task or Message.
type Spec struct {
	Name     string        `json:"name,omitempty"`
	Cron     []string      `json:"cron,omitempty"`
	Every    task.Duration `json:"every,omitzero"`
	Anchor   time.Time     `json:"anchor,omitzero"` // of Every; default the creation
	Timezone string        `json:"timezone,omitempty"`

	Task    *Work    `json:"task,omitempty"`
	Message *Message `json:"message,omitempty"`

	Overlap Overlap       `json:"overlap,omitempty"`
	CatchUp CatchUp       `json:"catch_up,omitzero"`
	Jitter  task.Duration `json:"jitter,omitzero"` // a run is up to this much late
	StartAt time.Time     `json:"start_at,omitzero"`
	EndAt   time.Time     `json:"end_at,omitzero"`
	Exclude []string      `json:"exclude,omitempty"`  // days, 2006-01-02
	MaxRuns int           `json:"max_runs,omitempty"` // 0: any number

	PauseAfterFailures int `json:"pause_after_failures,omitempty"` // in a row; 0: never
}

// Outcome is what became of a due time.
type Outcome string

// The outcomes.
const (
	Fired   Outcome = "fired"   // a task was started
	Waiting Outcome = "waiting" // for the run before
	Skipped Outcome = "skipped" // by the overlap policy
	Missed  Outcome = "missed"  // by the catch-up policy
	Refused Outcome = "refused" // the mesh did not accept the task
)

// Run is one due time and what became of it.
type Run struct {
	At      time.Time  `json:"scheduled_at"` // the nominal time
	Decided time.Time  `json:"decided_at"`
	Outcome Outcome    `json:"outcome"`
	TaskID  task.ID    `json:"task_id,omitempty"`
	Status  task.State `json:"status,omitempty"` // of the task, as last seen
	Reason  string     `json:"reason,omitempty"`
}

// Open reports whether the run's task had not ended when it was seen last.
func (r Run) Open() bool { return r.TaskID != "" && !r.Status.Terminal() }

// Schedule is the record of a schedule.
type Schedule struct {
	Spec

	ID     ID     `json:"schedule_id"`
	Tenant string `json:"tenant"`
	// Version changes with each change that its owner makes: an alarm of another
	// version is void.
	Version   int       `json:"version"`
	Paused    bool      `json:"paused,omitempty"`
	Note      string    `json:"note,omitempty"` // why it is paused
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	Last     time.Time   `json:"last,omitzero"`     // up to here every time is decided
	Waits    []time.Time `json:"waits,omitempty"`   // due times that wait for the open run
	Runs     []Run       `json:"runs,omitempty"`    // the newest MaxRunsKept, oldest first
	Counts   Counts      `json:"counts,omitzero"`   // of all due times
	Failures int         `json:"failures,omitzero"` // runs that failed in a row
	Pauses   []Pause     `json:"pauses,omitempty"`  // the newest MaxPausesKept, oldest first

	// Decided is another one for each time that the owner has named: of two who name one
	// in the same millisecond each knows its own record.
	Decided string `json:"decided,omitempty"`

	Rev uint64 `json:"-"` // the revision that this copy was read or written at
}

// Pause is when and why a schedule was paused.
type Pause struct {
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// Counts are how many due times had which outcome, and how many runs failed.
type Counts struct {
	Fired   int `json:"fired"`
	Skipped int `json:"skipped"`
	Missed  int `json:"missed"`
	Failed  int `json:"failed"`
}

// Bounds of a schedule.
const (
	MaxRunsKept   = 20
	MaxPausesKept = 5
	MaxWaiting    = 100
)

// Clone is a copy that shares no list.
func (s *Schedule) Clone() *Schedule {
	c := *s
	c.Waits, c.Runs, c.Pauses = slices.Clone(s.Waits), slices.Clone(s.Runs), slices.Clone(s.Pauses)
	return &c
}

// Record writes down what became of a due time. Counts count it once.
func (s *Schedule) Record(r Run) {
	r.At, r.Decided = task.Stamp(r.At), task.Stamp(r.Decided)
	i := slices.IndexFunc(s.Runs, func(old Run) bool { return old.At.Equal(r.At) && old.Outcome == Waiting })
	if i >= 0 {
		s.Runs = slices.Delete(s.Runs, i, i+1)
	}
	s.Runs = append(s.Runs, r)
	s.Runs = s.Runs[max(0, len(s.Runs)-MaxRunsKept):]
	switch r.Outcome {
	case Fired:
		s.Counts.Fired++
	case Skipped:
		s.Counts.Skipped++
	case Missed:
		s.Counts.Missed++
	case Refused:
		s.Counts.Failed++
		s.Failures++
	}
}

// OpenRun is the newest run whose task had not ended when it was seen last; nil:
// there is none.
func (s *Schedule) OpenRun() *Run {
	for i := len(s.Runs) - 1; i >= 0; i-- {
		if s.Runs[i].Open() {
			return &s.Runs[i]
		}
	}
	return nil
}

// Knows reports whether a time waits, or is one of the runs that are kept.
func (s *Schedule) Knows(at time.Time) bool {
	return slices.ContainsFunc(s.Waits, at.Equal) || slices.ContainsFunc(s.Runs, func(r Run) bool { return r.At.Equal(at) })
}

// Withdraw forgets which of times wait, and reports whether any did.
func (s *Schedule) Withdraw(times []time.Time) bool {
	before := len(s.Waits)
	s.Waits = slices.DeleteFunc(s.Waits, func(at time.Time) bool { return slices.ContainsFunc(times, at.Equal) })
	s.Runs = slices.DeleteFunc(s.Runs, func(r Run) bool { return r.Outcome == Waiting && slices.ContainsFunc(times, r.At.Equal) })
	return len(s.Waits) < before
}

// Ended notes how the task of a run ended.
func (s *Schedule) Ended(r *Run, status task.State) {
	r.Status = status
	switch status {
	case task.Failed:
		s.Counts.Failed++
		s.Failures++
	case task.Completed:
		s.Failures = 0
	}
}

// Pause pauses the schedule. While it is paused, another note changes the note only.
func (s *Schedule) Pause(at time.Time, note string) {
	if !s.Paused {
		s.Pauses = append(s.Pauses, Pause{task.Stamp(at), note})
		s.Pauses = s.Pauses[max(0, len(s.Pauses)-MaxPausesKept):]
	}
	s.Paused, s.Note = true, note
}

// Agent is who does the work of the schedule.
func (s *Schedule) Agent() string {
	switch {
	case s.Task != nil:
		return s.Task.Agent
	case s.Message != nil:
		return s.Message.Agent
	}
	return ""
}

// Over reports whether the schedule has run as often as it may.
func (s *Schedule) Over() bool { return s.MaxRuns > 0 && s.Counts.Fired >= s.MaxRuns }

package mesh

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Submission is what somebody asks to have done.
type Submission struct {
	ID          task.ID // empty: a new one is made
	Kind        task.Kind
	Agent       string // empty: the mesh's default agent
	Instruction string
	Input       json.RawMessage // nil: none
	Labels      map[string]string
	Metadata    json.RawMessage
	NotBefore   time.Time     // zero: at once
	Deadline    time.Time     // zero: none
	Timeout     time.Duration // of one attempt; 0: the agent's
	MaxAttempts int           // 0: the agent's

	CallbackURL    string
	CallbackEvents []string   // none: milestones and the outcome
	CallbackSecret webhook.ID // the webhook whose keys sign; empty: the mesh's own

	// Push is who is told what happens to the task, in the form of A2A; nil: nobody.
	// PushField is where faults of it point to.
	Push      *PushSettings
	PushField string

	Parent task.ID // the task that this one is a child of
	// Request is a text that equal requests have in common: the n-th equal child
	// of a parent that is retried is the n-th of the attempt before.
	Request []byte
	Key     *Key // of a request that may come again

	From string // the first step that a retry does again; empty: all

	ScheduleID  string    // of the schedule that asks, if one does
	ScheduledAt time.Time // its due time

	HookID   string // of the hook whose delivery asks, if one does
	HookBody string // a hash of what was delivered

	// EventDepth is how many events lie behind the request, see task.Task.
	EventDepth int

	// Faults are those of fields that the face could not read: they are reported
	// together with the others.
	Faults []Invalid
	// Watch has the acceptance ready to wait: no outcome is missed. Live: and to follow
	// what the agent says meanwhile.
	Watch, Live bool
}

// Limits of a task's fields.
const (
	maxInstruction = 64 << 10
	maxMetadata    = 16 << 10
	maxLabels      = 32
	maxLabelValue  = 256
	// MaxAhead is how far ahead a task may be scheduled.
	MaxAhead = 366 * 24 * time.Hour
)

var labelKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// Check returns what is wrong with any field.
func (s *Submission) Check() []Invalid {
	faults := slices.Clone(s.Faults)
	fault := func(pointer, detail string) { faults = append(faults, Field(detail, pointer)) }
	if s.Agent != "" && !task.ValidAgent(s.Agent) {
		fault("/agent", "agent names match [a-z0-9-]{1,40}")
	}
	if n := len(s.Instruction); n > maxInstruction {
		fault("/instruction", "it has "+strconv.Itoa(n)+" bytes, allowed are "+strconv.Itoa(maxInstruction)+"; put long text into input")
	}
	if n := len(s.Metadata); n > maxMetadata {
		fault("/metadata", "it has "+strconv.Itoa(n)+" bytes, allowed are "+strconv.Itoa(maxMetadata))
	}
	if n := len(s.Labels); n > maxLabels {
		fault("/labels", "there are "+strconv.Itoa(n)+" labels, allowed are "+strconv.Itoa(maxLabels))
		return faults // looking at each would cost more than it tells
	}
	if len(s.Labels) == 0 {
		return faults
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		if v := s.Labels[k]; !labelKey.MatchString(k) || len(v) > maxLabelValue {
			fault("/labels/"+Pointer(k), "keys match "+labelKey.String()+", values have at most "+strconv.Itoa(maxLabelValue)+" bytes")
		}
	}
	return faults
}

// Task makes the task that is asked for, without its agent and its input.
func (s *Submission) Task(tenant string, now time.Time) *task.Task {
	return &task.Task{
		ID: cmp.Or(s.ID, newID(s.Kind)), Tenant: tenant, Kind: s.Kind, Status: task.Pending, Instruction: s.Instruction, Labels: s.Labels, Metadata: s.Metadata,
		NotBefore: task.Stamp(s.NotBefore), Deadline: task.Stamp(s.Deadline), Timeout: task.Duration(s.Timeout), MaxAttempts: s.MaxAttempts,
		CreatedAt: task.Stamp(now), EventDepth: s.EventDepth, ScheduleID: s.ScheduleID, ScheduledAt: task.Stamp(s.ScheduledAt),
		HookID: s.HookID, HookBody: s.HookBody,
	}
}

func newID(kind task.Kind) task.ID { return task.NewID(kind, uuid.Must(uuid.NewV7())) }

package hook

import (
	"slices"
	"time"

	"agentmesh/shared/task"
)

// Outcome is what became of a request to a hook.
type Outcome string

// The outcomes.
const (
	Accepted  Outcome = "accepted"  // it started, said or answered something
	Repeated  Outcome = "repeated"  // the delivery was known
	Challenge Outcome = "challenge" // the sender asked whether anybody is there
	Ignored   Outcome = "ignored"   // by the rules
	Rejected  Outcome = "rejected"  // it is not verified
	Refused   Outcome = "refused"   // it is verified, and the mesh did not take it
)

// Outcomes lists them.
var Outcomes = []Outcome{Accepted, Repeated, Challenge, Ignored, Rejected, Refused}

// Receipt is one request and what became of it.
type Receipt struct {
	At       time.Time `json:"at"`
	Delivery string    `json:"delivery_id,omitempty"`
	Outcome  Outcome   `json:"outcome"`
	Cause    string    `json:"cause,omitempty"`
	TaskID   task.ID   `json:"task_id,omitempty"`
	Size     int       `json:"size"`
	Differs  bool      `json:"body_differs,omitempty"` // a known delivery came with another body
	Body     string    `json:"body,omitempty"`         // its beginning, where they are kept
}

// Counts are how many requests had which outcome.
type Counts struct {
	Accepted  int `json:"accepted"`
	Repeated  int `json:"repeated"`
	Challenge int `json:"challenge"`
	Ignored   int `json:"ignored"`
	Rejected  int `json:"rejected"`
	Refused   int `json:"refused"`
	Differs   int `json:"body_differs"`
}

// Recent is the log of a hook: its newest requests, oldest first, and all of them
// in numbers.
type Recent struct {
	Receipts []Receipt `json:"receipts"`
	Counts   Counts    `json:"counts"`

	Rev uint64 `json:"-"`
}

// Bounds of the log.
const (
	MaxReceipts = 50
	// maxStrange is how many of them may be of requests that nobody vouches for,
	// where there are others: a flood must not push out what counts.
	maxStrange = MaxReceipts / 2
	// KeptBody is how much of a body is kept, in bytes. All of them fit into one
	// message, whatever is escaped.
	KeptBody = 2 << 10
)

// Add puts a receipt into the log.
func (r *Recent) Add(one Receipt) {
	r.Receipts = append(r.Receipts, one)
	r.Counts.count(one)
	r.trim()
}

// Merge puts the receipts and the counts of another log of the same hook into this
// one.
func (r *Recent) Merge(other *Recent) {
	r.Receipts = append(r.Receipts, other.Receipts...)
	slices.SortStableFunc(r.Receipts, func(a, b Receipt) int { return a.At.Compare(b.At) })
	r.Counts.add(other.Counts)
	r.trim()
}

func (r *Recent) trim() {
	strange := 0
	for _, one := range r.Receipts {
		if one.Outcome == Rejected {
			strange++
		}
	}
	for len(r.Receipts) > MaxReceipts {
		i := 0
		if strange > maxStrange {
			i = slices.IndexFunc(r.Receipts, func(one Receipt) bool { return one.Outcome == Rejected })
		}
		if r.Receipts[i].Outcome == Rejected {
			strange--
		}
		r.Receipts = slices.Delete(r.Receipts, i, i+1)
	}
}

func (c *Counts) of(o Outcome) *int {
	switch o {
	case Accepted:
		return &c.Accepted
	case Repeated:
		return &c.Repeated
	case Challenge:
		return &c.Challenge
	case Ignored:
		return &c.Ignored
	case Rejected:
		return &c.Rejected
	}
	return &c.Refused
}

func (c *Counts) count(one Receipt) {
	*c.of(one.Outcome)++
	if one.Differs {
		c.Differs++
	}
}

func (c *Counts) add(other Counts) {
	for _, o := range Outcomes {
		*c.of(o) += *other.of(o)
	}
	c.Differs += other.Differs
}

package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is one setting of a stream or of a durable consumer that is not as
// this version has it.
type Difference struct {
	Asset  string `json:"asset"` // the stream, or stream > consumer
	Field  string `json:"field"` // empty: the stream is missing
	Is     string `json:"is"`
	Wanted string `json:"wanted"`
	Cost   string `json:"cost"`

	// Needed is one without which the mesh would break a promise: no role starts.
	Needed bool `json:"needed"`
	// Refused is one that the server does not change.
	Refused bool `json:"refused"`
}

// String names it in a line of a log.
func (d Difference) String() string { return d.Asset + " " + cmp.Or(d.Field, "is missing") }

// Costs of a change.
const (
	costInPlace = "in place"
	costRefused = "refused by the server"
	costCreate  = "created"
)

// setting is one setting of streams of which the mesh has an opinion. Limits that an
// operator tunes (max_age, max_bytes, replicas ...) are not among them.
type setting struct {
	field string
	show  func(c jetstream.StreamConfig) string
	// same reports whether what a stream has will do; nil: it is shown the same.
	same func(want, got jetstream.StreamConfig) bool
	set  func(got *jetstream.StreamConfig, want jetstream.StreamConfig)
	// harmless reports whether the mesh keeps its promises meanwhile.
	harmless func(want, got jetstream.StreamConfig) bool
	// fixed reports whether the server refuses the change; nil: it never does.
	fixed func(want, got jetstream.StreamConfig) bool
}

func always(_, _ jetstream.StreamConfig) bool { return true }
func never(_, _ jetstream.StreamConfig) bool  { return false }

// settings are in the order in which they are told. A newer version may have more
// subjects: they do not disturb this one.
var settings = []setting{
	{
		field: "retention", harmless: never, fixed: func(want, got jetstream.StreamConfig) bool {
			return want.Retention == jetstream.WorkQueuePolicy || got.Retention == jetstream.WorkQueuePolicy
		},
		show: func(c jetstream.StreamConfig) string { return c.Retention.String() },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.Retention = want.Retention },
	},
	{
		field: "subjects", harmless: lacksBulkOnly,
		show: func(c jetstream.StreamConfig) string { return strings.Join(c.Subjects, " ") },
		same: func(want, got jetstream.StreamConfig) bool { return len(lackingSubjects(want, got)) == 0 },
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.Subjects = append(slices.Clone(got.Subjects), lackingSubjects(want, *got)...)
		},
	},
	{
		field: "discard policy", show: discardPolicy, harmless: never,
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.Discard, got.DiscardNewPerSubject = want.Discard, want.DiscardNewPerSubject
		},
	},
	{
		field: "max_msgs_per_subject", harmless: never,
		show: func(c jetstream.StreamConfig) string { return fmt.Sprint(max(c.MaxMsgsPerSubject, 0)) },
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.MaxMsgsPerSubject = want.MaxMsgsPerSubject
		},
	},
	{
		field: "allow_direct", harmless: never,
		show: func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowDirect) },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.AllowDirect = want.AllowDirect },
	},
	{
		field: "allow_msg_schedules", harmless: never, fixed: func(want, _ jetstream.StreamConfig) bool { return !want.AllowMsgSchedules },
		show: func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowMsgSchedules) },
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.AllowMsgSchedules = want.AllowMsgSchedules
		},
	},
	{
		field: "subject_delete_marker_ttl", harmless: never,
		show: func(c jetstream.StreamConfig) string { return c.SubjectDeleteMarkerTTL.String() },
		same: func(want, got jetstream.StreamConfig) bool {
			return (want.SubjectDeleteMarkerTTL > 0) == (got.SubjectDeleteMarkerTTL > 0)
		},
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.AllowMsgTTL = got.AllowMsgTTL || want.AllowMsgTTL
			got.SubjectDeleteMarkerTTL = want.SubjectDeleteMarkerTTL
		},
	},
	{
		field: "republish", show: republished, harmless: never,
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.RePublish = want.RePublish },
	},
	{
		field: "max_msgs, max_bytes or max_age", harmless: never,
		show: func(c jetstream.StreamConfig) string {
			if !drops(c) {
				return "-1, none: a queue that is full must refuse"
			}
			return fmt.Sprintf("%d, %d, %v", c.MaxMsgs, c.MaxBytes, c.MaxAge)
		},
		set: func(got *jetstream.StreamConfig, _ jetstream.StreamConfig) {
			got.MaxMsgs, got.MaxBytes, got.MaxAge = -1, -1, 0
		},
	},
	{
		field: "storage", harmless: never, fixed: always,
		show: func(c jetstream.StreamConfig) string { return c.Storage.String() },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.Storage = want.Storage },
	},
	{
		// A node did not start any more after a kill: raw records stood behind compressed
		// ones in a block. The server reads the compressed ones on.
		field: "compression", harmless: always,
		show: func(c jetstream.StreamConfig) string { return c.Compression.String() },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.Compression = want.Compression },
	},
	{
		field: "max_consumers", harmless: always,
		show: func(c jetstream.StreamConfig) string { return fmt.Sprint(c.MaxConsumers) },
		same: func(want, got jetstream.StreamConfig) bool { return got.MaxConsumers >= want.MaxConsumers },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.MaxConsumers = want.MaxConsumers },
	},
	{
		field: "duplicate_window", harmless: always,
		show: func(c jetstream.StreamConfig) string { return c.Duplicates.String() },
		same: func(want, got jetstream.StreamConfig) bool { return got.Duplicates >= dedupe(want, got) },
		set: func(got *jetstream.StreamConfig, want jetstream.StreamConfig) {
			got.Duplicates = dedupe(want, *got)
		},
	},
	denial("deny_delete", func(c *jetstream.StreamConfig) *bool { return &c.DenyDelete }),
	denial("deny_purge", func(c *jetstream.StreamConfig) *bool { return &c.DenyPurge }),
	{
		field: "allow_rollup_hdrs", harmless: always,
		show: func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowRollup) },
		same: func(want, got jetstream.StreamConfig) bool { return got.AllowRollup || !want.AllowRollup },
		set:  func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { got.AllowRollup = want.AllowRollup },
	},
}

// denial is a setting that the server lets one switch on, and not off.
func denial(field string, of func(*jetstream.StreamConfig) *bool) setting {
	return setting{
		field: field, harmless: always,
		show:  func(c jetstream.StreamConfig) string { return fmt.Sprint(*of(&c)) },
		fixed: func(want, _ jetstream.StreamConfig) bool { return !*of(&want) },
		set:   func(got *jetstream.StreamConfig, want jetstream.StreamConfig) { *of(got) = *of(&want) },
	}
}

// dedupe is no longer than a message lives.
func dedupe(want, got jetstream.StreamConfig) time.Duration {
	if got.MaxAge > 0 {
		return min(want.Duplicates, got.MaxAge)
	}
	return want.Duplicates
}

// lackingSubjects are those of want that got has not.
func lackingSubjects(want, got jetstream.StreamConfig) (lacking []string) {
	for _, s := range want.Subjects {
		if !slices.Contains(got.Subjects, s) {
			lacking = append(lacking, s)
		}
	}
	return lacking
}

// lacksBulkOnly reports whether only tasks in bulk have no place: workers say that
// they take none then, and all tasks are ready ones.
func lacksBulkOnly(want, got jetstream.StreamConfig) bool {
	return want.Name == Tasks && slices.Equal(lackingSubjects(want, got), []string{TaskBulk("*", "*", "*")})
}

// HasBulk reports whether a stream, that of the tasks, takes tasks in bulk.
func HasBulk(got jetstream.StreamConfig) bool {
	return slices.Contains(got.Subjects, TaskBulk("*", "*", "*"))
}

// differences are the settings of a stream that are not as wanted.
func differences(want, got jetstream.StreamConfig) (all []Difference) {
	for _, s := range settings {
		is, wanted := s.show(got), s.show(want)
		same := is == wanted
		if s.same != nil {
			same = s.same(want, got)
		}
		if same {
			continue
		}
		d := Difference{Asset: want.Name, Field: s.field, Is: cmp.Or(is, "none"), Wanted: wanted, Cost: costInPlace, Needed: !s.harmless(want, got)}
		if d.Refused = s.fixed != nil && s.fixed(want, got); d.Refused {
			d.Cost = costRefused
		}
		all = append(all, d)
	}
	return all
}

// fits is nil unless a difference would break a promise.
func fits(differs []Difference) (err error) {
	for _, d := range differs {
		switch {
		case !d.Needed:
		case d.Refused:
			return fmt.Errorf("stream %s exists with another %s, it must be %s: the server does not change it; move what the stream holds away, delete it with `nats stream rm %s`, and start the mesh again, which creates it",
				d.Asset, d.Field, d.Wanted, d.Asset)
		case err == nil:
			err = fmt.Errorf("%w: stream %s exists with another %s, it must be %s: `mesh migrate --dry-run` shows what differs, `mesh migrate --apply` changes it", ErrLacking, d.Asset, d.Field, d.Wanted)
		}
	}
	return err
}

// sortDifferences puts them in the order of their assets.
func sortDifferences(all []Difference) {
	slices.SortStableFunc(all, func(a, b Difference) int { return strings.Compare(a.Asset, b.Asset) })
}

// drops reports whether a queue would lose accepted work when it is full or old.
func drops(queue jetstream.StreamConfig) bool {
	return queue.Retention == jetstream.WorkQueuePolicy && queue.Discard == jetstream.DiscardOld &&
		(queue.MaxMsgs > 0 || queue.MaxBytes > 0 || queue.MaxAge > 0)
}

func discardPolicy(c jetstream.StreamConfig) string {
	if c.DiscardNewPerSubject {
		return "new, for each subject"
	}
	return c.Discard.String()
}

func republished(c jetstream.StreamConfig) string {
	if c.RePublish == nil {
		return "none"
	}
	text := c.RePublish.Source + " to " + c.RePublish.Destination
	if c.RePublish.HeadersOnly {
		text += ", headers only"
	}
	return text
}

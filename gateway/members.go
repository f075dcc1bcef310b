package gateway

import (
	"fmt"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// duration is a duration as text, empty for none.
func duration(d task.Duration) string {
	if d == 0 {
		return ""
	}
	return time.Duration(d).String()
}

// fields reads fields with a form of their own and keeps what is wrong with them.
// An empty text is no value.
type fields struct{ faults []mesh.Invalid }

func (f *fields) time(pointer, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	at, err := readTime(text)
	if err != nil || at.IsZero() { // the zero time is that of a variable nobody has set
		f.faults = append(f.faults, mesh.Field(`it must be a time such as "2026-05-19T10:30:00Z"`, pointer))
	}
	return at
}

// readTime reads a time of RFC 3339. One that is in the year 10000 in UTC, by its offset,
// could not be written again.
func readTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err == nil {
		_, err = at.UTC().MarshalText()
	}
	return at, err
}

func (f *fields) duration(pointer, text string) task.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		f.faults = append(f.faults, mesh.Field(`it must be a duration such as "90s" or "24h"`, pointer))
	}
	return task.Duration(d)
}

// oneOf notes that a field is none of those that are allowed.
func (f *fields) oneOf(pointer, is string, allowed any) {
	f.faults = append(f.faults, mesh.Field(fmt.Sprintf("it is %q, allowed are %v", mesh.Clip(is, 32), allowed), pointer))
}

// put sets a field that a request has.
func put[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

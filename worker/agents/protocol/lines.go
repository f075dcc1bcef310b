package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"agentmesh/worker/agent"
)

// Lines takes an agent's lines one by one, for whoever reads them off a stream that
// several jobs share.
type Lines struct{ s *stream }

// NewLines takes those of one job; b and acks are as for [ReadDurable].
func NewLines(ctx context.Context, job *agent.Job, b *Book, acks func(Ack)) *Lines {
	return &Lines{newStream(ctx, job, b, acks)}
}

// Limit is how many bytes a line may have.
func (l *Lines) Limit() int { return l.s.limit + frame }

// Take takes a line with its line break. The error is that of [ReadDurable].
func (l *Lines) Take(line []byte) error { return l.s.write(line) }

// TooLong is the error of a line over the limit.
func (l *Lines) TooLong() error { return tooLarge("a line", l.s.limit) }

// End is what the lines came to.
func (l *Lines) End() (*Outcome, error) { return l.s.end() }

// Address is the head of a line that several jobs share.
type Address struct {
	ID   string // of the job; empty: there is none
	Type string // of the message
}

// Addressed reads the head of a line. ok says that the line is a message, or was meant
// as one and is none: anything else is text.
func Addressed(line []byte) (a Address, ok bool) {
	line = bytes.TrimPrefix(line, mark)
	if looksOf(line) != likeMessage {
		return a, false
	}
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(line, &fields) != nil {
		a.Type = meant(bytes.Trim(line, blanks), sharedTypes)
		return a, a.Type != ""
	}
	_ = json.Unmarshal(fields["type"], &a.Type)
	if json.Unmarshal(fields["id"], &a.ID) != nil {
		a.ID = string(fields["id"]) // a number, say
	}
	return a, a.ID != "" || slices.Contains(sharedTypes, a.Type)
}

// Done is the type of the line that ends a job, where jobs share a stream.
const Done = "done"

var sharedTypes = append([]string{Done}, allTypes...)

// NoAddress is the error of a message that does not say its job.
func NoAddress(line []byte) error {
	m, _, err := parse(line, allTypes)
	if err != nil {
		return err
	}
	return bad(`the message %s has no "id": in a pool each line has that of its job`, m.clip())
}

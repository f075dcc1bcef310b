// Package inspect reads agents of others as a client does, and says row by row what of
// them is not as their specification has it: the card of an A2A 1.0 agent and its
// interfaces, a server of MCP and its tools, an agent on NATS.
//
// It promises that nothing is begun: only what reads, or what must be refused, is sent;
// that credentials go to the host that was named and nowhere else; that no redirect and
// no address of a card on another host is followed; and that what comes is bounded. It
// knows no mesh.
package inspect

import (
	"fmt"
	"slices"
	"unicode"

	"agentmesh/shared/task"
)

// Kind is the protocol of what was inspected.
type Kind string

// The kinds.
const (
	A2A  Kind = "a2a"
	MCP  Kind = "mcp"
	NATS Kind = "nats"

	Unknown Kind = "unknown" // none of these answers
)

// Status is how a row stands.
type Status string

// The states.
const (
	Good    Status = "good"
	Warning Status = "warning" // allowed, and worth a look
	Fault   Status = "fault"   // not as the specification has it
	Skipped Status = "skipped"
)

// Row is one thing that was checked.
type Row struct {
	Check  string `json:"check"` // a member, such as skills[0].tags, or what was asked
	Status Status `json:"status"`
	Says   string `json:"says"`
}

// Report is what was found out about one agent, or one server.
type Report struct {
	Kind Kind   `json:"kind"`
	At   string `json:"at"` // without what may be a secret
	Name string `json:"name,omitempty"`
	OK   bool   `json:"ok"` // no fault
	Rows []Row  `json:"rows"`

	faults, left int
}

// Bounds of a report: a hostile card may be wrong a hundred thousand times.
const (
	maxRows = 200
	maxSays = 512 // bytes
	maxList = 1000
)

func newReport(kind Kind, at string) *Report { return &Report{Kind: kind, At: at} }

func (r *Report) add(check string, s Status, format string, args ...any) {
	if s == Fault {
		r.faults++
	}
	if len(r.Rows) >= maxRows {
		r.left++
		return
	}
	r.Rows = append(r.Rows, Row{task.Clip(check, 256), s, task.Clip(fmt.Sprintf(format, args...), maxSays)})
}

func (r *Report) fault(check, format string, args ...any) { r.add(check, Fault, format, args...) }
func (r *Report) warn(check, format string, args ...any)  { r.add(check, Warning, format, args...) }
func (r *Report) good(check, format string, args ...any)  { r.add(check, Good, format, args...) }
func (r *Report) skip(check, format string, args ...any)  { r.add(check, Skipped, format, args...) }

// part checks one part, and says that it is good where f finds nothing wrong and has
// something to say.
func (r *Report) part(check string, f func() string) {
	before := r.faults
	if says := f(); r.faults == before && says != "" {
		r.good(check, "%s", says)
	}
}

// done closes the report.
func (r *Report) done() Report {
	if r.left > 0 {
		r.Rows = append(r.Rows, Row{"more", Skipped, fmt.Sprintf("%d rows more are not shown", r.left)})
	}
	r.OK = r.faults == 0
	return *r
}

// hidden is the first character of a text that readers do not see, 0: none. Models
// read it nevertheless.
func hidden(s string) rune {
	for _, r := range s {
		switch {
		case r == '\n', r == '\t', r == '\r':
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r >= 0xE0000 && r <= 0xE007F:
			return r
		}
	}
	return 0
}

// kinds are the words for what stands in JSON.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "null"
}

// oneOf reports whether a value is among those that are allowed.
func oneOf(v string, allowed ...string) bool { return slices.Contains(allowed, v) }

package gateway

import (
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Parameters that several operations take.
type (
	// ofTask is the task of a path.
	ofTask struct {
		ID taskID `path:"id"`
	}
	// keyed is the key under which a request makes one task.
	keyed struct {
		Key struct{} `header:"Idempotency-Key" doc:"A structured-field string, such as \"8e03978e-40d5\". The same request with the same key makes one task for 24 hours."`
	}
	// held is how long an answer is held.
	held struct {
		Prefer struct{} `header:"Prefer" doc:"wait=N holds the answer up to N seconds (at most 60); respond-async answers at once. ?wait=10s is the same for browsers."`
	}
	// known is the version that a client has.
	known struct {
		Known string `header:"If-None-Match" doc:"The ETag of a known version: 304 while it is the newest. With Prefer: wait=N a long poll."`
	}
	// kept is the version that a client has of what does not hold it.
	kept struct {
		Known string `header:"If-None-Match" doc:"The ETag of a known version: 304 while it is the newest."`
	}
	// ifUnchanged is the version of a thing that a write is for.
	ifUnchanged struct {
		IfMatch string `header:"If-Match" doc:"The ETag of what was read: 412 when it has changed."`
	}
	// caused is the chain of events that a request belongs to.
	caused struct {
		Depth struct{} `header:"Mesh-Event-Depth" doc:"Of the delivery that this request is made because of: pass it on, so that events that cause one another end."`
	}
	// child is the parent of a new task.
	child struct {
		Parent task.ID `header:"Mesh-Parent-Task" doc:"The task that this one is a child of: same trace, its deadline, canceled with it. When the parent is retried, an equal request finds the same child."`
	}
	// paged is where a page of a list begins, and how long it is.
	paged struct {
		Limit  limit  `query:"limit" doc:"1 to 200, default 50."`
		Cursor string `query:"cursor" doc:"next_cursor of the page before."`
	}
	// resumed is where a reader of events goes on.
	resumed struct {
		LastEventID string `header:"Last-Event-ID" doc:"Go on after this event."`
		After       string `query:"after" doc:"As Last-Event-ID, where headers cannot be set."`
	}
)

// has says whether the client has the version of an entity tag.
func (k kept) has(tag string) bool { return k.Known != "" && matches(k.Known, tag) }

// expect is the check of a revision, nil when the client asks for none.
func (u ifUnchanged) expect() func(uint64) error {
	if u.IfMatch == "" {
		return nil
	}
	return func(rev uint64) error { return ifMatch(u.IfMatch, rev) }
}

// betweenTag stands in an entity tag between a revision and what else the answer shows.
const betweenTag = "-"

// ifMatch refuses a write to what has changed since the client read it
// (RFC 9110, 13.1.1). What was written is the revision only.
func ifMatch(known string, rev uint64) error {
	for candidate := range strings.SplitSeq(known, ",") {
		if written, _, more := strings.Cut(candidate, betweenTag); more {
			candidate = written + `"`
		}
		if matches(candidate, revTag(rev)) {
			return nil
		}
	}
	return mesh.Refuse(mesh.ErrPreconditionFailed, "It has changed: If-Match is %s, its ETag is %s. Read it again.", mesh.Clip(known, 64), revTag(rev))
}

// last is the id after which a reader goes on; empty: it begins.
func (r resumed) last() string {
	if r.LastEventID != "" {
		return r.LastEventID
	}
	return r.After
}

// number is last as a number; nil where there is none. Any other text than a
// number is ignored.
func (r resumed) number() *uint64 {
	if n, err := strconv.ParseUint(r.last(), 10, 64); err == nil {
		return &n
	}
	return nil
}

// taskID is the id of a task in a path. An id that is not ours is not found, and
// never reaches a subject.
type taskID string

func (id *taskID) read(c *call, values []string) error {
	if !task.ID(values[0]).Valid() {
		return mesh.Refuse(mesh.ErrTaskNotFound, "%q is not an id of ours.", mesh.Clip(values[0], 64))
	}
	telemetry.Annotate(c.r.Context(), telemetry.TaskID(values[0]))
	*id = taskID(values[0])
	return nil
}

const maxPage = 200

// limit is how many items a page has at most.
type limit int

func (l *limit) read(_ *call, values []string) error {
	if values[0] == "" {
		return nil
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 1 || n > maxPage {
		return mesh.Refuse(problem.ErrBadQuery, "limit is %q, allowed is 1 to %d.", mesh.Clip(values[0], 32), maxPage)
	}
	*l = limit(n)
	return nil
}

// items is the limit, or the default.
func (l limit) items() int {
	if l == 0 {
		return 50
	}
	return int(l)
}

// onTask is a request about a task that takes nothing else.
type onTask struct {
	request
	ofTask
}

// instant reads a time of a query.
func instant(name, text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if at, err = readTime(text); err != nil || at.IsZero() { // the zero time is that of a variable nobody has set
		return at, mesh.Refuse(problem.ErrBadQuery, "%s is %q, it must be a time such as 2026-05-19T10:30:00Z.", name, mesh.Clip(text, 64))
	}
	return at, nil
}

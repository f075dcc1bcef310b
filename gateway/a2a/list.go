package a2a

import (
	"context"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
)

// countUpTo is how many records are looked at for the size of a list.
const countUpTo = 10_000

// lister reads one page of a list, and counts the rest.
type lister struct {
	x      *exchange
	filter mesh.Filter
	in     *a2a.ListTasksRequest
	next   string
	seen   int // tasks that match, of the page and behind it
	before int // those of the pages before
}

// total is how many tasks of the list are known, whichever page is read.
func (l *lister) total() int { return l.before + l.seen }

// A token is how many tasks come before its page, and the cursor of the core.
func (l *lister) token(cursor string, found int) string {
	return strconv.Itoa(l.before+found) + "." + cursor
}

func (l *lister) from(token string) (cursor string, err error) {
	before, cursor, counted := strings.Cut(token, ".")
	if !counted {
		return token, nil
	}
	if l.before, err = strconv.Atoi(before); err != nil || l.before < 0 || cursor == "" {
		return "", invalid(mesh.Field("is none of this list", "/pageToken"))
	}
	return cursor, nil
}

// states are those of the mesh that a state of the protocol may be.
var states = map[a2a.TaskState][]task.State{
	a2a.TaskStateUnspecified:   nil,
	a2a.TaskStateSubmitted:     {task.Pending},
	a2a.TaskStateWorking:       {task.Pending, task.Processing},
	a2a.TaskStateInputRequired: {task.InputRequired, task.Processing, task.Pending},
	a2a.TaskStateCompleted:     {task.Completed},
	a2a.TaskStateFailed:        {task.Failed},
	a2a.TaskStateRejected:      {task.Failed},
	a2a.TaskStateCanceled:      {task.Canceled},
	a2a.TaskStateAuthRequired:  {task.InputRequired}, // none is: match says so
}

func filterOf(agent string, in *a2a.ListTasksRequest) (f mesh.Filter, known bool) {
	f = mesh.Filter{Agent: agent}
	if f.Statuses, known = states[in.Status]; !known {
		return f, false
	}
	switch {
	case strings.HasPrefix(in.ContextID, "ses_"):
		f.Kind, f.Session = task.KindTurn, session.ID(in.ContextID)
	case in.ContextID != "":
		f.Labels = map[string]string{a2aform.ContextLabel: in.ContextID}
	}
	return f, true
}

func (l *lister) match(t *task.Task) bool {
	if l.in.Status != "" && a2aform.State(t) != l.in.Status {
		return false
	}
	return l.in.ContextID == "" || a2aform.Context(t) == l.in.ContextID
}

// page reads the tasks of the page that the token names.
func (l *lister) page(ctx context.Context) (found []*task.Task, err error) {
	cursor, err := l.from(l.in.PageToken)
	if err != nil {
		return nil, err
	}
	for scanned, limit := 0, l.in.PageSize; ; {
		page, err := l.x.mesh.Tasks.List(ctx, l.x.caller(), l.filter, limit, cursor)
		if err != nil {
			return nil, err
		}
		scanned += page.Scanned
		for _, t := range page.Tasks {
			if after := l.in.StatusTimestampAfter; after != nil && !a2aform.Changed(t).After(*after) {
				l.last(found)
				return found, nil // newest change first
			}
			if !l.match(t) {
				continue
			}
			if l.seen++; len(found) < l.in.PageSize {
				found = append(found, t)
			}
		}
		full := len(found) == l.in.PageSize
		if full && l.next == "" {
			if l.next = page.Next; l.next != "" {
				l.next = l.token(l.next, len(found))
			}
		}
		if cursor = page.Next; cursor == "" {
			l.last(found)
			return found, nil
		}
		if full && scanned >= countUpTo {
			return found, nil
		}
		if limit = l.in.PageSize - len(found); full {
			limit = 100
		}
	}
}

// last says that there is no next page where all was looked at and nothing is behind
// this one.
func (l *lister) last(found []*task.Task) {
	if l.seen == len(found) {
		l.next = ""
	}
}

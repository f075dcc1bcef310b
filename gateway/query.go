package gateway

import (
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// checkQuery refuses a query that this operation does not take: malformed, with
// an unknown parameter, an empty one, or one that is there twice and has no list.
// A misspelled name must not silently list everything. lenient refuses only a
// malformed query, and ignores the other faults.
func checkQuery(r *http.Request, op *route, lenient bool) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, mesh.Refuse(problem.ErrBadQuery, "The query is malformed: separate parameters by &, and write ; and %% in values as %%3B and %%25.")
	}
	if lenient {
		return q, nil
	}
	for name, values := range q {
		known, listed := op.knows(name)
		switch {
		case !known && len(op.parameters()) == 0:
			return nil, mesh.Refuse(problem.ErrBadQuery, "There is no parameter %q, %s takes none.", mesh.Clip(name, 64), op.path)
		case !known:
			return nil, mesh.Refuse(problem.ErrBadQuery, "There is no parameter %q%s", mesh.Clip(name, 64), instead(name, op.parameters()))
		case slices.Contains(values, "") && name != "cursor" && !strings.HasPrefix(name, labelParam): // next_cursor may be empty
			return nil, mesh.Refuse(problem.ErrBadQuery, "%s is empty: give it a value or leave it out.", name)
		case len(values) > 1 && !listed:
			return nil, mesh.Refuse(problem.ErrBadQuery, "%s is there %d times: send it once.", mesh.Clip(name, 64), len(values))
		}
	}
	return q, nil
}

// labelParam begins the parameters that ask for a label.
const labelParam = "label."

// knows says whether an operation knows a query parameter, and whether that may
// be repeated.
func (op *route) knows(name string) (known, listed bool) {
	is := func(p param) bool {
		return p.name == name || p.name == labelParam+"{key}" && strings.HasPrefix(name, labelParam) && len(name) > len(labelParam)
	}
	if slices.ContainsFunc(op.takes.lists, is) {
		return true, true
	}
	return slices.ContainsFunc(op.takes.query, is) || name == "wait" && op.waits(), false
}

// waits says whether Prefer: wait holds the answer.
func (op *route) waits() bool { return op.takes.header("Prefer") }

// parameters names what the query may have.
func (op *route) parameters() (names []string) {
	for _, p := range append(slices.Clone(op.takes.lists), op.takes.query...) {
		names = append(names, p.name)
	}
	if op.waits() {
		names = append(names, "wait")
	}
	return names
}

// instead ends a sentence on an unknown name with the one that was meant, or
// with all.
func instead(name string, known []string) string {
	if meant := nearest(name, known); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return "; known are " + strings.Join(known, ", ") + "."
}

// nearest is the known name that name is most likely a misspelling of, empty if
// none is near.
func nearest(name string, known []string) (meant string) {
	if len(name) > 64 {
		return ""
	}
	best := len(name)/2 + 1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < best {
			best, meant = d, k
		}
	}
	return meant
}

// distance counts the letters to insert, drop, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

package console

import (
	"net/url"
	"strconv"
	"strings"
)

// window is a part of a list that the API has in one piece, and what was looked for in it.
type window[T any] struct {
	Rows        []T
	Q           string
	All         int    // of the list
	Found       int    // that match
	First, Last int    // of these, from 1
	Back, On    string // queries of the parts beside it; empty: there is none
}

// Long reports whether a reader needs to look for something.
func (w window[T]) Long() bool { return w.All > rowsMost || w.Q != "" }

// Lost reports whether nothing matches, though there is something.
func (w window[T]) Lost() bool { return w.Found == 0 && w.All > 0 }

// windowOf is the part of a list that the URL names: of those whose text has what was
// looked for, rowsMost from one on.
func windowOf[T any](q url.Values, all []T, text func(T) string) window[T] {
	w := window[T]{Q: strings.TrimSpace(q.Get("q")), All: len(all)}
	found := all
	if w.Q != "" {
		found = nil
		for _, one := range all {
			if strings.Contains(strings.ToLower(text(one)), strings.ToLower(w.Q)) {
				found = append(found, one)
			}
		}
	}
	from, _ := strconv.Atoi(q.Get("from"))
	from = max(0, min(from, (len(found)-1)/rowsMost*rowsMost))
	to := min(from+rowsMost, len(found))
	w.Rows, w.Found, w.First, w.Last = found[from:to], len(found), from+1, to
	if from > 0 {
		w.Back = with(q, "from", strconv.Itoa(max(0, from-rowsMost)))
	}
	if to < len(found) {
		w.On = with(q, "from", strconv.Itoa(to))
	}
	return w
}

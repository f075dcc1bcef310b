package cli

import (
	"fmt"
	"io"
	"time"
)

// search is how far a listing has looked. Pages are read until there is enough, for
// a page of a listing that filters hard may be short.
type search struct {
	began   time.Time
	scanned int  // records, by the gateway
	script  bool // the reader is a program
}

func beginSearch(f *clientFlags) search {
	return search{began: time.Now(), script: f.output == "json"}
}

// longSearch is what a reader notices.
const longSearch = time.Second

// tell says on notes how far the search went: with few hits, or after a while, the
// reader wants to know; a program only after a while. Of a search that failed nobody does.
func (s search) tell(failed error, notes io.Writer, found, limit int) {
	if failed != nil {
		return
	}
	if took := time.Since(s.began); took > longSearch || !s.script && (found < limit || limit == 0) {
		fmt.Fprintf(notes, "looked at %d records in %s\n", s.scanned, brief(took))
	}
}

// tellWhere is tell for a listing that looks at more than it shows where it has a
// filter only.
func (s search) tellWhere(failed error, filtered bool, notes io.Writer, found, limit int) {
	if filtered || time.Since(s.began) > longSearch {
		s.tell(failed, notes, found, limit)
	}
}

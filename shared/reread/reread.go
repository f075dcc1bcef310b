// Package reread keeps what files say while a process runs: they are read again
// when they have changed, without a restart.
//
// It promises that a file with a mistake, or one that is away while it is replaced,
// changes nothing and is logged once; that asking waits for nobody else; and that
// files which nobody asks for cost nothing. It does not know what is in them.
package reread

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Every is how often files are looked at, at most.
const Every = time.Second

// Files is what some files say together.
type Files[T any] struct {
	what  string
	paths []string
	parse func(texts [][]byte) (T, error)
	log   *slog.Logger
	now   atomic.Pointer[T]
	next  atomic.Int64 // when to look again, in nanoseconds

	mu    sync.Mutex
	seen  [][]byte // the texts that were parsed last
	fault string   // what is wrong with them, and was said
}

// Open reads files for the first time: what is wrong with them is an error. what
// says in the log and in errors which files they are.
func Open[T any](what string, log *slog.Logger, parse func(texts [][]byte) (T, error), paths ...string) (*Files[T], error) {
	f := &Files[T]{what: what, paths: paths, parse: parse, log: log}
	texts, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	value, err := parse(texts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	f.now.Store(&value)
	f.seen = texts
	f.next.Store(time.Now().Add(Every).UnixNano())
	return f, nil
}

// Get is what the files say.
func (f *Files[T]) Get() T {
	if time.Now().UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.look()
		f.next.Store(time.Now().Add(Every).UnixNano())
		f.mu.Unlock()
	}
	return *f.now.Load()
}

// look reads the files again.
func (f *Files[T]) look() {
	texts, err := f.read()
	if err == nil && slices.EqualFunc(texts, f.seen, bytes.Equal) {
		f.fault = ""
		return
	}
	var value T
	if err == nil {
		value, err = f.parse(texts)
	}
	if err != nil {
		if text := err.Error(); text != f.fault {
			f.fault = text
			f.log.Error(f.what+" not read again, what was before goes on", "error", err)
		}
		return
	}
	f.now.Store(&value)
	f.seen, f.fault = texts, ""
	f.log.Info(f.what + " read again")
}

func (f *Files[T]) read() (texts [][]byte, err error) {
	for _, path := range f.paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

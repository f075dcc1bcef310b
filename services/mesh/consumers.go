package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// corruptConsumers are those whose state the server could not read while it
// started: it says so in its log and nowhere else.
type corruptConsumers struct {
	mu    sync.Mutex
	found []corruptConsumer
}

type corruptConsumer struct{ account, stream, name string }

var corruptState = regexp.MustCompile(`Error adding consumer '(\S+) > (\S+) > (\S+)': .*corrupt state file`)

func (c *corruptConsumers) note(line string) {
	m := corruptState.FindStringSubmatch(line)
	if m == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = append(c.found, corruptConsumer{m[1], m[2], m[3]})
}

func (c *corruptConsumers) all() []corruptConsumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}

// setAside moves the state of a consumer away: the server makes a new one, from
// what is in the stream. Messages that were delivered and not acknowledged come
// again.
func (c corruptConsumer) setAside(store string, log *slog.Logger) error {
	state := filepath.Join(store, "jetstream", c.account, "streams", c.stream, "obs", c.name, "o.dat")
	keep := filepath.Join(filepath.Dir(store), keepFolder, time.Now().UTC().Format("20060102T150405"))
	to := filepath.Join(keep, c.stream+"-"+c.name+".dat")
	err := os.MkdirAll(keep, 0o750)
	if err == nil {
		err = os.Rename(state, to)
	}
	if err != nil {
		return fmt.Errorf("set the corrupt state of consumer %s of %s aside: %w; move %s away by hand", c.name, c.stream, err, state)
	}
	log.Error("the state of a consumer was corrupt: it is set aside and built anew, what was delivered and not finished comes again",
		"consumer", c.name, "stream", c.stream, "file", state, "kept", to)
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/telemetry"
	"agentmesh/shared/topology"
)

// books are a record of the mesh's own data beside the data: the messages of
// every stream at the last look, and the losses found since. It stands in a file
// beside the server's.
type books struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	written entries
}

type entries struct {
	At      time.Time        `json:"at"`
	Clean   bool             `json:"clean"` // nothing was written after it
	Streams map[string]entry `json:"streams"`
	Missing []string         `json:"missing,omitempty"` // until somebody accepts the loss
}

// entry is one stream.
type entry struct {
	Created  time.Time `json:"created"`
	LastSeq  uint64    `json:"last_seq"`
	Messages uint64    `json:"messages"`
	Ages     bool      `json:"ages,omitempty"` // messages leave it by themselves
}

const (
	booksFile  = "books.json"
	booksEvery = 15 * time.Second
	keepFolder = "damaged" // files taken out of the data
)

// openBooks reads the books in dir.
func openBooks(dir string, log *slog.Logger) *books {
	l := &books{path: filepath.Join(dir, booksFile), log: log}
	raw, err := os.ReadFile(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return l
	}
	if err == nil {
		err = json.Unmarshal(raw, &l.written)
	}
	if err != nil {
		l.note(fmt.Sprintf("%s cannot be read, so it is not known what the data had: %v", l.path, err))
	}
	return l
}

// note adds something that is missing.
func (l *books) note(missing string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.written.Missing, missing) {
		return
	}
	l.written.Missing = append(l.written.Missing, missing)
	l.log.Error("data is missing", "what", missing)
}

// missing lists what is missing and not accepted.
func (l *books) missing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.written.Missing)
}

// whole is nil when nothing is missing.
func (l *books) whole() error {
	missing := l.missing()
	if len(missing) == 0 {
		return nil
	}
	const shown = 5
	text := strings.Join(missing[:min(shown, len(missing))], "; ")
	if more := len(missing) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more in %s", more, l.path)
	}
	return fmt.Errorf("data is missing: %s. Restore the data folder from a backup, or start with --accept-loss to go on without it", text)
}

// accept forgets what is missing.
func (l *books) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, missing := range l.written.Missing {
		l.log.Warn("loss of data accepted", "what", missing)
	}
	l.written.Missing = nil
}

// checkBlocks reads every block before the server does, and takes out what is
// unreadable, so that no more is lost than that.
func (l *books) checkBlocks(store string) error {
	blocks, err := blocksOf(store)
	if err != nil {
		return fmt.Errorf("check data: %w", err)
	}
	ours := ourStreams()
	damaged, readable := map[block][]unreadable{}, 0
	var cuttable []block
	for _, b := range blocks {
		if !ours[b.stream] || b.stream == topology.ArtifactStream { // an artifact has its own checksum, for whoever reads it
			continue
		}
		bad, good, whole, err := b.check(b.last && !l.written.Clean)
		if err != nil {
			return fmt.Errorf("check data: %w", err)
		}
		readable += good
		if len(bad) > 0 {
			damaged[b] = bad
		}
		if len(bad) > 0 && whole {
			cuttable = append(cuttable, b)
		}
	}
	if readable == 0 && len(damaged) > 0 {
		l.log.Warn("the blocks of messages have a form that this version does not know: they were not checked", "data", store)
		return nil
	}
	for b, bad := range damaged {
		for _, u := range bad {
			l.note(fmt.Sprintf("%s: %s in %s cannot be read", b.stream, u, b.path))
		}
	}
	return l.cutOut(cuttable, damaged)
}

// cutOut takes what is unreadable out of the blocks.
func (l *books) cutOut(blocks []block, damaged map[block][]unreadable) error {
	if len(blocks) == 0 {
		return nil
	}
	l.mu.Lock()
	err := l.save(l.written) // from here on a crash does not forget the losses
	l.mu.Unlock()
	if err != nil {
		return err
	}
	keep := filepath.Join(filepath.Dir(l.path), keepFolder, time.Now().UTC().Format("20060102T150405"))
	for _, b := range blocks {
		if err := b.cut(damaged[b], keep); err != nil {
			return fmt.Errorf("take out what is unreadable: %w", err)
		}
		l.log.Warn("unreadable messages taken out of a block, the block as it was is kept", "block", b.path, "kept", keep)
	}
	return nil
}

// compare notes what the server has recovered less than was written down. Call
// it before anything is written.
func (l *books) compare(srv *server.Server, store string) error {
	found, lost, err := read(srv)
	if err != nil {
		return err
	}
	for name, was := range l.written.Streams {
		is, there := found[name]
		switch {
		case !there && exists(filepath.Join(store, "jetstream", "$G", "streams", name, "meta.inf")):
			l.note(fmt.Sprintf("%s: the server cannot read its meta.inf in %s: the stream is made anew over its messages", name, store))
		case !there:
			l.note(fmt.Sprintf("%s: the whole stream is gone, with %d messages", name, was.Messages))
		case !is.Created.Equal(was.Created):
			l.note(fmt.Sprintf("%s: another stream is in its place, %d messages are gone", name, was.Messages))
		case is.LastSeq < was.LastSeq:
			l.note(fmt.Sprintf("%s: the messages from %d to %d are gone", name, is.LastSeq+1, was.LastSeq))
		case l.written.Clean && !was.Ages && is.LastSeq == was.LastSeq && is.Messages < was.Messages && !l.known(name):
			l.note(fmt.Sprintf("%s: %d of %d messages are gone", name, was.Messages-is.Messages, was.Messages))
		}
	}
	for name, messages := range lost {
		l.note(fmt.Sprintf("%s: the server lost %d messages", name, messages))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// known reports whether something of a stream is noted already.
func (l *books) known(stream string) bool {
	return slices.ContainsFunc(l.missing(), func(m string) bool { return strings.HasPrefix(m, stream+": ") })
}

func ourStreams() map[string]bool {
	ours := map[string]bool{}
	for _, s := range topology.Streams(topology.Settings{Replicas: 1}) {
		ours[s.Name] = true
	}
	return ours
}

// read asks the server what it has, and what it says that it lost.
func read(srv *server.Server) (streams map[string]entry, lost map[string]int, err error) {
	info, err := srv.Jsz(&server.JSzOptions{Streams: true, Config: true})
	if err != nil {
		return nil, nil, fmt.Errorf("read the state of the streams: %w", err)
	}
	ours := ourStreams()
	streams, lost = map[string]entry{}, map[string]int{}
	for _, account := range info.AccountDetails {
		for _, s := range account.Streams {
			if !ours[s.Name] { // others may use the server too
				continue
			}
			streams[s.Name] = entry{Created: s.Created, LastSeq: s.State.LastSeq, Messages: s.State.Msgs, Ages: s.Config != nil && s.Config.MaxAge > 0}
			if s.State.Lost != nil && len(s.State.Lost.Msgs) > 0 {
				lost[s.Name] = len(s.State.Lost.Msgs)
			}
		}
	}
	return streams, lost, nil
}

// write writes the books as the server is now.
func (l *books) write(srv *server.Server, clean bool) error {
	streams, _, err := read(srv)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.save(entries{At: time.Now().UTC(), Clean: clean, Streams: streams, Missing: l.written.Missing})
}

// save writes the file. The caller holds the lock.
func (l *books) save(next entries) error {
	raw, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = replaceFile(l.path, raw)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", l.path, err)
	}
	l.written = next
	return nil
}

// observe has the metric of what is missing read, until stop.
func (l *books) observe() (stop func()) {
	return telemetry.Observe(func(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
		set(telemetry.StoreMissing, float64(len(l.missing())))
	})
}

// keepBooks writes the books now and then until ctx is done.
func (e *embedded) keepBooks(ctx context.Context) error {
	tick := time.NewTicker(booksEvery)
	defer tick.Stop()
	for {
		if err := e.books.write(e.server(), false); err != nil {
			e.log.Warn("not written down what the data has", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// backwards reads a stream from its end to its beginning, in windows.
type backwards struct {
	s      *core
	stream jetstream.Stream
	read   span
	whole  span // reads the messages of all subjects and passes on what read does; nil: there is none
	holds  holding
	at     uint64 // the highest sequence that was not looked at yet; 0: the end
	first  uint64
	end    uint64 // of the stream when the scan began
	newest bool   // it began there
	looked int    // messages

	width uint64 // of the next window, in sequences
	most  int    // messages of a window
	full  bool   // the last one could not have been much wider
	dense bool   // most of the last one was what read reads
}

// errHeavy is a window that holds more than may be kept.
var errHeavy = errors.New("too much for one window")

// The widths of windows: a first page needs few messages, a search for one among a
// million reads more at a time.
const (
	firstWindow  = 128
	widestWindow = 1 << 20
	heldMessages = 4 * windowMessages // of a window of which few are kept
	denseFrom    = 4                  // a window is dense of which one in so many is asked for
)

// newBackwards begins at sequence from, or at the end of the stream when that
// comes first.
func (s *core) newBackwards(ctx context.Context, stream jetstream.Stream, read span, from uint64, most int) (*backwards, error) {
	ctx, cancel := s.bound(ctx, stream.CachedInfo().Config.Name)
	defer cancel()
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, classify(err)
	}
	end := info.State.LastSeq
	b := &backwards{s: s, stream: stream, read: read, at: min(from, end), end: end, newest: from >= end, first: max(info.State.FirstSeq, 1), width: firstWindow, most: most}
	b.settle()
	return b, nil
}

// backwardsOf reads the messages of a subject, and of those that hold not what is
// looked for no more than that they are there.
//
// A consumer with a filter costs the server a walk over all subjects of the stream
// each time that one is made. Where most of a window is asked for, it is cheaper to
// read everything and to look at the subjects here.
func (s *core) backwardsOf(ctx context.Context, stream jetstream.Stream, subject string, from uint64, holds holding) (*backwards, error) {
	most := windowMessages
	if len(holds) > 0 {
		most = heldMessages
	}
	b, err := s.newBackwards(ctx, stream, s.readers(stream, subject, s.scans), from, most)
	if err != nil {
		return nil, err
	}
	all := s.readers(stream, everything, s.scans)
	b.whole = func(ctx context.Context, low, high uint64, f func(message) error) error {
		return all(ctx, low, high, func(m message) error {
			if !within(m.subject, subject) {
				return nil
			}
			return f(m)
		})
	}
	b.holds, b.dense = holds, true
	return b, nil
}

// everything is the filter that costs the server no walk.
const everything = ">"

// within reports whether a subject is one of a pattern.
func within(subject, pattern string) bool {
	for {
		want, restWanted, moreWanted := strings.Cut(pattern, ".")
		got, rest, more := strings.Cut(subject, ".")
		switch {
		case want == ">":
			return true
		case want != "*" && want != got, moreWanted != more:
			return false
		case !more:
			return true
		}
		pattern, subject = restWanted, rest
	}
}

func (b *backwards) settle() {
	if b.at < b.first {
		b.at = 0
	}
}

// each calls f with the messages, newest first, until f does not take one or the time is
// over; zero: one window.
func (b *backwards) each(ctx context.Context, until time.Time, f func(message) (taken bool, err error)) error {
	for b.at > 0 {
		low := max(b.first, b.at-min(b.at-1, b.width-1))
		found, heavy, err := b.window(ctx, low)
		if err != nil {
			return err
		}
		if heavy {
			b.width = max((b.at-low+1)/4, 1)
			continue
		}
		for i := len(found) - 1; i >= 0; i-- {
			taken, err := f(found[i])
			if err != nil {
				return err
			}
			if !taken {
				b.at = found[i].seq
				return nil
			}
			if !found[i].others {
				b.looked++
			}
			if i > 0 && !until.IsZero() && !time.Now().Before(until) {
				b.at = found[i-1].seq
				return nil
			}
		}
		if !b.full {
			b.width = min(2*b.width, widestWindow)
		}
		b.at = low - 1
		b.settle()
		if !time.Now().Before(until) {
			return nil
		}
	}
	return nil
}

// window reads what is between low and b.at, unless that is more than may be kept.
func (b *backwards) window(ctx context.Context, low uint64) (found []message, heavy bool, err error) {
	size, read := 0, b.read
	if b.dense && b.whole != nil {
		read = b.whole
	}
	err = read(ctx, low, b.at, func(m message) error {
		b.pass(&m)
		size += len(m.data)
		if found = append(found, m); low < b.at && (size > windowBytes || len(found) > b.most) {
			return errHeavy
		}
		return nil
	})
	b.full = size > windowBytes/4 || len(found) > b.most/4
	b.dense = uint64(len(found))*denseFrom >= b.at-low+1
	if errors.Is(err, errHeavy) {
		return nil, true, nil
	}
	return found, false, err
}

// pass lets go what is not looked for.
func (b *backwards) pass(m *message) {
	if len(m.data) > 0 && !b.holds.in(m.data) {
		m.data, m.passed = nil, true
	}
}

// news calls f with what was stored since the scan began, up to the end: a record that is
// replaced meanwhile is behind what was the end before, so the oldest comes first. In a
// queue, where each message is a request, others may come as fast as they are read, so
// what was there when it began is all, and the newest comes first. One that was moved
// during the scan is among that. Where the time is over or f takes no more, left is the
// highest sequence that was not looked at; 0: all was.
func (b *backwards) news(ctx context.Context, until time.Time, f func(message) (taken bool, err error)) (left uint64, err error) {
	info, err := b.s.info(ctx, b.stream)
	if err != nil || info.State.LastSeq == b.end {
		return 0, classify(err)
	}
	if b.whole == nil {
		rest := *b
		rest.at, rest.first, rest.width, rest.looked = info.State.LastSeq, b.end+1, firstWindow, 0
		err = rest.each(ctx, until, f)
		b.looked += rest.looked
		return rest.at, err
	}
	return 0, b.whole(ctx, b.end+1, ^uint64(0), func(m message) error {
		if b.pass(&m); !m.others {
			b.looked++
		}
		_, err := f(m)
		return err
	})
}

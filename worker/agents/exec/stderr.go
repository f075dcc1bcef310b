package exec

import (
	"bytes"
	"log/slog"
	"strings"
	"time"
)

const (
	tailSize = 4 << 10
	// The share of a program in the log: a burst, and so much in each second
	// after it.
	logBurst = 256 << 10
	logRate  = 32 << 10
)

// listen logs what the program writes to standard error, within bounds, and
// keeps the tail.
func (c *child) listen(log *slog.Logger) {
	defer close(c.heard)
	buf := make([]byte, 32<<10)
	say := sayer{log: log, left: logBurst, since: time.Now()}
	var line []byte
	for {
		n, err := c.stderr.Read(buf)
		c.tail.write(buf[:n])
		for rest := buf[:n]; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n') + 1
			whole := i > 0
			if !whole {
				i = len(rest)
			}
			if room := tailSize - len(line); i > room {
				i, whole = room, true
			}
			line, rest = append(line, rest[:i]...), rest[i:]
			if whole {
				say.line(line)
				line = line[:0]
			}
		}
		if err != nil {
			say.line(line)
			say.note()
			return
		}
	}
}

// sayer puts lines into the log, and counts what finds no room there.
type sayer struct {
	log   *slog.Logger
	left  int // bytes until the next second
	since time.Time
	out   int // bytes left out
}

func (s *sayer) line(line []byte) {
	if now := time.Now(); now.Sub(s.since) >= time.Second {
		s.note()
		s.left, s.since = max(s.left, logRate), now
	}
	if len(line) > s.left {
		s.left, s.out = 0, s.out+len(line) // in order: nothing shorter overtakes it
		return
	}
	if text := strings.TrimRight(string(line), "\r\n"); text != "" {
		s.left -= len(line)
		s.log.Info("agent stderr", "line", strings.ToValidUTF8(text, "\uFFFD"))
	}
}

// note says how much was left out.
func (s *sayer) note() {
	if s.out > 0 {
		s.log.Warn("agent stderr left out of the log: there is too much of it", "bytes", s.out)
		s.out = 0
	}
}

// tail keeps the last bytes written.
type tail struct{ buf []byte }

func (t *tail) write(b []byte) {
	t.buf = append(t.buf, b[max(0, len(b)-tailSize):]...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

func (t *tail) String() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.buf), "")) }

package exec

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	tailSize = 4 << 10
	// The share of a program in the log: a burst, and so much in each second
	// after it.
	logBurst = 256 << 10
	logRate  = 32 << 10
)

// listen hears what the program writes to standard error.
func (c *child) listen() {
	defer close(c.deaf)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.stderr.Read(buf)
		c.heard.hear(buf[:n])
		if err != nil {
			c.heard.end()
			return
		}
	}
}

// ears log what a program says beside its protocol, within bounds, and keep the tail.
type ears struct {
	mu   sync.Mutex
	say  sayer
	tail tail
	line []byte // that has not ended
}

// logTo has what comes from now on be logged there, as that of another job.
func (e *ears) logTo(log *slog.Logger) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.say.log == nil {
		e.say.left, e.say.since = logBurst, time.Now()
	} else {
		e.say.line(e.line)
		e.line = e.line[:0]
	}
	e.say.log, e.tail = log, tail{}
}

func (e *ears) hear(text []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tail.write(text)
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\n') + 1
		whole := i > 0
		if !whole {
			i = len(text)
		}
		if room := tailSize - len(e.line); i > room {
			i, whole = room, true
		}
		e.line, text = append(e.line, text[:i]...), text[i:]
		if whole {
			e.say.line(e.line)
			e.line = e.line[:0]
		}
	}
}

func (e *ears) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.say.line(e.line)
	e.say.note()
}

// last is the tail of what was heard.
func (e *ears) last() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tail.String()
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

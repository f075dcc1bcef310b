package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// copied is a copy of a program in a pool.
type copied struct {
	*child
	stop  context.CancelFunc // SIGTERM, and SIGKILL stopAfter later
	gone  chan struct{}      // closed when it has ended and its output is read
	state *os.ProcessState   // then
	err   error

	jobs    int  // that it has done
	retired bool // it counts no more

	mu  sync.Mutex
	now *taken // the job that it has; nil: none
}

// taken is a job that a copy has.
type taken struct {
	id    string
	lines *protocol.Lines
	over  chan struct{} // closed when it is done, or its lines are at fault
	err   error         // that fault
	said  bool          // the copy has said something of it
}

var orders atomic.Uint64

// begin has what the copy says from now on be that of a job.
func (c *copied) begin(ctx context.Context, job *agent.Job, book *protocol.Book, log *slog.Logger) *taken {
	t := &taken{id: strconv.FormatUint(orders.Add(1), 10), over: make(chan struct{})}
	t.lines = protocol.NewLines(ctx, job, book, func(a protocol.Ack) {
		c.say(struct {
			protocol.Ack
			ID string `json:"id"`
		}{a, t.id})
	})
	c.heard.logTo(log)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
	return t
}

// order is the line that gives a job to a copy. Its id comes first, for programs
// without a JSON parser.
func (t *taken) order(input []byte, key string) []byte {
	line := []byte(`{"type":"job","id":"` + t.id + `"`)
	if key != "" {
		quoted, _ := json.Marshal(key)
		line = append(append(line, `,"api_key":`...), quoted...)
	}
	return append(append(append(line, `,"job":`...), input...), "}\n"...)
}

// say tells the copy something. It does not wait for one that does not read.
func (c *copied) say(message any) {
	if line, err := json.Marshal(message); err == nil {
		c.words.add(append(line, '\n'))
	}
}

// finish waits until the copy is done with a job. It is not when its lines are at
// fault, it has ended, or it does not obey a cancel.
func (c *copied) finish(ctx context.Context, t *taken) (done bool) {
	select {
	case <-t.over:
		return t.err == nil
	case <-c.gone:
		return t.isOver()
	case <-ctx.Done():
	}
	c.say(map[string]string{"type": "cancel", "id": t.id})
	late := time.NewTimer(obeyWithin)
	defer late.Stop()
	select {
	case <-t.over:
		return t.err == nil
	case <-c.gone:
		return t.isOver()
	case <-late.C:
		return false
	}
}

// isOver reports whether the copy, which has ended, was done with the job before.
func (t *taken) isOver() bool {
	select {
	case <-t.over:
		return t.err == nil
	default:
		return false
	}
}

// leave has the copy end: its input does, and if that does not help it is stopped.
func (c *copied) leave() {
	c.words.end()
	go func() {
		late := time.NewTimer(leaveWithin)
		defer late.Stop()
		select {
		case <-c.gone:
		case <-late.C:
			c.stop()
		}
	}()
}

func (c *copied) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// follow reads the copy's lines until its output ends.
func (c *copied) follow() {
	defer close(c.read)
	buf := make([]byte, 64<<10)
	var line []byte
	tooLong := false
	for {
		n, err := c.stdout.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n') + 1
			whole := i > 0
			if !whole {
				i = len(rest)
			}
			if !tooLong {
				line = append(line, rest[:i]...)
			}
			rest = rest[i:]
			tooLong = tooLong || !whole && len(line) > c.limit() && c.cut(line)
			if whole && !tooLong {
				c.line(line)
			}
			if whole || tooLong {
				line, tooLong = line[:0], !whole
				if cap(line) > maxKept {
					line = nil
				}
			}
		}
		if err != nil {
			c.heard.hear(line) // it was cut off in the middle
			if !errors.Is(err, io.EOF) {
				c.heard.hear([]byte("its output could not be read: " + err.Error() + "\n"))
			}
			return
		}
	}
}

// maxKept is how many bytes of a long line's room are kept for the next one.
const maxKept = 1 << 20

// limit is how many bytes a line may have now.
func (c *copied) limit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		return agent.DefaultMaxResult
	}
	return c.now.lines.Limit()
}

// cut ends the job whose line is too long. What is no message is heard in part.
func (c *copied) cut(line []byte) bool {
	c.mu.Lock()
	t := c.now
	c.mu.Unlock()
	if bytes.HasPrefix(bytes.TrimSpace(line[:min(len(line), tailSize)]), []byte("{")) && t != nil {
		c.end(t, t.lines.TooLong())
	} else {
		c.heard.hear(append(line[:tailSize:tailSize], '\n'))
	}
	return true
}

// line takes a whole line.
func (c *copied) line(line []byte) {
	c.mu.Lock()
	t := c.now
	c.mu.Unlock()
	head, message := protocol.Addressed(line)
	if t != nil {
		t.said = t.said || head.ID == t.id
	}
	switch {
	case !message, t == nil, head.ID != "" && head.ID != t.id:
		c.heard.hear(line) // printed by a library, or of a job that is over
	case head.ID == "":
		c.end(t, protocol.NoAddress(line))
	case head.Type == protocol.Done:
		c.end(t, nil)
	default:
		if err := t.lines.Take(line); err != nil {
			c.end(t, err)
		}
	}
}

// end ends a job.
func (c *copied) end(t *taken, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == t {
		c.now, t.err = nil, err
		close(t.over)
	}
}

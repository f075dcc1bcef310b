package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

const (
	heartbeatEvery = 15 * time.Second
	slowReader     = 10 * time.Second // one event must be gone within this, or the reader is cut
	reconnectAfter = time.Second
)

// stream writes one task's events to one reader.
type stream struct {
	w       http.ResponseWriter
	links   links
	control *http.ResponseController
	id      string
	seen    uint64 // revision of the last event sent
	output  int64  // offset behind the last output sent
	rewinds int    // how often the agent has taken output back that this reader may have seen
	attempt int    // whose claim was sent last: its output may follow live
	plain   bool   // events carry no ids: they are not where a reader resumes

	rev   uint64        // of the newest record that was sent
	ahead []*task.Entry // steps of a run whose claim was not sent yet
}

func newStream(w http.ResponseWriter) stream {
	return stream{w: w, links: linksOf(w), control: http.NewResponseController(w)}
}

// start sends the header of a stream.
func (s *stream) start() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer by default
	s.w.WriteHeader(http.StatusOK)
}

// begin sends the header, and the id from which a reader resumes that is cut
// before its first event.
func (s *stream) begin(id uint64) error { return s.beginAt(strconv.FormatUint(id, 10)) }

func (s *stream) beginAt(id string) error {
	s.start()
	return s.write(fmt.Appendf(nil, "retry: %d\nid: %s\n\n", reconnectAfter.Milliseconds(), id))
}

// run sends what has happened and then what happens, until the terminal event,
// the reader's end or the gateway's. A reader that is too slow is cut: it may
// resume, and nobody waits for it.
func (s *stream) run(ctx, closing context.Context, watch *store.Watch, t *task.Task, resumed bool) {
	s.start()
	if err := s.write(fmt.Appendf(nil, "retry: %d\n\n", reconnectAfter.Milliseconds())); err != nil {
		return
	}
	if !resumed {
		if s.event(string(task.EventStatus), "0", begun(s.links, t)) != nil {
			return
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(closing, cancel)()
	s.follow(ctx, watch, t)
}

// follow sends what t tells and what happens after it, and reports whether it
// came to the terminal event. The stream of a task that is deleted ends: a reader that
// comes again is told that there is none.
func (s *stream) follow(ctx context.Context, watch *store.Watch, t *task.Task) (ended bool) {
	if open, ok := s.record(t); !open || !ok {
		return ok
	}
	beat := time.Now()
	for {
		window, done := context.WithDeadline(ctx, beat.Add(heartbeatEvery))
		open, ok := true, true
		err := watch.Updates(window, s.seen, func(u store.Update) bool {
			switch {
			case u.Task != nil:
				open, ok = s.record(u.Task)
			case u.Step != nil:
				ok = s.step(u.Step)
			default:
				ok = s.chunk(u.Output)
			}
			return open && ok
		})
		done()
		if !open || !ok || ctx.Err() != nil || errors.Is(err, task.ErrDeleted) {
			return !open && ok
		}
		beat = time.Now()
		if s.write([]byte(": heartbeat\n\n")) != nil {
			return false
		}
	}
}

// record sends what t tells, output and events in the agent's order. open says
// that more will happen, ok that the reader is there. Of events that share an id
// only the last one says it: a reader that resumes from it has had them all.
func (s *stream) record(t *task.Task) (open, ok bool) {
	events := task.Events(t, s.seen)
	if s.output == 0 {
		s.rewinds = t.OutputRewinds
	} else if t.OutputRewinds > s.rewinds && !s.rewind(t.OutputRewinds, t.OutputFrom) {
		return true, false
	}
	for i, e := range events {
		if !s.steps(e.ID) {
			return true, false
		}
		upTo := e.Output
		if e.Type == task.EventStatus && e.Transition.Status.Terminal() {
			upTo = t.OutputBytes
		}
		if !s.outputUpTo(t, upTo) {
			return true, false
		}
		id := strconv.FormatUint(e.ID, 10)
		if i+1 < len(events) && events[i+1].ID == e.ID {
			id = ""
		}
		if s.event(string(e.Type), id, eventData(s.links, t, e)) != nil {
			return true, false
		}
		s.seen = e.ID
	}
	s.attempt = 0
	if t.Status == task.Processing {
		s.attempt = t.Attempt
	}
	s.rev = t.Rev
	if t.Status.Terminal() {
		return false, s.outputUpTo(t, t.OutputBytes)
	}
	return true, s.outputUpTo(t, t.OutputBytes) && s.steps(t.Rev+1)
}

// maxAhead bounds how many steps wait for the claim of their run. Who misses one finds
// it in the list of steps.
const maxAhead = 256

// step sends what the agent has finished, after the record by which its run began:
// the two come on different ways. It has no id, since it is told once and live.
func (s *stream) step(e *task.Entry) bool {
	if e.Epoch > s.rev {
		if len(s.ahead) < maxAhead {
			s.ahead = append(s.ahead, e)
		}
		return true
	}
	return s.event(string(task.EventStep), "", stepEvent(task.ID(s.id), e)) == nil
}

// steps sends those that wait of the runs that began before a revision.
func (s *stream) steps(rev uint64) bool {
	for len(s.ahead) > 0 && s.ahead[0].Epoch < rev {
		e := s.ahead[0]
		s.ahead = s.ahead[1:]
		if s.event(string(task.EventStep), "", stepEvent(task.ID(s.id), e)) != nil {
			return false
		}
	}
	return true
}

// rewind goes back in the output, as the agent has: what was shown from there on is
// void. A reader that has missed one of several gets everything again.
func (s *stream) rewind(rewinds int, from int64) bool {
	missed := rewinds > s.rewinds+1
	s.rewinds = rewinds
	if missed {
		from = 0
	}
	return from >= s.output || s.text(s.attempt, from, "")
}

// outputUpTo sends the output text before offset end that was not sent yet, each
// attempt's for itself. Text that is too old is not kept.
func (s *stream) outputUpTo(t *task.Task, end int64) bool {
	kept := t.OutputBytes - int64(len(t.Output)) // where the kept text begins
	end = min(end, t.OutputBytes)
	if t.OutputRewinds < s.rewinds {
		return true // what was sent live is newer
	}
	for from := max(s.output, kept); from < end; from = s.output {
		attempt, to := t.AttemptAt(from), end
		for _, tr := range t.Transitions {
			if tr.Status == task.Processing && tr.Output > from {
				to = min(to, tr.Output)
			}
		}
		if !s.text(attempt, from, t.Output[from-kept:to-kept]) {
			return false
		}
	}
	return true
}

// chunk sends live output. A gap before it, and what an attempt writes whose
// claim was not seen yet, is left for the record to fill.
func (s *stream) chunk(raw []byte) bool {
	var c task.OutputChunk
	if json.Unmarshal(raw, &c) != nil || c.Attempt != s.attempt || c.Rewinds < s.rewinds {
		return true
	}
	if c.Rewinds > s.rewinds && !s.rewind(c.Rewinds, c.From) {
		return false
	}
	if c.Thought != "" {
		return s.event("reasoning", "", api.Reasoning{TaskID: s.id, Attempt: c.Attempt, Offset: c.ThoughtAt, Text: c.Thought}) == nil
	}
	if c.Offset > s.output {
		return true
	}
	if skip := s.output - c.Offset; skip < int64(len(c.Text)) {
		return s.text(c.Attempt, s.output, c.Text[skip:])
	}
	return true
}

func (s *stream) text(attempt int, offset int64, text string) bool {
	s.output = offset + int64(len(text))
	return s.event("output", "", api.Output{TaskID: s.id, Attempt: attempt, Offset: offset, Text: text}) == nil
}

// event writes one server-sent event. The data is one line: JSON has no raw
// line breaks.
func (s *stream) event(name, id string, data any) error {
	body, err := task.Marshal(data)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("event: " + name + "\n")
	if id != "" && !s.plain {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("data: ")
	b.Write(body)
	b.WriteString("\n\n")
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	// Not every ResponseWriter has deadlines; a server's connection has.
	_ = s.control.SetWriteDeadline(time.Now().Add(slowReader))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/task"
)

// Times of an answer.
const (
	ackEvery   = 20 * time.Second // callers give up after 60 s of silence
	flushEvery = 100 * time.Millisecond
)

// follower tells a caller what happens to a task.
type follower struct {
	*exchange
	watch *store.Watch
	t     *task.Task

	seen    uint64 // the revision whose milestones were told
	attempt int
	said    strings.Builder // output of this attempt that was sent
	output  int64           // how far it goes
	waiting strings.Builder // output that is to be sent
	flushed time.Time
	spoke   time.Time // when the caller last heard of us
	percent int
	message string
	asked   map[string]bool
}

// run follows the task to its end, or until the caller must go on elsewhere.
func (f *follower) run(ctx context.Context) error {
	held, cancel := context.WithTimeout(ctx, f.Hold)
	defer cancel()
	f.asked, f.percent, f.attempt, f.spoke = map[string]bool{}, -1, f.t.Attempt, time.Now()
	f.output = beginning(f.t)
	rev := f.t.Rev
	open := f.record(held, f.t)
	for open && held.Err() == nil {
		window, done := context.WithTimeout(held, f.window())
		err := f.watch.Updates(window, rev, func(u store.Update) bool {
			if u.Task == nil {
				f.chunk(u.Output)
			} else {
				rev = u.Task.Rev
				open = f.record(held, u.Task)
			}
			return open && f.waiting.Len() == 0 && time.Since(f.spoke) < ackEvery
		})
		done()
		if err != nil && held.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		f.flush(false)
		if time.Since(f.spoke) >= ackEvery {
			f.heard(f.prompt.Ack())
		}
	}
	f.flush(true)
	if open {
		return f.prompt.Response(later(f.t.ID))
	}
	return f.outcome(context.WithoutCancel(ctx))
}

// window is how long nothing need be done.
func (f *follower) window() time.Duration {
	d := max(ackEvery-time.Since(f.spoke), time.Millisecond)
	if f.waiting.Len() > 0 {
		d = min(d, max(flushEvery-time.Since(f.flushed), time.Millisecond))
	}
	return d
}

func (f *follower) heard(error) { f.spoke = time.Now() }

// record tells what is new in a record, and reports whether more may come.
func (f *follower) record(ctx context.Context, t *task.Task) bool {
	if t.Attempt > f.attempt {
		f.flush(true)
		if f.said.Len() > 0 {
			f.heard(f.prompt.Status("restart")) // what came is void
		}
		f.said.Reset()
		f.attempt, f.output = t.Attempt, max(f.output, beginning(t))
	}
	for _, e := range task.Events(t, f.seen) {
		if e.Type == task.EventMilestone {
			f.heard(f.prompt.Status("milestone:" + e.Milestone.Name))
		}
	}
	f.seen, f.t = max(f.seen, t.Rev), t
	if t.Percent != nil && t.Status == task.Processing && (*t.Percent != f.percent || t.Message != f.message) {
		f.percent, f.message = *t.Percent, t.Message
		f.heard(f.prompt.Status(strings.TrimSpace("progress:" + strconv.Itoa(f.percent) + " " + f.message)))
	}
	f.more(t.OutputBytes, tail(t, f.output))
	if t.Status.Terminal() {
		return false
	}
	f.ask(ctx)
	return true
}

// beginning is where the output of the present attempt begins.
func beginning(t *task.Task) int64 {
	for _, tr := range t.Transitions {
		if tr.Attempt == t.Attempt && tr.Status == task.Processing {
			return tr.Output
		}
	}
	return 0
}

// tail is the output behind an offset that a record still has.
func tail(t *task.Task, from int64) string {
	kept := t.OutputBytes - int64(len(t.Output))
	if from = max(from, kept); from >= t.OutputBytes {
		return ""
	}
	return t.Output[from-kept:]
}

// chunk takes live output that follows what was sent; a record fills any gap.
func (f *follower) chunk(raw []byte) {
	var c task.OutputChunk
	if len(raw) == 0 || json.Unmarshal(raw, &c) != nil || c.Offset > f.output || c.Attempt != f.attempt {
		return
	}
	if skip := f.output - c.Offset; skip < int64(len(c.Text)) {
		f.more(c.Offset+int64(len(c.Text)), c.Text[skip:])
	}
}

func (f *follower) more(end int64, text string) {
	if text != "" {
		f.output = end
		f.waiting.WriteString(text)
	}
}

// flush sends output that waits: ten times a second at most, unless it is the last.
func (f *follower) flush(all bool) {
	if f.waiting.Len() == 0 || !all && time.Since(f.flushed) < flushEvery {
		return
	}
	text := f.waiting.String()
	f.waiting.Reset()
	f.said.WriteString(text)
	f.flushed = time.Now()
	f.heard(f.prompt.Response(text))
}

// ask passes the open questions on, each once, and the answers back.
func (f *follower) ask(ctx context.Context) {
	for _, w := range f.t.Questions() {
		key := fmt.Sprintf("%s-%d", w.Name, w.N)
		if f.asked[key] {
			continue
		}
		f.asked[key] = true
		f.heard(nil)
		f.prompts.Go(func() { f.question(ctx, w) })
	}
}

// question asks until an answer is taken, or somebody else has given one.
func (f *follower) question(ctx context.Context, w task.Wait) {
	prompt := w.Prompt
	if len(w.Schema) > 0 {
		prompt += "\nAnswer by the schema: " + string(w.Schema)
	}
	id := f.t.ID
	for again := ""; ; {
		r, err := f.prompt.Query(ctx, w.Name, again+prompt)
		if err != nil {
			return
		}
		_, err = f.Mesh.Tasks.Answer(ctx, f.caller, id, mesh.AnswerRequest{Name: w.Name, Value: task.TextValue(r.Prompt, w.Schema)})
		var refused *mesh.Error
		if !errors.As(err, &refused) || len(refused.Faults) == 0 {
			return
		}
		again = "The answer was not taken: " + failure(err).Message + "\n"
	}
}

// maxResult is the largest result in bytes that is sent.
const maxResult = 1 << 20

// outcome tells what a task came to. The error ends the answer.
func (f *follower) outcome(ctx context.Context) error {
	t := f.t
	switch {
	case t.Status == task.Canceled:
		return &protocol.Error{Code: 409, Name: "canceled", Message: "The task " + string(t.ID) + " was canceled."}
	case t.Status == task.Failed:
		return failed(t)
	case t.Kind == task.KindTurn:
		text, err := f.Mesh.Sessions.Reply(ctx, t)
		if err != nil {
			return err
		}
		return f.rest(text)
	case max(t.Result.Size, int64(len(t.Result.Inline))) > maxResult:
		return f.prompt.Response(fmt.Sprintf("\nThe result has %d bytes: GET %s/tasks/%s/result\n", max(t.Result.Size, int64(len(t.Result.Inline))), f.PublicURL, t.ID))
	}
	raw := []byte(t.Result.Inline)
	if t.Result.Object != "" {
		r, err := f.Mesh.Tasks.OpenValue(ctx, t.Result)
		if err != nil {
			return err
		}
		if raw, err = io.ReadAll(io.LimitReader(r, t.Result.Size)); err != nil {
			return err
		}
	}
	return f.result(raw)
}

// failed is the error of a task that failed.
func failed(t *task.Task) *protocol.Error {
	e := &protocol.Error{Code: 500, Name: "failed", Message: "The task " + string(t.ID) + " failed."}
	if t.Error == nil {
		return e
	}
	e.Name, e.Message = t.Error.Code, t.Error.Message
	switch t.Error.Code {
	case task.CodeBadInput, task.CodeInputInvalid, task.CodeInputTooComplex:
		e.Code = 400
	case "rejected":
		e.Code = 403
	}
	return e
}

// result sends what was not streamed yet: a text, else the JSON; files as attachments.
func (f *follower) result(raw []byte) error {
	var plain string
	var object struct {
		Text  *string `json:"text"`
		Files []file  `json:"files"`
	}
	var members map[string]json.RawMessage
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case json.Unmarshal(raw, &plain) == nil:
		return f.rest(plain)
	case json.Unmarshal(raw, &members) == nil && json.Unmarshal(raw, &object) == nil && object.Text != nil && len(members) == 1:
		return f.rest(*object.Text)
	case len(object.Files) > 0 && len(members) <= 2 && (len(members) == 1 || object.Text != nil):
		if object.Text != nil {
			if err := f.rest(*object.Text); err != nil {
				return err
			}
		}
		return f.files(object.Files)
	}
	return f.rest(string(raw))
}

// rest sends what of a text was not sent as output.
func (f *follower) rest(text string) error {
	said := f.said.String()
	if after, ok := strings.CutPrefix(text, said); ok {
		return f.prompt.Response(after)
	}
	if strings.TrimSpace(text) == strings.TrimSpace(said) {
		return nil
	}
	return f.prompt.Response("\n" + text)
}

func (f *follower) files(all []file) error {
	for _, one := range all {
		a := protocol.Attachment{Filename: one.Filename, Content: one.Bytes}
		if !f.prompt.Fits(a) {
			if err := f.prompt.Response(fmt.Sprintf("\n%s: GET %s/tasks/%s/result\n", one.Filename, f.PublicURL, f.t.ID)); err != nil {
				return err
			}
			continue
		}
		if err := f.prompt.Attach(a); err != nil {
			return err
		}
	}
	return nil
}

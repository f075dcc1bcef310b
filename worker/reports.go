package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// reports collects what a job tells while it runs and rings when it is time to
// write it. Progress and output are written at most every flushEvery, the
// newest alone; milestones at once, and so are the first few of quick progress.
type reports struct {
	store  *store.Store
	tenant string
	id     task.ID
	bell   bell
	due    atomic.Bool // it is time to write

	mu         sync.Mutex
	opened     bool // the record is claimed: progress may be written
	closed     bool // the attempt is being settled: nothing more is
	percent    *int
	message    string
	tail       []byte // ends with the newest output: see grow
	written    int64  // output bytes so far
	attempt    int
	told       int         // number of the newest milestone
	report     task.Report // of percent and message, when they were told
	fresh      bool        // they are newer than what was taken: output waits behind them
	behind     int         // bytes of output that wait
	parent     bool        // the job has started other tasks
	usage      consumption
	rewinds    int   // how often output was taken back
	rewound    int64 // to where, the newest time
	step       *task.StepMark
	changed    bool // since the last take
	pace       pace
	timer      *time.Timer
	milestones []pendingMilestone
	warnings   []string // bounded by the task that takes them
}

// pace says when to write. What an agent tells now and then is written as it comes; one
// that tells all the time is held to flushEvery.
type pace struct {
	last  time.Time
	spare int // writes of progress that need not wait for flushEvery
}

// wait is how long to wait for the next write; quick: it is one of progress.
func (p *pace) wait(quick bool) time.Duration {
	if quick && p.spare > 0 {
		p.spare--
		return time.Until(p.last.Add(flushSoon))
	}
	return time.Until(p.last.Add(flushEvery))
}

func (p *pace) wrote(now time.Time) {
	p.spare = min(flushSpare, p.spare+int(now.Sub(p.last)/flushIdle))
	p.last = now
}

type pendingMilestone struct {
	m    task.Milestone
	done chan<- error
}

var errEnded = errors.New("the attempt has ended")

const (
	flushEvery = 250 * time.Millisecond
	flushSoon  = 20 * time.Millisecond
	flushSpare = 4
	flushIdle  = time.Second // of no write: one more need not wait
	outputTail = 64 << 10
)

func newReports(st *store.Store, rings bell, t *task.Task) *reports {
	return &reports{store: st, tenant: t.Tenant, id: t.ID, bell: rings, pace: pace{spare: flushSpare}, tail: []byte(t.Output), written: t.OutputBytes, attempt: t.Attempt, told: t.LastMilestone(), rewinds: t.OutputRewinds, rewound: t.OutputFrom}
}

// Progress implements agent.Reporter.
func (r *reports) Progress(percent int, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.percent, r.message = &percent, message
	r.report, r.fresh, r.behind = task.Report{Output: r.written, Milestone: r.told}, true, 0
	r.touch()
}

// Output implements agent.Reporter: live text goes out at once, the record
// follows. Behind progress that is not written yet it waits for the record, so
// that readers see both in their order.
func (r *reports) Output(text string) {
	text = strings.ToValidUTF8(text, "�")
	r.mu.Lock()
	offset, waits := r.addLocked(text)
	rewinds, rewound := r.rewinds, r.rewound
	r.mu.Unlock()
	for len(text) > 0 && !waits {
		n := min(len(text), outputTail)
		for n < len(text) && text[n]&0xC0 == 0x80 {
			n--
		}
		r.publish(task.OutputChunk{Attempt: r.attempt, Offset: offset, Text: text[:n], Rewinds: rewinds, From: rewound})
		text, offset = text[n:], offset+int64(n)
	}
}

func (r *reports) publish(c task.OutputChunk) {
	if chunk, err := json.Marshal(c); err == nil {
		_ = r.store.Tasks.PublishOutput(r.tenant, r.id, chunk) // the record has it as well
	}
}

// addLocked appends output, and says where it is and whether it waits for the record.
func (r *reports) addLocked(text string) (offset int64, waits bool) {
	offset = r.written
	r.written += int64(len(text))
	r.grow(text)
	r.touch()
	if r.fresh {
		r.behind += len(text)
	}
	return offset, r.fresh && r.behind <= outputTail/2
}

// grow appends output. Old text goes when there is as much of it as is kept: a
// copy for each line was most of the bytes that an attempt moved.
func (r *reports) grow(text string) {
	text = text[max(0, len(text)-outputTail):]
	if len(r.tail)+len(text) > 2*outputTail {
		r.tail = append(r.tail[:0], r.tail[len(r.tail)-outputTail:]...)
	}
	r.tail = append(r.tail, text...)
}

// newest is the newest output, at most outputTail bytes of whole characters.
func (r *reports) newest() string {
	from := max(0, len(r.tail)-outputTail)
	for from < len(r.tail) && !utf8.RuneStart(r.tail[from]) {
		from++
	}
	return string(r.tail[from:])
}

// Milestone implements agent.Reporter. More of them than a record keeps do not
// wait: the oldest go, as they would from the record.
func (r *reports) Milestone(ctx context.Context, name, message string, data json.RawMessage) error {
	done := make(chan error, 1)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return cmp.Or(context.Cause(ctx), errEnded)
	}
	if len(r.milestones) == task.MaxMilestones {
		r.milestones[0].done <- nil
		r.milestones = r.milestones[1:]
		r.told--
	}
	r.milestones = append(r.milestones, pendingMilestone{
		m: task.Milestone{Name: name, Message: message, Data: data, At: task.Stamp(time.Now()), Output: r.written}, done: done,
	})
	r.told++
	r.mu.Unlock()
	r.ring()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Warn implements agent.Warner.
func (r *reports) Warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text = task.Cut(text, task.MaxWarning); len(r.warnings) < task.MaxWarnings && !slices.Contains(r.warnings, text) {
		r.warnings = append(r.warnings, text)
	}
}

// children notes that the job has started other tasks.
func (r *reports) children() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.parent {
		r.parent = true
		r.touch()
	}
}

// stepped notes that a step has ended.
func (r *reports) stepped(name string, done int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = &task.StepMark{Name: name, Done: done}
	r.touch()
}

// touch notes a change and rings for it in due time. r.mu is held.
func (r *reports) touch() {
	r.changed = true
	if !r.opened || r.closed || r.timer != nil {
		return
	}
	r.timer = time.AfterFunc(r.pace.wait(r.fresh), r.ring)
}

func (r *reports) ring() {
	r.due.Store(true)
	r.bell.ring()
}

// open lets progress be written: the record is claimed.
func (r *reports) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = true
	if r.changed {
		r.touch()
	}
}

// take puts the newest progress and output into t.
func (r *reports) take(t *task.Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeLocked(t)
}

func (r *reports) takeLocked(t *task.Task) {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.changed, r.fresh = false, false
	r.pace.wrote(time.Now())
	if r.percent != nil {
		p := *r.percent
		changed := t.Reported == nil || t.Percent == nil || *t.Percent != p || t.Message != r.message ||
			t.Reported.Output != r.report.Output || t.Reported.Milestone != r.report.Milestone
		if t.Percent, t.Message = &p, r.message; changed {
			report := r.report
			report.After = t.Rev
			t.Reported = &report
		}
	}
	t.Output, t.OutputBytes = r.newest(), r.written
	t.HasChildren = t.HasChildren || r.parent
	if r.step != nil {
		t.Step = r.step
	}
	for _, text := range r.warnings {
		t.Warn(text)
	}
	t.OutputRewinds, t.OutputFrom = r.rewinds, r.rewound
	r.usage.into(t)
}

// takeMilestones takes the milestones that wait.
func (r *reports) takeMilestones() []pendingMilestone {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.milestones
	r.milestones = nil
	return all
}

// again rings in d.
func (r *reports) again(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil && !r.closed {
		r.timer = time.AfterFunc(d, r.ring)
	}
}

// close ends the reports of a job: later ones are ignored. It returns the
// milestones that wait.
func (r *reports) close() []pendingMilestone {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.opened, r.closed = false, true
	all := r.milestones
	r.milestones = nil
	return all
}

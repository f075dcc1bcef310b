package console

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"agentmesh/gateway/client"
)

// fall is the life of a task on one axis: how long it waited, its attempts and steps,
// the tasks that it called and what was told to receivers. Idle time is drawn short.
type fall struct {
	Rows  []fallRow
	Ticks []fallTick
	Gaps  []fallGap
	More  int // rows that are not drawn
}

// fallRow is one bar with its words.
type fallRow struct {
	Name, Kind string // kind: how it is drawn
	Task       string // of a child: its id
	Delivery   string
	Depth      int
	Note       string
	Begun      time.Time
	Took       string
	Open       bool // it goes on
	X, W       string

	end time.Time
}

type fallTick struct{ X, Text string }

type fallGap struct{ X, W, Text string }

// fallMost bounds the rows that are drawn.
const fallMost = 120

// draw lays out the waterfall.
func (p *taskPage) draw(now time.Time) *fall {
	f := &fall{}
	t := p.T
	f.waits(t, now)
	for _, a := range t.Attempts {
		f.attempt(a, now)
	}
	for _, s := range p.Steps {
		f.step(s)
	}
	f.children(p.Children, 1, now)
	for _, d := range p.Sent {
		f.delivery(d)
	}
	if len(f.Rows) > fallMost {
		f.More = len(f.Rows) - fallMost
		f.Rows = f.Rows[:fallMost]
	}
	f.lay()
	return f
}

// waits adds the time before the first attempt.
func (f *fall) waits(t *client.Task, now time.Time) {
	end := t.StartedAt
	for _, a := range t.Attempts {
		if end.IsZero() || !a.StartedAt.IsZero() && a.StartedAt.Before(end) {
			end = a.StartedAt
		}
	}
	if end.IsZero() {
		if end = t.FinishedAt; end.IsZero() {
			end = now
		}
	}
	f.add(fallRow{Name: "waited", Kind: "wait", Begun: t.CreatedAt, end: end, Open: t.StartedAt.IsZero() && !t.Done && len(t.Attempts) == 0})
}

var attemptKinds = map[string]string{"completed": "ok", "failed": "bad", "lost": "bad", "retried": "warn", "canceled": "wait", "running": "run", "suspended": "wait", "handed_back": "wait"}

func (f *fall) attempt(a client.Attempt, now time.Time) {
	r := fallRow{Name: "attempt " + strconv.Itoa(a.Attempt), Kind: attemptKinds[a.Outcome], Begun: a.StartedAt, end: a.EndedAt, Note: word(a.Outcome)}
	if r.Open = a.EndedAt.IsZero(); r.Open {
		r.end = now
	}
	f.add(r)
}

func (f *fall) step(s client.Step) {
	name := s.Name
	if s.N > 0 {
		name += " " + strconv.Itoa(s.N+1)
	}
	r := fallRow{Name: name, Kind: "step", Depth: 1, Begun: s.At.Add(-time.Duration(s.MS) * time.Millisecond), end: s.At, Note: words(s.Kind)}
	if s.Error != nil {
		r.Kind = "bad"
	}
	if s.Kind == "sleep" || s.Kind == "wait" || s.Kind == "answer" {
		r.Kind = "wait"
	}
	f.add(r)
}

// children adds tasks that were called, each before those that it has called itself.
func (f *fall) children(all []branch, depth int, now time.Time) {
	for _, c := range all {
		f.child(c.Task, depth, now)
		f.children(c.Children, depth+1, now)
	}
}

func (f *fall) child(c client.Task, depth int, now time.Time) {
	r := fallRow{Name: c.Agent, Kind: "child", Depth: depth, Task: c.TaskID, Begun: c.CreatedAt, end: c.FinishedAt, Note: "called, " + word(c.Status)}
	if r.Open = !c.Done; r.Open {
		r.end = now
	}
	f.add(r)
}

func (f *fall) delivery(d client.Delivery) {
	for i, a := range d.Attempts {
		r := fallRow{Name: "delivery " + strconv.Itoa(i+1), Kind: "call", Delivery: d.DeliveryID, Begun: a.At, end: a.At.Add(time.Duration(a.DurationMS * float64(time.Millisecond))), Note: d.Type}
		if a.StatusCode > 0 {
			r.Note += fmt.Sprintf(", %d", a.StatusCode)
		}
		if a.Class != "" && a.Class != "success" && a.Class != "ok" {
			r.Kind, r.Note = "bad", r.Note+", "+words(a.Class)
		}
		f.add(r)
	}
}

// add adds a row, unless nobody knows when it began.
func (f *fall) add(r fallRow) {
	if r.Begun.IsZero() {
		return
	}
	if r.end.Before(r.Begun) {
		r.end = r.Begun
	}
	r.Took = span(r.end.Sub(r.Begun))
	f.Rows = append(f.Rows, r)
}

// stretch is a part of the axis: from a moment on, this much of it is drawn there.
type stretch struct {
	from, to time.Time
	x, w     float64 // percent of the width
	idle     bool
}

// idleWidth is how wide an idle time is drawn, in percent.
const idleWidth = 4.0

// lay gives each row its place. A time in which nothing happens, and which is longer
// than a tenth of all that happens and than two seconds, is drawn short.
func (f *fall) lay() {
	if len(f.Rows) == 0 {
		return
	}
	parts := f.stretches()
	place := func(at time.Time) float64 {
		for _, p := range parts {
			if !at.After(p.to) {
				if span := p.to.Sub(p.from); span > 0 {
					return p.x + p.w*float64(max(at.Sub(p.from), 0))/float64(span)
				}
				return p.x
			}
		}
		return 100
	}
	for i := range f.Rows {
		r := &f.Rows[i]
		x, end := place(r.Begun), place(r.end)
		x = min(x, 99.4)
		r.X, r.W = pct(x), pct(max(end-x, .6))
	}
	f.ticks(parts)
}

func pct(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }

// stretches cuts the axis where nothing happens.
func (f *fall) stretches() (parts []stretch) {
	rows := slices.Clone(f.Rows)
	slices.SortFunc(rows, func(a, b fallRow) int { return a.Begun.Compare(b.Begun) })
	rows = slices.DeleteFunc(rows, func(r fallRow) bool { return r.Kind == "wait" && r.end.Sub(r.Begun) > 2*time.Second }) // waiting is idle
	var busy time.Duration
	first, last := f.Rows[0].Begun, f.Rows[0].end
	for _, r := range f.Rows {
		if r.Begun.Before(first) {
			first = r.Begun
		}
		if r.end.After(last) {
			last = r.end
		}
	}
	type block struct{ from, to time.Time }
	blocks := []block{{first, first}}
	for _, r := range rows {
		if n := &blocks[len(blocks)-1]; r.Begun.After(n.to) {
			blocks = append(blocks, block{r.Begun, r.end})
		} else if r.end.After(n.to) {
			n.to = r.end
		}
	}
	if blocks[len(blocks)-1].to.Before(last) {
		blocks = append(blocks, block{last, last})
	}
	for _, b := range blocks {
		busy += b.to.Sub(b.from)
	}
	at := first
	for _, b := range blocks {
		if b.from.After(at) {
			parts = append(parts, stretch{from: at, to: b.from, idle: b.from.Sub(at) > max(busy/10, 2*time.Second)})
		}
		parts = append(parts, stretch{from: b.from, to: b.to})
		at = b.to
	}
	return widths(parts)
}

// widths shares the width: idle parts are narrow, the others as long as they took.
func widths(parts []stretch) []stretch {
	var drawn time.Duration
	idle := 0
	for _, p := range parts {
		if p.idle {
			idle++
		} else {
			drawn += p.to.Sub(p.from)
		}
	}
	narrow := min(idleWidth, 40/float64(max(idle, 1)))
	left, x := 100-narrow*float64(idle), 0.0
	for i := range parts {
		p := &parts[i]
		p.x, p.w = x, narrow
		if !p.idle {
			p.w = 0
			if drawn > 0 {
				p.w = left * float64(p.to.Sub(p.from)) / float64(drawn)
			}
		}
		x += p.w
	}
	return parts
}

// ticks names the beginning of each part, as far as there is room, and idle times.
func (f *fall) ticks(parts []stretch) {
	begun, free := parts[0].from, -1.0
	for _, p := range parts {
		if p.idle {
			f.Gaps = append(f.Gaps, fallGap{pct(p.x), pct(p.w), span(p.to.Sub(p.from))})
			continue
		}
		if p.x >= free && p.x < 90 {
			f.Ticks = append(f.Ticks, fallTick{pct(p.x), "+" + span(p.from.Sub(begun))})
			free = p.x + 11
		}
		for _, share := range []float64{.25, .5, .75} {
			if x := p.x + p.w*share; p.w > 30 && x >= free && x < 90 {
				f.Ticks = append(f.Ticks, fallTick{pct(x), "+" + span(p.from.Add(time.Duration(share*float64(p.to.Sub(p.from)))).Sub(begun))})
				free = x + 11
			}
		}
	}
}

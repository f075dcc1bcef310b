package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// taskTraceCommand draws what became of a task when, from the mesh's own record.
func taskTraceCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "trace ID", Short: "Draw a task's waits, attempts, steps, children and deliveries over time", Args: one("task id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			return call[*story]{
				doing: "trace task " + id, requests: slices.Concat(get(at("tasks", id)), get(at("tasks", id, "steps")+"?limit=200"), get(at("tasks", id, "deliveries"))),
				ask:  func(ctx context.Context, c *client.Client) (*story, error) { return readStory(ctx, c, id, maxChildren) },
				show: func(out io.Writer, s *story) error { return draw(out, s, time.Now()) },
			}.run(cmd, f)
		},
	}, someTasks())
}

// story is a task with what it caused.
type story struct {
	*client.Task
	Steps      []client.Step     `json:"steps,omitempty"`
	Deliveries []client.Delivery `json:"deliveries,omitempty"`
	Stories    []*story          `json:"child_tasks,omitempty"`
}

// maxChildren bounds how many tasks below one are read.
const maxChildren = 50

func readStory(ctx context.Context, c *client.Client, id string, children int) (*story, error) {
	t, err := c.Tasks.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &story{Task: t}
	if s.Steps, err = readSteps(ctx, c, id, false); err != nil {
		var p *client.Problem
		if !errors.As(err, &p) || p.Code != "steps_expired" {
			return nil, err
		}
	}
	if s.Deliveries, err = c.Tasks.Deliveries(ctx, id); err != nil {
		return nil, err
	}
	for _, child := range t.Children {
		if children--; children < 0 {
			break
		}
		below, err := readStory(ctx, c, child, children)
		if err != nil {
			return nil, err
		}
		s.Stories = append(s.Stories, below)
	}
	return s, nil
}

// row is one line of the waterfall: a span of time, or a moment when it has no
// end.
type row struct {
	depth    int
	name     string
	from, to time.Time
	mark     rune
	note     string
}

// Marks of rows.
const (
	markRun    = '█'
	markWait   = '░'
	markMoment = '◆'
)

// rows tells a story in the order of time.
func (s *story) rows(depth int, now time.Time) (all []row) {
	add := func(r row) {
		r.depth += depth
		if r.from.IsZero() {
			r.from = s.CreatedAt
		}
		all = append(all, r)
	}
	add(row{name: "accepted", from: s.CreatedAt, mark: markMoment})
	waits, why, steps := s.CreatedAt, "waited for a worker", s.Steps
	for _, a := range s.Attempts {
		if a.StartedAt.After(waits) || a.Attempt > 1 && !a.StartedAt.Before(waits) {
			add(row{name: why, from: waits, to: a.StartedAt, mark: markWait})
		}
		r := row{name: fmt.Sprintf("attempt %d %s", a.Attempt, strings.ReplaceAll(a.Outcome, "_", " ")), from: a.StartedAt, to: a.EndedAt, mark: markRun}
		if a.EndedAt.IsZero() {
			r.to = now
		}
		if a.WorkerID != "" {
			r.note = "worker …" + a.WorkerID[max(len(a.WorkerID)-6, 0):]
		}
		if a.Error != nil {
			r.note = strings.TrimSpace(r.note + " " + a.Error.Code + ": " + a.Error.Message)
		}
		add(r)
		for ; len(steps) > 0 && !steps[0].At.After(r.to); steps = steps[1:] {
			add(s.stepRow(steps[0]))
		}
		waits, why = r.to, "waited for attempt "+strconv.Itoa(a.Attempt+1)
		if a.Outcome == "suspended" { // the next run is of the same attempt
			why = "waited"
		}
	}
	switch {
	case s.Waiting != nil, !s.Done && len(s.Attempts) == 0:
		add(row{name: "waits", from: waits, to: now, mark: markWait, note: waitingText(s.Waiting)})
	case s.Done && len(s.Attempts) == 0:
		add(row{name: "waited", from: waits, to: s.FinishedAt, mark: markWait})
	}
	for _, step := range steps {
		add(s.stepRow(step))
	}
	for _, m := range s.Milestones {
		add(row{name: "milestone " + m.Name, from: m.At, mark: markMoment, note: m.Message})
	}
	for _, child := range s.Stories {
		add(row{name: "child " + child.Agent, from: child.CreatedAt, to: child.end(now), mark: markRun, note: child.TaskID + " " + child.Status})
		all = append(all, child.rows(depth+1, now)[1:]...)
	}
	if s.Done {
		add(row{name: s.Status, from: s.FinishedAt, mark: markMoment})
	}
	for _, d := range s.Deliveries {
		all = append(all, deliveryRows(d, depth, now)...)
	}
	return all
}

// stepRow is a step, below the attempt in which it was written. What was taken over from
// another task is older than this one.
func (s *story) stepRow(step client.Step) row {
	r := stepRow(step)
	r.depth++
	if r.from.Before(s.CreatedAt) {
		r.note = strings.TrimSpace(r.note + " at " + clock(step.At))
		r.from, r.to, r.mark = s.CreatedAt, time.Time{}, markMoment
	}
	return r
}

func deliveryRows(d client.Delivery, depth int, now time.Time) []row {
	what := "callback"
	if d.WebhookID != "" {
		what = "webhook …" + d.WebhookID[max(len(d.WebhookID)-6, 0):]
	}
	all := []row{{depth: depth, name: what + " " + d.Status, from: d.CreatedAt, mark: markMoment, note: d.Type + " " + d.DeliveryID}}
	for i, a := range d.Attempts {
		note := a.Class
		if a.StatusCode > 0 {
			note += " " + strconv.Itoa(a.StatusCode)
		}
		all = append(all, row{depth: depth + 1, name: fmt.Sprintf("request %d", i+1), from: a.At, to: a.At.Add(time.Duration(a.DurationMS * float64(time.Millisecond))), mark: markRun, note: note})
	}
	if !d.NextAt.IsZero() && (d.Status == "pending" || d.Status == "retrying") {
		from := d.CreatedAt
		if n := len(d.Attempts); n > 0 {
			from = d.Attempts[n-1].At
		}
		all = append(all, row{depth: depth + 1, name: "waits", from: from, to: now, mark: markWait, note: "next request in " + brief(d.NextAt.Sub(now))})
	}
	return all
}

func (s *story) end(now time.Time) time.Time {
	if s.Done {
		return s.FinishedAt
	}
	return now
}

// waitingText says in words why a task does not run.
func waitingText(w *client.Waiting) string {
	if w == nil {
		return ""
	}
	switch w.Reason {
	case "session":
		return fmt.Sprintf("place %d in its session", w.Position)
	case "scheduled":
		return "scheduled for " + clock(w.NextAttempt)
	case "sleeping":
		return "sleeps until " + clock(w.NextAttempt)
	case "waiting_for_event":
		return "for an event, until " + clock(w.NextAttempt)
	case "waiting_for_child":
		return "for a task that its agent has called"
	case "retrying":
		return "next attempt at " + clock(w.NextAttempt)
	case "no_live_worker":
		return "no live worker serves the agent"
	case "mesh_limit":
		return fmt.Sprintf("%d tasks of the agent run, and no more may (max_in_flight); place %d in the line", w.Limit, w.Position)
	case "queued":
		text := fmt.Sprintf("place %d in the line", w.Position)
		if w.LiveWorkers != nil {
			text += fmt.Sprintf(", %d live workers", *w.LiveWorkers)
		}
		return text
	case "starting":
		return "a worker has it"
	}
	return w.Reason
}

// Widths of the columns.
const (
	nameWidth = 30
	timeWidth = 9
	minBar    = 20
	maxBar    = 100
)

// draw draws a story as bars over time.
func draw(out io.Writer, s *story, now time.Time) error {
	rows := s.rows(0, now)
	first, whole := span(rows)
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  %s", s.TaskID, s.Agent, s.Status, brief(whole))
	if s.TraceID != "" {
		fmt.Fprintf(&b, "  trace %s", s.TraceID)
	}
	if s.TraceURL != "" {
		fmt.Fprintf(&b, "\n%s", s.TraceURL)
	}
	b.WriteString("\n")
	drawRows(&b, rows, first, whole, columns(out))
	_, err := io.WriteString(out, clean(b.String()))
	return err
}

// span is when rows begin, and how long they take.
func span(rows []row) (first time.Time, whole time.Duration) {
	first, last := rows[0].from, rows[0].from
	for _, r := range rows {
		if r.from.Before(first) {
			first = r.from
		}
		for _, at := range []time.Time{r.from, r.to} {
			if at.After(last) {
				last = at
			}
		}
	}
	return first, max(last.Sub(first), time.Millisecond)
}

// drawRows draws rows as bars over time.
func drawRows(b *strings.Builder, rows []row, first time.Time, whole time.Duration, columns int) {
	width := min(max(columns-nameWidth-2*timeWidth-2-24, minBar), maxBar)
	fmt.Fprintf(b, "%-*s %*s %*s\n", nameWidth, clock(first), timeWidth, "at", timeWidth, "took")
	for _, r := range rows {
		took, bar := "", bar(r, first, whole, width)
		if !r.to.IsZero() {
			took = brief(r.to.Sub(r.from))
		}
		line := fmt.Sprintf("%s %*s %*s %s %s", pad(strings.Repeat("  ", r.depth)+oneLine(r.name, 0), nameWidth), timeWidth, brief(r.from.Sub(first)), timeWidth, took, bar, oneLine(r.note, 120))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// bar is a row's place in time.
func bar(r row, first time.Time, whole time.Duration, width int) string {
	at := func(t time.Time) int {
		return min(max(int(float64(t.Sub(first))/float64(whole)*float64(width)), 0), width-1)
	}
	from, n := at(r.from), 1
	if !r.to.IsZero() {
		n = max(at(r.to)-from, 1)
	}
	return strings.Repeat("·", from) + strings.Repeat(string(r.mark), n) + strings.Repeat("·", width-from-n)
}

func pad(s string, width int) string {
	if n := utf8.RuneCountInString(s); n < width {
		return s + strings.Repeat(" ", width-n)
	}
	return string([]rune(s)[:width-1]) + "…"
}

// questionText is what an agent asks.
func questionText(q client.Question) string {
	return strings.TrimSpace(fmt.Sprintf("%s: %s (until %s)", q.Name, q.Prompt, clock(q.Until)))
}

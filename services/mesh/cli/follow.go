package cli

import (
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"agentmesh/gateway/client"
)

// follower shows a task's events: on a terminal as a progress bar with
// milestones and output above it, elsewhere as one line each.
type follower struct {
	out     io.Writer
	bar     bool // redraw one line
	colour  bool
	drawn   bool
	began   time.Time
	partial string // output since the last line break
}

func newFollower(out io.Writer) *follower {
	terminal := canDraw(out)
	return &follower{out: out, bar: terminal, colour: terminal && os.Getenv("NO_COLOR") == "", began: time.Now()}
}

func (f *follower) follow(events iter.Seq2[client.Event, error]) error {
	defer f.clear()
	for e, err := range events {
		if err != nil {
			return err
		}
		switch {
		case e.Milestone != nil:
			f.line("milestone", strings.TrimSpace(e.Milestone.Name+" "+e.Milestone.Message))
		case e.Step != nil:
			f.line("step", stepText(*e.Step))
		case e.Output != "":
			f.output(e.Output)
		case e.Task != nil:
			f.state(e)
		}
	}
	return nil
}

// state shows a change of status or progress.
func (f *follower) state(e client.Event) {
	t := e.Task
	text := strings.TrimSpace(t.Progress + " " + t.Message)
	if e.Type == "status" {
		detail := ""
		if t.Attempt > 1 {
			detail = fmt.Sprintf("attempt %d", t.Attempt)
		}
		if t.Error != nil {
			detail = fmt.Sprintf("%s: %s (attempt %d)", t.Error.Code, t.Error.Message, t.Error.Attempt)
		}
		if t.Question != nil {
			detail = questionText(*t.Question)
		}
		f.line(t.Status, detail)
	} else if !f.bar && text != "" { // else it tells of something that is not shown
		f.line("progress", text)
	}
	if f.bar && !t.Done && t.Percent != nil {
		f.draw(*t.Percent, t.Message)
	}
}

func (f *follower) output(text string) {
	lines := strings.Split(f.partial+strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	f.partial = lines[len(lines)-1]
	for _, l := range lines[:len(lines)-1] {
		f.line("output", l)
	}
}

const (
	barWidth  = 30
	whatWidth = 10
)

func (f *follower) draw(percent int, message string) {
	full := percent * barWidth / 100
	fmt.Fprintf(f.out, "\r\x1b[K[%s%s] %3d%%  %s  %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), percent,
		time.Since(f.began).Round(time.Second), oneLine(message, 40))
	f.drawn = true
}

func (f *follower) clear() {
	if f.partial != "" {
		partial := f.partial
		f.partial = ""
		f.line("output", partial)
	}
	if f.drawn {
		fmt.Fprint(f.out, "\r\x1b[K")
		f.drawn = false
	}
}

func (f *follower) line(what, text string) {
	if f.drawn {
		fmt.Fprint(f.out, "\r\x1b[K")
		f.drawn = false
	}
	what = oneLine(what, 0)
	name := fmt.Sprintf("%-*s", whatWidth, what)
	if colour := map[string]string{"completed": "32", "failed": "31", "canceled": "33", "milestone": "36"}[what]; f.colour && colour != "" {
		name = "\x1b[" + colour + "m" + name + "\x1b[0m"
	}
	fmt.Fprintln(f.out, strings.TrimRight(name+" "+hanging(text, whatWidth+1), " "))
}

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// topCommand shows the mesh as it is now, again and again.
func topCommand() *cobra.Command {
	f := &clientFlags{}
	var once bool
	every := 2 * time.Second
	cmd := f.bind(&cobra.Command{Use: "top", Short: "Watch agents, queues, workers and deliveries; q leaves", Args: NoArgs})
	cmd.Flags().BoolVar(&once, "once", false, "show it once and end")
	cmd.Flags().DurationVar(&every, "interval", every, "time between looks")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if every < 100*time.Millisecond {
			return Usage("interval is %v, it must be at least 100ms", every)
		}
		if once {
			return call[*client.Stats]{
				doing: readingStats, requests: get("/stats"),
				ask: func(ctx context.Context, c *client.Client) (*client.Stats, error) { return c.Stats(ctx) },
				show: func(out io.Writer, s *client.Stats) error {
					_, err := fmt.Fprintln(out, topText(s, shownURL(f.gateway)))
					return err
				},
			}.run(cmd, f)
		}
		c, err := f.open(cmd, get("/stats")...)
		if c == nil {
			return err
		}
		s := &screen{out: cmd.OutOrStdout()}
		ctx, quit := context.WithCancel(cmd.Context())
		defer quit()
		if f.output == "text" && s.open() {
			defer s.close()
			defer typed(cmd.InOrStdin(), quit)()
		}
		return f.top(ctx, c, s, every)
	}
	return cmd
}

const readingStats = "read the state of the mesh"

// top shows the mesh until ctx is done: q and Ctrl-C are how it ends.
func (f *clientFlags) top(ctx context.Context, c *client.Client, s *screen, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		stats, err := c.Stats(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the gateway may come back
			s.show("mesh top: " + f.explain(readingStats, err).Error() + "\n")
		case f.output == "json":
			if err := WriteJSON(s.out, stats); err != nil {
				return err
			}
		case s.live:
			s.show(topText(stats, shownURL(f.gateway)+" (q leaves)"))
		default:
			s.show(topText(stats, shownURL(f.gateway)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screen is a terminal that is drawn over, or what is written to one after the
// other.
type screen struct {
	out  io.Writer
	live bool
}

// open takes the terminal's other screen, and says whether there is one.
func (s *screen) open() bool {
	if s.live = canDraw(s.out); s.live {
		_, _ = io.WriteString(s.out, "\x1b[?1049h\x1b[?25l")
	}
	return s.live
}

func (s *screen) close() {
	if s.live {
		_, _ = io.WriteString(s.out, "\x1b[?25h\x1b[?1049l")
	}
}

func (s *screen) show(text string) {
	if !s.live {
		_, _ = io.WriteString(s.out, text+"\n")
		return
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	width, height := terminalSize(s.out)
	if height > 1 && len(lines) > height-1 {
		lines = append(lines[:height-2], fmt.Sprintf("… %d more lines", len(lines)-height+2))
	}
	for i, l := range lines {
		if r := []rune(l); width > 1 && len(r) > width {
			lines[i] = string(r[:width-1]) + "…"
		}
	}
	_, _ = io.WriteString(s.out, "\x1b[H\x1b[J"+strings.Join(lines, "\r\n"))
}

// topText is the mesh at a glance.
func topText(s *client.Stats, gateway string) string {
	var b strings.Builder
	waiting, running := 0, 0
	for _, a := range s.Agents {
		waiting += a.Waiting
		running += a.InFlight
	}
	storage := bytesText(s.Storage.Used)
	if s.Storage.Limit > 0 {
		storage += fmt.Sprintf(" of %s (%.0f%%)", bytesText(s.Storage.Limit), 100*float64(s.Storage.Used)/float64(s.Storage.Limit))
	}
	fmt.Fprintf(&b, "mesh at %s, %s\n", gateway, clock(s.At))
	fmt.Fprintf(&b, "tasks       %d waiting, %d running, %d scheduled, %d of them for a person; %d sessions\n", waiting, running, s.Scheduled, s.InputRequired, s.Sessions)
	fmt.Fprintf(&b, "deliveries  %d due, %d scheduled, oldest %s; %d changes not yet read\n", s.Deliveries.Due, s.Deliveries.Scheduled, seconds(s.Deliveries.OldestAge), s.Deliveries.FanoutLag)
	fmt.Fprintf(&b, "storage     %s\n\n", storage)

	w := newTable(&b, "AGENT", "WAITING", "BULK", "OLDEST", "RUNNING", "LIMIT", "WORKERS", "SLOTS", "")
	for _, a := range s.Agents {
		note := ""
		switch {
		case a.LiveWorkers == 0 && a.Waiting > 0:
			note = "no live worker"
		case a.Waiting > 0 && a.InFlight >= a.Limit:
			note = "at its limit"
		}
		w.row(a.Name, a.Waiting, a.Bulk, seconds(a.OldestAge), a.InFlight, a.Limit, a.LiveWorkers, a.Slots, note)
	}
	w.row()
	w.row("WORKER", "HOST", "UP", "BUSY", "SLOTS", "AGENTS")
	for _, p := range s.Workers {
		w.row(p.WorkerID, p.Host, age(s.At.Sub(p.StartedAt)), p.Busy, p.Slots, strings.Join(p.Agents, " "))
	}
	_ = w.flush()
	return b.String()
}

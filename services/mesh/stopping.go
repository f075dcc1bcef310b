package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/proc"
)

// handBack is the time after the drain in which a process hands back unfinished
// attempts and closes its store. Nothing accepted depends on it: a task that is
// not handed back comes again when its lease is over.
const handBack = 3 * time.Second

// ending bounds the end of a process, which begins when ctx is done or the first
// part ends: it says what the process waits for, and when that takes longer than
// the drain it ends the process all the same. The parts run with the ctx that it
// returns, and with last as one of them; stop says that all has ended.
func ending(ctx context.Context, drain time.Duration, attempts func() int, log *slog.Logger) (_ context.Context, last proc.Part, stop func()) {
	ctx, end := context.WithCancel(ctx)
	unsay := context.AfterFunc(ctx, func() {
		tellSystemd(daemon.SdNotifyStopping)
		log.Info("stopping: open requests and running attempts may finish; a second Ctrl-C or SIGTERM ends it at once",
			"attempts", attempts(), "within", drain)
	})
	ended := proc.EndWithin(ctx, drain+handBack, func() {
		log.Error("ended before all was finished, since something hangs: what was accepted is kept and goes on after the next start",
			"attempts", attempts(), "after", drain+handBack)
		os.Exit(cli.ExitFailed)
	})
	last = proc.Part{Name: "end", Run: func(ctx context.Context) error {
		<-ctx.Done()
		end()
		return nil
	}}
	return ctx, last, func() {
		unsay()
		ended()
		end()
	}
}

// Package proc runs the parts of a process together: the first to end ends the
// others, and the process ends when all have. No half-alive daemon is left. It
// does not know what the parts are.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Part is a piece of a process. Run blocks until ctx is done and what it began
// is finished.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// Run runs parts until ctx is done or one of them ends, then waits for all. It
// returns their errors, each with its part's name.
func Run(ctx context.Context, parts ...Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			defer cancel()
			if err := p.Run(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.Name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// EndWithin calls cut when the process still runs d after ctx is done: something
// hangs that was to end, and nobody is to wait for it. cut ends the process. stop
// says that all has ended.
func EndWithin(ctx context.Context, d time.Duration, cut func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		late := time.NewTimer(d)
		defer late.Stop()
		select {
		case <-late.C:
			cut()
		case <-ended:
		}
	}()
	return sync.OnceFunc(func() { close(ended) })
}

// ExitForced is the exit status after a second signal: nothing was finished.
const ExitForced = 130

// Context ends with the first SIGINT or SIGTERM. A second one ends the process
// at once. stop gives the signals back.
func Context(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			os.Exit(ExitForced)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

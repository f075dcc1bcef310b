package exec

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"sync"
	"time"
)

// Program is a program that runs beside attempts and is talked with over its standard
// input and output: a server of tools. What is promised of the programs of agents
// holds for it and all that it starts: nothing outlives the worker or Stop.
type Program struct {
	Command []string
	Dir     string
	Env     []string // all of it, NAME=value
}

// Check reports what would keep the program from being started.
func (p Program) Check() error { return Config{Command: p.Command, Dir: p.Dir}.Check() }

// Running is a program that was started. It must be stopped.
type Running struct {
	cmd           *osexec.Cmd
	tree          tree
	stdin, stdout *os.File
	stop          sync.Once
	ended         chan struct{}
}

// Start starts the program; what it writes to standard error goes to the log.
func (p Program) Start(log *slog.Logger) (*Running, error) {
	Adopt()
	mark := newMark()
	cmd := osexec.Command(p.Command[0], p.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = p.Dir, append(p.Env[:len(p.Env):len(p.Env)], mark), attributes()
	var pipes [6]*os.File
	defer func() {
		for _, f := range pipes {
			if f != nil {
				_ = f.Close()
			}
		}
	}()
	for i := 0; i < len(pipes); i += 2 {
		var err error
		if pipes[i], pipes[i+1], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes[0], pipes[3], pipes[5]
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Command[0], err)
	}
	r := &Running{cmd: cmd, tree: watch(cmd.Process, mark), stdin: pipes[1], stdout: pipes[2], ended: make(chan struct{})}
	heard := &child{stderr: &source{file: pipes[4]}, deaf: make(chan struct{})}
	heard.heard.logTo(log)
	pipes[1], pipes[2], pipes[4] = nil, nil, nil // these stay open
	go heard.listen()
	go func() {
		defer close(r.ended)
		_, _ = cmd.Process.Wait()
		r.tree.end()
		heard.stderr.end()
		<-heard.deaf
		_ = heard.stderr.file.Close()
	}()
	return r, nil
}

// In is the program's standard input. To close it tells a server to end.
func (r *Running) In() io.WriteCloser { return r.stdin }

// Out is the program's standard output.
func (r *Running) Out() io.ReadCloser { return r.stdout }

// Stop ends the program and all that it has started: it has a moment after the end of
// its input, and after SIGTERM.
func (r *Running) Stop() {
	r.stop.Do(func() {
		_ = r.stdin.Close()
		for _, end := range []func(){r.tree.stop, r.tree.kill} {
			t := time.NewTimer(stopAfter)
			select {
			case <-r.ended:
			case <-t.C:
				end()
			}
			t.Stop()
		}
		<-r.ended
		_ = r.stdout.Close()
	})
}

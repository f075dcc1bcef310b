// Package exec runs a program of any language as an agent: one process for each
// attempt. The program reads one JSON object from standard input and answers in
// lines on standard output, as package protocol says; what it writes to
// standard error goes to the log, and its tail into the error.
//
// It promises that no process outlives its attempt: the program runs in a
// process group of its own, which gets SIGTERM when the attempt is canceled,
// times out or the worker shuts down, and SIGKILL stopAfter later or when the
// program has ended; and if the worker itself is killed, the kernel and a guard
// process do it.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// Config is the exec section of an agent.
type Config struct {
	Command []string          // program and arguments; a name without a slash is looked up in PATH
	Dir     string            // working directory
	Env     map[string]string // added to the worker's own, without its NATS_* and MESH_*
}

// Options are what the worker adds.
type Options struct {
	GatewayURL string // MESH_GATEWAY_URL of the program; empty: not set
	Log        *slog.Logger
}

const (
	stopAfter  = 5 * time.Second // from SIGTERM to SIGKILL
	drainAfter = time.Second     // for output that a daemon of the program holds open
	tailSize   = 4 << 10
)

// New makes the handler of a program.
func New(cfg Config, o Options) agent.Handler {
	p := &program{cfg: cfg, log: o.Log}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "NATS_") && !strings.HasPrefix(kv, "MESH_") {
			p.env = append(p.env, kv)
		}
	}
	for k, v := range cfg.Env {
		p.env = append(p.env, k+"="+v)
	}
	if o.GatewayURL != "" {
		p.env = append(p.env, "MESH_GATEWAY_URL="+o.GatewayURL)
	}
	return p.run
}

type program struct {
	cfg Config
	env []string
	log *slog.Logger
}

// run is one attempt: start, feed, read, and leave nothing behind.
func (p *program) run(ctx context.Context, job *agent.Job) (any, error) {
	input, err := protocol.Encode(job)
	if err != nil {
		return nil, err
	}
	c, err := p.start(job)
	if err != nil {
		return nil, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the program could not be started: " + err.Error(), Err: err}
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go c.feed(append(input, '\n'))
	go c.listen(p.log.With("task", job.TaskID, "agent", job.Agent, "attempt", job.Attempt))
	go func() {
		c.outcome, c.fault = protocol.Read(ctx, c.stdout, job)
		if c.fault != nil {
			stop(c.fault) // whatever else it says is not read
		}
		close(c.read)
	}()
	state, err := c.wait(running)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case c.fault != nil && !errors.Is(c.fault, os.ErrClosed):
		return nil, c.fault
	case err != nil:
		return nil, err
	case c.outcome != nil && c.outcome.Err != nil:
		return nil, c.outcome.Err
	case !state.Success():
		return nil, &agent.Error{Code: task.CodeAgentCrashed, Message: died(state) + c.tail.String()}
	case c.outcome == nil:
		return nil, &agent.Error{Code: task.CodeAgentBadOutput, Message: "the program ended and left its output open to a process of its own"}
	}
	return c.outcome.Value()
}

// died says how a program ended.
func died(state *os.ProcessState) string {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "the program was killed by " + ws.Signal().String()
	}
	return "the program ended with status " + strconv.Itoa(state.ExitCode())
}

// child is a started program. Its pipes are files, so that waiting for the
// process is not waiting for whoever else holds them.
type child struct {
	cmd                   *osexec.Cmd
	stdin, stdout, stderr *os.File

	read, heard chan struct{} // closed when stdout and stderr are read
	outcome     *protocol.Outcome
	fault       error
	tail        tail
}

func (p *program) start(job *agent.Job) (*child, error) {
	cmd := osexec.Command(p.cfg.Command[0], p.cfg.Command[1:]...)
	cmd.Dir = p.cfg.Dir
	cmd.Env = append(p.env[:len(p.env):len(p.env)],
		"MESH_TASK_ID="+job.TaskID, "MESH_ATTEMPT="+strconv.Itoa(job.Attempt), "TRACEPARENT="+job.TraceParent)
	cmd.SysProcAttr = attributes()
	c := &child{cmd: cmd, read: make(chan struct{}), heard: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	var ours []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range ours {
				_ = f.Close()
			}
			return nil, err
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	// Of the first pipe the program has the reading end.
	ours[0], theirs[0] = theirs[0], ours[0]
	c.stdin, c.stdout, c.stderr = ours[0], ours[1], ours[2]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if err := cmd.Start(); err != nil {
		c.close()
		return nil, err
	}
	group.add(cmd.Process.Pid)
	return c, nil
}

func (c *child) close() {
	_, _, _ = c.stdin.Close(), c.stdout.Close(), c.stderr.Close()
}

// feed writes the input. A program need not read it.
func (c *child) feed(input []byte) {
	_, _ = c.stdin.Write(input)
	_ = c.stdin.Close()
}

// listen logs what the program writes to standard error, and keeps the tail.
func (c *child) listen(log *slog.Logger) {
	defer close(c.heard)
	buf := make([]byte, tailSize)
	var line []byte
	for {
		n, err := c.stderr.Read(buf)
		c.tail.write(buf[:n])
		line = append(line, buf[:n]...)
		for {
			i := bytes.IndexByte(line, '\n')
			if i < 0 && len(line) < tailSize {
				break
			}
			if i < 0 {
				i = len(line) - 1
			}
			say(log, line[:i+1])
			line = line[i+1:]
		}
		if err != nil {
			say(log, line)
			return
		}
	}
}

func say(log *slog.Logger, line []byte) {
	if text := strings.TrimRight(string(line), "\r\n"); text != "" {
		log.Info("agent stderr", "line", strings.ToValidUTF8(text, "\uFFFD"))
	}
}

// wait waits until the program has ended and its output is read, and ends what
// it left behind. When ctx ends first, the program is told to.
func (c *child) wait(ctx context.Context) (*os.ProcessState, error) {
	pgid := c.cmd.Process.Pid
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		_ = signalGroup(pgid, syscall.SIGTERM)
		kill := time.NewTimer(stopAfter)
		defer kill.Stop()
		select {
		case <-ended:
		case <-kill.C:
			_ = signalGroup(pgid, syscall.SIGKILL)
		}
	}()
	state, err := c.cmd.Process.Wait()
	close(ended)
	<-stopped
	_ = signalGroup(pgid, syscall.SIGKILL) // what it forked and left
	group.remove(pgid)
	_ = c.stdin.Close()
	late := time.AfterFunc(drainAfter, c.close) // a daemon has left the group and holds the pipes
	defer late.Stop()
	<-c.read
	<-c.heard
	c.close()
	if err != nil {
		return nil, fmt.Errorf("wait for the program: %w", err)
	}
	return state, nil
}

// tail keeps the last bytes written.
type tail struct{ buf []byte }

func (t *tail) write(b []byte) {
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

// String is the tail as a part of a message, empty when nothing was written.
func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.buf), ""))
	if text == "" {
		return ""
	}
	return ": " + text
}

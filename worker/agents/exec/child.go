package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// child is a started program. Its pipes are files, so that waiting for the
// process is not waiting for whoever else holds them.
type child struct {
	cmd            *osexec.Cmd
	tree           tree
	stdin          *os.File
	stdout, stderr *source

	words *words // that it is still to be told

	read, deaf chan struct{} // closed when stdout and stderr are read
	outcome    *protocol.Outcome
	fault      error
	heard      ears
}

// variables are those of a process for one job.
func (p *program) variables(job *agent.Job) []string {
	all := []string{"MESH_TASK_ID=" + job.TaskID, "MESH_ATTEMPT=" + strconv.Itoa(job.Attempt), "TRACEPARENT=" + job.TraceParent}
	if text := job.Instruction; text != "" && len(text) <= maxInstruction && !strings.Contains(text, "\x00") {
		all = append(all, "MESH_INSTRUCTION="+text)
	}
	if key := job.Key.Reveal(); key != "" && !p.ownKey {
		all = append(all, keyVariable+"="+key)
	}
	return all
}

// start starts a process of the program. The error is an *agent.Error.
func (p *program) start(variables ...string) (*child, error) {
	c, err := p.launch(variables)
	if err != nil {
		return nil, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the program could not be started", Detail: err.Error(), Err: err}
	}
	return c, nil
}

func (p *program) launch(variables []string) (*child, error) {
	Adopt()
	cmd := osexec.Command(p.cfg.Command[0], p.cfg.Command[1:]...)
	mark := newMark() // in the environment of the program and of what it starts
	c := &child{cmd: cmd, words: newWords(), read: make(chan struct{}), deaf: make(chan struct{})}
	cmd.Dir = p.cfg.Dir
	cmd.Env = append(append(p.env[:len(p.env):len(p.env)], variables...), mark)
	if p.gateway != nil {
		if url := p.gateway(); url != "" {
			cmd.Env = append(cmd.Env, "MESH_GATEWAY_URL="+url)
		}
	}
	cmd.SysProcAttr = attributes()
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
	c.stdin, c.stdout, c.stderr = ours[0], &source{file: ours[1]}, &source{file: ours[2]}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if err := cmd.Start(); err != nil {
		c.close()
		return nil, err
	}
	c.tree = watch(cmd.Process, mark)
	return c, nil
}

func (c *child) close() {
	_, _, _ = c.stdin.Close(), c.stdout.file.Close(), c.stderr.file.Close()
}

// maxInstruction is how many bytes of an instruction go into the environment,
// where Linux takes 128 KiB for a variable.
const maxInstruction = 64 << 10

// feed writes the input. A program need not read it. Where the input stays open, the
// words for the program follow until it has ended.
func (c *child) feed(input []byte, open bool) {
	defer func() { _ = c.stdin.Close() }()
	for text := input; text != nil; text = c.words.next() {
		if _, err := c.stdin.Write(text); err != nil || !open {
			return
		}
	}
}

// tell has the program hear that what it said is kept. It does not wait for a
// program that does not read.
func (c *child) tell(ack protocol.Ack) {
	if line, err := json.Marshal(ack); err == nil {
		c.words.add(append(line, '\n'))
	}
}

// wait waits until the program has ended and its output is read, and ends what
// it left behind. When ctx ends first, the program is told to.
func (c *child) wait(ctx context.Context) (*os.ProcessState, error) {
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		c.tree.stop()
		kill := time.NewTimer(stopAfter)
		defer kill.Stop()
		select {
		case <-ended:
		case <-kill.C:
			c.tree.kill()
		}
	}()
	state, err := c.cmd.Process.Wait()
	close(ended)
	<-stopped
	c.tree.end()
	c.words.end()
	_ = c.stdin.Close()
	c.stdout.end()
	c.stderr.end()
	<-c.read
	<-c.deaf
	c.close()
	if err != nil {
		return nil, fmt.Errorf("wait for the program: %w", err)
	}
	return state, nil
}

// source is the reading end of a program's pipe. Once the program has ended it
// has what is in the pipe, however long the reader takes over it, and ends there:
// a process that nobody could reach may hold the other end for ever.
type source struct {
	file  *os.File
	ended atomic.Bool
	late  int                           // bytes read since
	asked atomic.Pointer[chan struct{}] // closed when what is in the pipe has been read
}

const (
	idleAfter = 200 * time.Millisecond // nothing more is in the pipe
	maxLate   = 1 << 20                // bytes that a pipe may hold
)

func (s *source) end() {
	s.ended.Store(true)
	_ = s.file.SetReadDeadline(time.Now()) // wakes a reader that waits
}

// catchUp waits until the reader has taken what is in the pipe now.
func (s *source) catchUp() {
	done := make(chan struct{})
	s.asked.Store(&done)
	_ = s.file.SetReadDeadline(time.Now())
	late := time.NewTimer(idleAfter) // it has ended, or a system without deadlines on pipes
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (n int, err error) {
	for !s.ended.Load() {
		n, err = s.file.Read(b)
		if asked := s.asked.Load(); errors.Is(err, os.ErrDeadlineExceeded) && asked != nil {
			if n, _ = s.rest(b); n == 0 {
				s.asked.Store(nil)
				close(*asked)
				continue
			}
			_ = s.file.SetReadDeadline(time.Now()) // and once more
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
	if s.late > maxLate {
		return 0, io.EOF
	}
	_ = s.file.SetReadDeadline(time.Now().Add(idleAfter))
	if n, err = s.file.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = s.rest(b) // the deadline may be over before the read began
	}
	s.late += n
	return n, err
}

// rest reads what is there without waiting.
func (s *source) rest(b []byte) (n int, err error) {
	_ = s.file.SetReadDeadline(time.Time{})
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, io.EOF
	}
	if raw.Read(func(fd uintptr) bool { n, err = available(fd, b); return true }) != nil || err != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}

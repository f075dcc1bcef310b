//go:build unix

package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Member is one process of a fleet, and those that come after it at its place.
type Member struct {
	Name string // node1, gateway2 ...
	URL  string // of a NATS server and of a gateway
	Log  string // the file of what it writes

	Store string // the folder of a NATS server's data

	program  string
	args     []string
	env      []string
	health   string
	detached bool

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// Start starts the process; it must not run.
func (m *Member) Start() error {
	log, err := os.OpenFile(m.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(m.program, m.args...)
	cmd.Env = append(os.Environ(), m.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr = own(); m.detached {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	m.mu.Lock()
	m.cmd, m.done = cmd, done
	m.mu.Unlock()
	return nil
}

// Replace ends the process and starts another program in its place, with the same
// settings; it waits until that is well.
func (m *Member) Replace(ctx context.Context, program string) error {
	if err := m.Terminate(time.Minute); err != nil {
		return err
	}
	m.program = program
	if err := m.Start(); err != nil {
		return err
	}
	return m.Ready(ctx)
}

// process is the one that runs, or the last one; nil before the first start.
func (m *Member) process() (*os.Process, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return nil, nil
	}
	return m.cmd.Process, m.done
}

// PID is the process that runs, or the last one.
func (m *Member) PID() int {
	if p, _ := m.process(); p != nil {
		return p.Pid
	}
	return 0
}

// Ended reports whether no process runs.
func (m *Member) Ended() bool {
	p, done := m.process()
	if p == nil {
		return true
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func (m *Member) signal(s syscall.Signal) {
	if p, _ := m.process(); p != nil {
		_ = p.Signal(s)
	}
}

// Kill ends the process at once, also a frozen one, and waits for its end.
func (m *Member) Kill() {
	m.signal(syscall.SIGKILL)
	_ = m.await(10 * time.Second)
}

// Freeze stops the process where it is, Thaw has it go on.
func (m *Member) Freeze() { m.signal(syscall.SIGSTOP) }

// Thaw has a frozen process go on.
func (m *Member) Thaw() { m.signal(syscall.SIGCONT) }

// Terminate asks the process to end, and kills it when it has not within grace,
// which is an error.
func (m *Member) Terminate(grace time.Duration) error {
	m.signalEnd()
	return m.await(grace)
}

func (m *Member) signalEnd() {
	m.signal(syscall.SIGCONT)
	m.signal(syscall.SIGTERM)
}

// await waits for the end of the process.
func (m *Member) await(grace time.Duration) error {
	p, done := m.process()
	if p == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-time.After(grace):
	}
	_ = p.Signal(syscall.SIGKILL)
	<-done
	return fmt.Errorf("%s did not end within %v", m.Name, grace)
}

// lastWords are the last lines that it wrote.
func (m *Member) lastWords() string {
	raw, err := os.ReadFile(m.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

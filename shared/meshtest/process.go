package meshtest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Process is a real `mesh up`, or a worker of its own.
type Process struct {
	Cmd     *exec.Cmd
	Gateway string
	NATS    string
	Data    string // its folder
	Done    chan struct{}
	Output  *Transcript
}

// Transcript is what a process has written so far.
type Transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *Transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *Transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Spawn starts the test binary as another program. It dies with the test.
func Spawn(t *testing.T, env []string, args ...string) (*Process, *bufio.Reader) {
	t.Helper()
	p := &Process{Cmd: exec.Command(os.Args[0], args...), Done: make(chan struct{}), Output: &Transcript{}}
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	read, write, err := os.Pipe() // for both streams
	if err == nil {
		p.Cmd.Stdout, p.Cmd.Stderr = write, write
		err = p.Cmd.Start()
		_ = write.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		_ = read.Close()
	})
	return p, bufio.NewReader(io.TeeReader(read, p.Output))
}

// Beside is the environment of a program that connects to the mesh on its machine.
func (p *Process) Beside() []string { return []string{"NATS_URL=" + p.NATS, "MESH_DATA=" + p.Data} }

// Drain reads what the process still writes, and closes Done when it has ended.
func (p *Process) Drain(r io.Reader) {
	_, _ = io.Copy(io.Discard, r)
	_ = p.Cmd.Wait()
	close(p.Done)
}

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) { _ = p.Cmd.Process.Signal(s) }

// Kill ends the process, also a stopped one, and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGKILL)
	select {
	case <-p.Done:
	case <-time.After(10 * time.Second):
	}
}

// WaitLine reads a process's output until a line starts with prefix.
func WaitLine(t *testing.T, p *Process, r *bufio.Reader, prefix string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.HasPrefix(line, prefix) {
			return line
		}
		if err != nil {
			t.Fatalf("no line %q: %v\n%s", prefix, err, p.Output)
		}
	}
}

// LimitFiles bounds the size of the files that a process may write: beyond it
// every write fails, as on a full disk, and no mount is needed for it.
func (p *Process) LimitFiles(t *testing.T, bytes uint64) {
	t.Helper()
	limit := syscall.Rlimit{Cur: bytes, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		t.Skipf("no limit on the files of another process here: %v", errno)
	}
}

// Ask sends one request and gives up on it after within.
func (p *Process) Ask(t *testing.T, within time.Duration, method, path, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.Gateway+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw)
}

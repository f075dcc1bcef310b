//go:build unix

package exec

import (
	"fmt"
	"os"
	osexec "os/exec"
	"sync"
	"syscall"
)

// tree is a program and what it has started: its process group, and what has its
// mark.
type tree struct {
	pgid int
	mark string
}

// watch takes a started program into the care of this process.
func watch(program *os.Process, mark string) tree {
	group.add(program.Pid)
	return tree{pgid: program.Pid, mark: mark}
}

// stop asks the processes to end.
func (t tree) stop() { _ = signalGroup(t.pgid, syscall.SIGTERM) }

// kill ends those that are still in the group.
func (t tree) kill() { _ = signalGroup(t.pgid, syscall.SIGKILL) }

// end ends what the program, which has ended, has left behind.
func (t tree) end() {
	t.kill()
	group.remove(t.pgid)
	endMarked(t.mark) // processes that have left the group
}

// signalGroup signals every process of a group.
func signalGroup(pgid int, s syscall.Signal) error { return syscall.Kill(-pgid, s) }

// available reads what is in a pipe without waiting.
func available(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// groups are the process groups of this process's programs, and the guard that
// outlives it: a shell that waits for the end of its input, which is when this
// process ends, however it does, and then kills the groups that are left. The
// kernel's parent-death signal reaches only the program itself, not what it has
// forked.
//
// The groups are kept in a file without a name that the guard inherits, a line
// for each, so that it sleeps until it is needed: telling it of each program
// through a pipe cost 0.35 ms an attempt.
type groups struct {
	mu     sync.Mutex
	file   *os.File
	guard  *os.File    // the writing end of its input; nil while there is none
	keeper int         // the guard's process
	lines  map[int]int // by process group
	free   []int
}

var group = groups{lines: map[int]int{}}

// A process that has left its group is found by its environment, where there is
// /proc. One that becomes another program has none for a moment: it is looked for twice.
const guardScript = `read -r end; while read -r pgid; do
	case $pgid in ?*) kill -s KILL -- "-$pgid" 2>/dev/null ;; esac
done <&3
quiet=
for round in 1 2 3 4 5 6 7 8 9 10; do
	found=$(grep -lF "$1" /proc/[0-9]*/environ 2>/dev/null)
	if [ -z "$found" ]; then
		[ -z "$quiet" ] || break
		quiet=1
		sleep 1
		continue
	fi
	quiet=
	for file in $found; do
		pid=${file#/proc/}
		kill -s KILL "${pid%/environ}" 2>/dev/null
	done
done`

const lineWidth = 11 // of a process id, padded, with its line break

func (g *groups) add(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := len(g.lines) // with no line free, as many are taken
	if n := len(g.free); n > 0 {
		line, g.free = g.free[n-1], g.free[:n-1]
	}
	g.lines[pgid] = line
	if g.guard == nil {
		g.start()
	}
	g.write(line, fmt.Sprintf("%*d\n", lineWidth-1, pgid))
}

func (g *groups) remove(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := g.lines[pgid]
	delete(g.lines, pgid)
	g.free = append(g.free, line)
	g.write(line, fmt.Sprintf("%*s\n", lineWidth-1, ""))
}

// has reports whether pid is a program that runs, or the guard.
func (g *groups) has(pid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.lines[pid]
	return ok || pid == g.keeper
}

func (g *groups) write(line int, text string) {
	if g.file != nil {
		_, _ = g.file.WriteAt([]byte(text), int64(line*lineWidth))
	}
}

// start starts the guard. Without a shell the kernel's signal must do.
func (g *groups) start() {
	if g.file == nil {
		file, err := scratch()
		if err != nil {
			return
		}
		g.file = file
	}
	read, write, err := os.Pipe()
	if err != nil {
		return
	}
	defer func() { _ = read.Close() }()
	cmd := osexec.Command("sh", "-c", guardScript, "sh", markPrefix)
	cmd.Stdin, cmd.ExtraFiles = read, []*os.File{g.file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C on the terminal is not for it
	if cmd.Start() != nil {
		_ = write.Close()
		return
	}
	g.guard, g.keeper = write, cmd.Process.Pid
	go func() {
		_ = cmd.Wait() // somebody killed it: the next program starts another
		g.mu.Lock()
		defer g.mu.Unlock()
		_ = write.Close()
		g.guard = nil
	}()
}

package exec

import (
	"fmt"
	"io"
	osexec "os/exec"
	"sync"
	"syscall"
)

// signalGroup signals every process of a group.
func signalGroup(pgid int, s syscall.Signal) error { return syscall.Kill(-pgid, s) }

// groups is the guard of this process's programs: a shell that knows their
// process groups and kills those that are left when its input ends, which is
// when this process ends, however it does. The kernel's parent-death signal
// reaches only the program itself, not what it has forked.
type groups struct {
	mu    sync.Mutex
	input io.WriteCloser
	known map[int]bool
	tried bool
}

var group = groups{known: map[int]bool{}}

const guardScript = `groups=" "
while read -r op pgid; do
	case $op in
	+) groups="$groups$pgid " ;;
	-) groups="${groups%% $pgid *} ${groups#* $pgid }" ;;
	esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done`

func (g *groups) add(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[pgid] = true
	if g.input == nil && !g.tried {
		g.start()
		return
	}
	g.tell("+", pgid)
}

func (g *groups) remove(pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.known, pgid)
	g.tell("-", pgid)
}

func (g *groups) tell(op string, pgid int) {
	if g.input == nil {
		return
	}
	if _, err := fmt.Fprintln(g.input, op, pgid); err != nil { // somebody killed the guard
		_ = g.input.Close()
		g.start()
	}
}

// start starts the guard and tells it what there is. Without a shell the
// kernel's signal must do.
func (g *groups) start() {
	g.input, g.tried = nil, true
	cmd := osexec.Command("sh", "-c", guardScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C on the terminal is not for it
	input, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	go func() { _ = cmd.Wait() }()
	g.input = input
	for pgid := range g.known {
		_, _ = fmt.Fprintln(input, "+", pgid)
	}
}

package exec

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Adopt has this process become the parent of what its programs leave behind:
// processes that have left their group, and those whose parent ended first. The
// former are ended with their attempt, the latter are reaped when they end, by
// whoever they were started. The first program that is started does it; the init
// process of a container should do it at once.
func Adopt() {
	adopting.Do(func() {
		if unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != nil && os.Getpid() != 1 {
			return // a kernel that does not know it: the process group must do
		}
		died := make(chan os.Signal, 1)
		signal.Notify(died, syscall.SIGCHLD)
		go reap(died)
	})
}

var adopting sync.Once

const (
	reapEvery = 50 * time.Millisecond // at most, however many end
	strangers = 10 * time.Second      // somebody else may wait for it so long
)

// reap takes the exit status of processes that this one did not start, and no
// other's: code that starts a process waits for it.
func reap(died <-chan os.Signal) {
	seen := map[int]time.Time{}
	for {
		again := time.NewTimer(strangers)
		if len(seen) == 0 {
			again.Stop()
		}
		select {
		case <-died:
		case <-again.C:
		}
		again.Stop()
		dead := map[int]time.Time{}
		for _, pid := range children() {
			if group.has(pid) {
				continue
			}
			p, ok := look(pid)
			if !ok || p.state != 'Z' {
				continue
			}
			since, known := seen[pid]
			if !known {
				since = time.Now()
			}
			// In another session, or in the group of another process: it was not
			// started from here.
			adopted := p.session != session || p.pgid != pid && p.pgid != ownGroup
			if adopted || time.Since(since) >= strangers {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
				continue
			}
			dead[pid] = since
		}
		seen = dead
		<-time.After(reapEvery)
	}
}

// Of this process.
var (
	session, _ = unix.Getsid(0)
	ownGroup   = unix.Getpgrp()
)

// endMarked kills the processes with a program's mark that have become ours, and
// what they leave to us in turn. The group of the program has been ended.
func endMarked(mark string) {
	quiet := 0 // looks in a row that found none: a list that changes while it is read may miss one
	for range 1000 {
		quiet++
		for _, pid := range children() {
			if group.has(pid) {
				continue
			}
			has, known := marked(pid, mark)
			if has || !known {
				quiet = 0
			}
			if !has {
				continue
			}
			if p, ok := look(pid); ok && p.pgid == pid {
				_ = signalGroup(pid, syscall.SIGKILL)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		switch quiet {
		case 0:
			<-time.After(time.Millisecond)
		case 2:
			return
		}
	}
}

// marked reports whether a process has the mark. One that has ended has none; known is
// false of one that has no memory of its own for a moment, since it becomes another
// program, or ends.
func marked(pid int, mark string) (has, known bool) {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if len(environ) > 0 || errors.Is(err, fs.ErrPermission) {
		return bytes.Contains(environ, []byte(mark)), true
	}
	p, ok := look(pid)
	return false, !ok || p.state == 'Z' || p.environ != 0
}

// process is what the kernel tells of one.
type process struct {
	state                 byte
	parent, pgid, session int
	environ               uint64 // where the environment ends; 0: there is none yet, or any more
}

func look(pid int) (p process, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, false
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // a name may have anything in it
	if len(f) < 49 {
		return p, false
	}
	p.state = f[0][0]
	p.parent, _ = strconv.Atoi(f[1])
	p.pgid, _ = strconv.Atoi(f[2])
	p.session, _ = strconv.Atoi(f[3])
	p.environ, _ = strconv.ParseUint(f[48], 10, 64)
	return p, true
}

// children are the processes whose parent this one is.
func children() []int {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var all []int
	for _, thread := range threads {
		list, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Stat("/proc/self/task/" + thread.Name()); gone != nil {
				continue
			}
			return childrenByParent()
		}
		for pid := range strings.FieldsSeq(string(list)) {
			if n, err := strconv.Atoi(pid); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// childrenByParent is for kernels that list no children.
func childrenByParent() (all []int) {
	processes, _ := os.ReadDir("/proc")
	self := os.Getpid()
	for _, entry := range processes {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if p, ok := look(pid); ok && p.parent == self {
			all = append(all, pid)
		}
	}
	return all
}

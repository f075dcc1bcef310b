package exec

import "syscall"

// attributes put the program into a process group of its own and have the
// kernel kill it when the worker dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

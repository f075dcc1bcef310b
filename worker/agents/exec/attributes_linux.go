package exec

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put the program into a process group of its own and have the
// kernel kill it when the worker dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// scratch is a file in memory, without a name.
func scratch() (*os.File, error) {
	fd, err := unix.MemfdCreate("process-groups", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "process-groups"), nil
}

package fleet

import "syscall"

// own has the process die with this one.
func own() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

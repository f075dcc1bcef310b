//go:build unix && !linux

package fleet

import "syscall"

// own has the process die with this one where the system can; elsewhere a test
// that dies leaves its fleet behind.
func own() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

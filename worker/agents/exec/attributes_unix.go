//go:build unix && !linux

package exec

import (
	"os"
	"syscall"
)

// attributes put the program into a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// scratch is a file whose name is gone.
func scratch() (*os.File, error) {
	f, err := os.CreateTemp("", "process-groups-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

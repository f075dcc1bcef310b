//go:build unix

package gateway

import "syscall"

// openFiles is how many descriptors this process may have.
func openFiles() int64 {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 1024
	}
	return int64(min(uint64(files.Cur), 1<<32))
}

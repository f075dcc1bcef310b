package natstest

import (
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	memory = "/dev/shm"
	room   = 2 << 30 // free bytes that it must have
	folder = "mesh-test-"
	noExec = 8 // ST_NOEXEC of statfs(2): no program may be started from there
)

// inMemory puts the folders of tests into memory, where the system has room for them
// there and TMPDIR names no other place: a test writes hundreds of small files that
// nobody reads after it. Benchmarks stay on the disk.
func inMemory() (end func()) {
	end = func() {}
	if os.Getenv("TMPDIR") != "" || flag.Lookup("test.bench").Value.String() != "" {
		return end
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || fs.Flags&noExec != 0 || fs.Bavail*uint64(fs.Bsize) < room {
		return end
	}
	sweep()
	dir, err := os.MkdirTemp(memory, folder)
	if err != nil || os.Setenv("TMPDIR", dir) != nil {
		return end
	}
	return func() { _ = os.RemoveAll(dir) }
}

// sweep removes what tests have left there that were killed, a day ago or longer.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(memory, folder+"*"))
	for _, dir := range left {
		if at, err := os.Stat(dir); err == nil && time.Since(at.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(dir)
		}
	}
}

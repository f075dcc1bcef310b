package natstest

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, and fails when one has left a goroutine
// behind, but for those that spared names: they belong to the process. A TestMain
// calls it; it does not return. Hundreds of servers start and end in one process,
// each with a small heap: garbage is collected a quarter as often, which spares the
// gateway's tests a quarter of their CPU. GOGC in the environment stays. Their folders
// are in memory where that can be, see OnDisk.
func Main(m *testing.M, spared ...goleak.Option) {
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	end := inMemory()
	before := append(spared, goleak.IgnoreCurrent())
	code := m.Run()
	end()
	if code == 0 {
		if err := leaked(before...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines that no test waited for:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// OnDisk keeps the folders of tests on the disk: it is called before Main where the disk
// is a part of what is tested or measured.
func OnDisk() {
	if err := os.Setenv("TMPDIR", os.TempDir()); err != nil {
		panic(err)
	}
}

// Goroutines remembers which goroutines run. Call gone at the end: it fails the
// test unless all that began since have ended.
func Goroutines(tb testing.TB) (gone func()) {
	before := goleak.IgnoreCurrent()
	return func() {
		tb.Helper()
		if err := leaked(before); err != nil {
			tb.Error("goroutines are left:", err)
		}
	}
}

// leaked gives what is ending half a minute: no machine is that busy.
func leaked(before ...goleak.Option) (err error) {
	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = goleak.Find(before...); err == nil { // tries again for a while itself
			return nil
		}
	}
	return err
}

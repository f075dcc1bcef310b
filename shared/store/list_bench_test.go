package store_test

import (
	"flag"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

var retained = flag.Int("retained", 10_000, "records of finished tasks that a listing has behind it")

// BenchmarkListOneFailed looks for the one failed task among -retained finished
// ones, the oldest of all, page after page.
func BenchmarkListOneFailed(b *testing.B) {
	st := retain(b, *retained)
	for _, order := range []string{"changed", "created"} {
		b.Run("order="+order, func(b *testing.B) {
			before, pages, looked := processorTime(), 0, 0
			for b.Loop() {
				pages, looked = findFailed(b, st, order)
			}
			b.ReportMetric(float64(processorTime()-before)/float64(b.N)/1e6, "cpu-ms/op")
			b.ReportMetric(float64(pages), "pages/op")
			b.ReportMetric(float64(looked), "records/op")
		})
	}
}

// findFailed reads pages until the failed task is there.
func findFailed(b *testing.B, st *store.Store, order string) (pages, looked int) {
	b.Helper()
	l := store.Listing{Tenant: "default", Limit: 20, From: store.Start, Holds: []store.Member{{Name: "status", Values: []string{"failed"}}}, Match: func(t *task.Task) bool { return t.Status == task.Failed }}
	after, view := store.Place{}, ""
	for {
		var page store.Listed
		var err error
		done := false
		if order == "created" {
			var p store.ListedCreated
			p, err = st.Tasks.ListCreated(b.Context(), l, after, view)
			page, after, view, done = p.Listed, p.After, p.View, p.Done
		} else {
			page, err = st.Tasks.List(b.Context(), l)
			l.From, done = page.Next, page.Next.Done()
		}
		if err != nil {
			b.Fatal(err)
		}
		if pages, looked = pages+1, looked+page.Scanned; len(page.Tasks) == 1 {
			return pages, looked
		}
		if done {
			b.Fatal("the failed task was not found")
		}
	}
}

// retain is a store with the records of n tasks, the first of which has failed.
func retain(b *testing.B, n int) *store.Store {
	b.Helper()
	nc := natstest.StartWith(b, server.Options{StoreDir: b.TempDir()}).Connect(b)
	st, err := store.Open(b.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	meshtest.PutRecords(b, nc, n, func(i int, t *task.Task) {
		if i == 0 {
			t.Status, t.Result, t.Error = task.Failed, task.Value{}, &task.Error{Code: "agent_failed", Message: "x"}
		}
	})
	return st
}

// processorTime is what this process has computed so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

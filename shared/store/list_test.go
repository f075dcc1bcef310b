package store_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// What a listing looks for is found whatever it takes to write it as JSON.
func TestATextIsFoundHoweverItIsWritten(t *testing.T) {
	st := open(t, natstest.Start(t))
	for _, text := range []string{"plain", `a "quoted" one`, `a\b`, "a/b", "<a> & 'b'", "größer", "👍", "two\nlines", "\u2028", " ", "~"} {
		one := newTask()
		one.Labels = map[string]string{text: text}
		save(t, st, one)
		for _, order := range []string{"changed", "created"} {
			l := store.Listing{Tenant: "default", Limit: 5, From: store.Start, Holds: []store.Member{{Name: text, Values: []string{"other", text}}}, Match: func(t *task.Task) bool { return t.Labels[text] == text }}
			page, err := st.Tasks.List(t.Context(), l)
			if order == "created" {
				var p store.ListedCreated
				p, err = st.Tasks.ListCreated(t.Context(), l, store.Place{}, "")
				page = p.Listed
			}
			if err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != one.ID {
				t.Errorf("%q by %s: %d tasks, %v", text, order, len(page.Tasks), err)
			}
		}
	}
}

// A record that was passed over is the newest of its task all the same: what it was
// before is not listed.
func TestAPassedRecordHidesItsOlderRevisions(t *testing.T) {
	st := open(t, natstest.Start(t))
	one := newTask()
	save(t, st, one)
	one.Status, one.Attempt = task.Processing, 1
	save(t, st, one)
	for _, status := range []task.State{task.Pending, task.Processing} {
		l := store.Listing{Tenant: "default", Limit: 5, From: store.Start, Holds: []store.Member{{Name: "status", Values: []string{string(status)}}}, Match: func(t *task.Task) bool { return t.Status == status }}
		page, err := st.Tasks.List(t.Context(), l)
		if want := status == task.Processing; err != nil || (len(page.Tasks) == 1) != want || page.Scanned != 2 {
			t.Errorf("%s: %d tasks of %d records, %v", status, len(page.Tasks), page.Scanned, err)
		}
	}
}

// A filter costs the server a walk over the subjects of a stream each time that it
// is asked for: where most of the records are the tenant's, none is used, and the
// tenant sees its own records only.
func TestAListReadsUnfilteredWhereMostIsAskedFor(t *testing.T) {
	srv := natstest.Start(t)
	st := open(t, srv)
	for i := range 600 {
		one := newTask()
		if one.Tenant = "many"; i%60 == 0 {
			one.Tenant = "few"
		}
		save(t, st, one)
	}
	for tenant, c := range map[string]struct {
		want     int
		filtered bool
	}{"many": {590, false}, "few": {10, true}} {
		listens := srv.Connect(t)
		made, err := listens.SubscribeSync("$JS.API.CONSUMER.CREATE.KV_tasks.>")
		if err == nil {
			err = listens.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		looked := 0
		all, err := byChange(t.Context(), st, store.Listing{Tenant: tenant, Limit: 1000, Match: func(t *task.Task) bool {
			looked++
			return t.Tenant == tenant
		}})
		if err != nil || len(all) != c.want || looked != c.want {
			t.Errorf("%s: %d tasks of %d, %v; want %d", tenant, len(all), looked, err, c.want)
		}
		if err := listens.Flush(); err != nil { // it has been sent all that was made
			t.Fatal(err)
		}
		if filtered := readersWithFilter(t, made); filtered != c.filtered {
			t.Errorf("%s was read with a filter: %t, want %t", tenant, filtered, c.filtered)
		}
	}
}

// readersWithFilter reports whether any of the consumers that were made has a filter.
func readersWithFilter(t *testing.T, made *nats.Subscription) (filtered bool) {
	t.Helper()
	n, _, err := made.Pending()
	if err != nil || n == 0 {
		t.Fatalf("%d consumers were made, %v", n, err)
	}
	for range n {
		msg, err := made.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		filtered = filtered || !strings.HasSuffix(msg.Subject, ".>")
	}
	return filtered
}

// A list ends though a task comes for each one that it looks at.
func TestAListEndsWhileTasksCome(t *testing.T) {
	st := open(t, natstest.Start(t))
	comes := func() error {
		_, err := st.Tasks.Enqueue(t.Context(), newTask())
		return err
	}
	if err := comes(); err != nil {
		t.Fatal(err)
	}
	looked := 0
	page, err := st.Tasks.List(t.Context(), store.Listing{Tenant: "default", Limit: 5, From: store.Start, Queued: true, Match: func(*task.Task) bool {
		looked++
		return comes() == nil
	}})
	if err != nil || len(page.Tasks) == 0 || looked > 10 {
		t.Errorf("%d tasks of %d that were looked at, %v", len(page.Tasks), looked, err)
	}
}

// A page of a queue ends in its time though hundreds have come while it was read, and the
// next ones have those that it left.
func TestAPageEndsInTimeWhereManyTasksCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, natstest.Start(t))
		const come = 300
		enqueue := func(n int) {
			for range n {
				if _, err := st.Tasks.Enqueue(t.Context(), newTask()); err != nil {
					t.Fatal(err)
				}
			}
		}
		enqueue(5)
		looked := 0
		l := store.Listing{Tenant: "default", Limit: 1000, From: store.Start, Queued: true, Match: func(*task.Task) bool {
			if looked++; looked == 1 {
				enqueue(come)
			}
			time.Sleep(20 * time.Millisecond) // as a store that is far away
			return true
		}}
		listed := map[task.ID]int{}
		for pages := 1; !l.From.Done() && pages < 50; pages++ {
			began := time.Now()
			page, err := st.Tasks.List(t.Context(), l)
			if err != nil || len(page.Tasks) == 0 && !page.Next.Done() {
				t.Fatalf("page %d has %d tasks, %v", pages, len(page.Tasks), err)
			}
			if took := time.Since(began); took > 2*time.Second && pages == 1 {
				t.Errorf("page %d took %v", pages, took)
			}
			for _, one := range page.Tasks {
				listed[one.ID]++
			}
			l.From = page.Next
		}
		if len(listed) != come+5 {
			t.Errorf("%d tasks are listed, want %d", len(listed), come+5)
		}
		for id, n := range listed {
			if n != 1 {
				t.Errorf("%s is listed %d times", id, n)
			}
		}
	})
}

// Many lists in the order of creation go on where they stopped, whoever reads another
// one in between, and whichever of two gateways the next page is asked of.
func TestManyListsByCreationGoOn(t *testing.T) {
	srv := natstest.Start(t)
	stores := []*store.Store{open(t, srv), open(t, srv)}
	for range 20 {
		save(t, stores[0], newTask())
	}
	l := store.Listing{Tenant: "default", Limit: 5, Match: func(*task.Task) bool { return true }}
	pages := make([]store.ListedCreated, 200)
	for n, looked := range []int{20, 20, 0, 0} {
		for i, last := range pages {
			var err error
			if pages[i], err = stores[n%2].Tasks.ListCreated(t.Context(), l, last.After, last.View); err != nil {
				t.Fatal(err)
			}
			if len(pages[i].Tasks) != 5 || pages[i].Scanned != looked {
				t.Fatalf("page %d of list %d has %d tasks of %d that were looked at, want %d", n+1, i, len(pages[i].Tasks), pages[i].Scanned, looked)
			}
		}
	}
}
